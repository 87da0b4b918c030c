"""What the tokens of common identity providers look like, without their signatures.

Each has the header and the claims of an access token and of an ID token, as the provider writes
them. `expected` are the scopes that the page on identity providers leads to.
"""

import time
from typing import Any, NamedTuple

TENANT = "11112222-bbbb-3333-cccc-4444dddd5555"
USER = "00000000-1111-2222-3333-444444444444"


class Shape(NamedTuple):
    issuer: str
    header: dict[str, Any]
    access: dict[str, Any]
    id_token: dict[str, Any]
    expected: str
    client: str | None


def shapes():
    now = int(time.time())  # a whole day, because the suite may take long
    times = {"iat": now, "exp": now + 86_400}

    keycloak = "https://id.example.com/realms/acme"
    person = {"name": "Ada Lovelace", "preferred_username": "ada", "email": "ada@example.com"}
    yield "keycloak", Shape(
        keycloak,
        {"alg": "RS256", "typ": "JWT", "kid": "rsa"},
        {
            **times, "auth_time": now, "jti": "onrtac:0b7c", "iss": keycloak,
            "aud": ["payments-api", "account"], "sub": USER, "typ": "Bearer", "azp": "webapp",
            "sid": "5d3a", "acr": "1", "allowed-origins": ["https://app.example.com"],
            "realm_access": {"roles": ["default-roles-acme", "accountant", "offline_access"]},
            "resource_access": {
                "payments-api": {"roles": ["reports:read"]},
                "account": {"roles": ["manage-account"]},
            },
            "scope": "openid profile email", "email_verified": True, **person,
        },
        {
            **times, "auth_time": now, "jti": "0b7d", "iss": keycloak, "aud": "webapp",
            "sub": USER, "typ": "ID", "azp": "webapp", "nonce": "n-0S6", "sid": "5d3a",
            "at_hash": "77QmUPtjPfzWtF2AnpK9RQ", "acr": "1", "email_verified": True, **person,
        },
        "payments:write reports:read",
        "webapp",
    )  # fmt: skip

    auth0 = "https://acme.eu.auth0.com/"
    yield "auth0", Shape(
        auth0,
        {"alg": "RS256", "typ": "JWT", "kid": "rsa"},
        {
            **times, "iss": auth0, "sub": "auth0|64b2c0", "azp": "spa",
            "aud": ["https://api.example.com", "https://acme.eu.auth0.com/userinfo"],
            "scope": "openid profile email", "permissions": ["payments:read"],
        },
        {
            **times, "iss": auth0, "sub": "auth0|64b2c0", "aud": "spa", "nonce": "n-0S6",
            "nickname": "ada", "email": "ada@example.com", "email_verified": True, "sid": "5d3a",
        },
        "payments:read",
        "spa",
    )  # fmt: skip

    okta = "https://acme.okta.com/oauth2/default"
    yield "okta", Shape(
        okta,
        {"kid": "rsa", "alg": "RS256"},
        {
            **times, "ver": 1, "jti": "AT.7vX", "iss": okta, "aud": "api://payments",
            "cid": "0oa1", "uid": "00u1", "scp": ["openid", "payments.read"], "auth_time": now,
            "sub": "ada@example.com",
        },
        {
            **times, "ver": 1, "jti": "ID.7vX", "iss": okta, "aud": "0oa1", "sub": "00u1",
            "name": "Ada Lovelace", "amr": ["pwd"], "idp": "00o1", "auth_time": now,
            "preferred_username": "ada@example.com", "at_hash": "77QmUPtjPfzWtF2AnpK9RQ",
        },
        "payments:read",
        "0oa1",
    )  # fmt: skip

    entra = f"https://login.microsoftonline.com/{TENANT}/v2.0"
    api = "66667777-aaaa-8888-bbbb-9999cccc0000"
    yield "entra v2", Shape(
        entra,
        {"typ": "JWT", "alg": "RS256", "kid": "rsa"},
        {
            **times, "nbf": now, "aud": api, "iss": entra, "aio": "AXQAi", "azp": "spa",
            "azpacr": "0", "name": "Ada Lovelace", "oid": USER, "rh": "1.AX",
            "preferred_username": "ada@example.com", "scp": "Payments.Read", "sid": "5d3a",
            "sub": "pairwise-for-the-api", "tid": TENANT, "uti": "qWk", "ver": "2.0",
        },
        {
            **times, "nbf": now, "aud": "spa", "iss": entra, "name": "Ada Lovelace",
            "nonce": "n-0S6", "oid": USER, "preferred_username": "ada@example.com",
            "rh": "1.AX", "sub": "pairwise-for-the-spa", "tid": TENANT, "ver": "2.0",
        },
        "payments:read",
        "spa",
    )  # fmt: skip

    entra = f"https://sts.windows.net/{TENANT}/"
    yield "entra v1", Shape(
        entra,
        {"typ": "JWT", "alg": "RS256", "x5t": "nOo3ZDrODXEK1jKWhXslHR", "kid": "rsa"},
        {
            **times, "nbf": now, "aud": "api://payments", "iss": entra, "acr": "1", "aio": "AXQAi",
            "amr": ["pwd", "mfa"], "appid": "spa", "appidacr": "0", "ipaddr": "203.0.113.7",
            "name": "Ada Lovelace", "oid": USER, "roles": ["Payments.Read"], "sub": "pairwise",
            "tid": TENANT, "unique_name": "ada@example.com", "upn": "ada@example.com",
            "uti": "qWk", "ver": "1.0",
        },
        {
            **times, "nbf": now, "aud": "spa", "iss": entra, "amr": ["pwd"], "nonce": "n-0S6",
            "oid": USER, "sub": "pairwise", "tid": TENANT, "upn": "ada@example.com", "ver": "1.0",
        },
        "payments:read",
        "spa",
    )  # fmt: skip

    cognito = "https://cognito-idp.eu-central-1.amazonaws.com/eu-central-1_AbCdEfGhI"
    yield "cognito", Shape(
        cognito,
        {"kid": "rsa", "alg": "RS256"},
        {
            **times, "sub": USER, "cognito:groups": ["accountants"], "iss": cognito, "version": 2,
            "client_id": "1example23456789", "origin_jti": "aa", "event_id": "bb",
            "token_use": "access", "auth_time": now, "jti": "cc", "username": "ada",
            "scope": "openid https://api.example.com/payments.read",
        },
        {
            **times, "sub": USER, "cognito:groups": ["accountants"], "iss": cognito,
            "aud": "1example23456789", "token_use": "id", "auth_time": now, "jti": "dd",
            "cognito:username": "ada", "email": "ada@example.com", "email_verified": True,
        },
        "payments:read payments:write",
        "1example23456789",
    )  # fmt: skip

    google = "https://accounts.google.com"
    yield "google", Shape(
        google,
        {"alg": "RS256", "kid": "rsa", "typ": "JWT"},
        {
            **times, "aud": "https://api.example.com", "azp": "1042", "email_verified": True,
            "email": "reports@acme.iam.gserviceaccount.com", "iss": google, "sub": "1042",
        },
        {
            **times, "iss": google, "azp": "1.apps.googleusercontent.com", "sub": "1101",
            "aud": "https://api.example.com", "email": "reports@acme.iam.gserviceaccount.com",
            "email_verified": True, "at_hash": "HK6E_P6Dh8Y93mRNtsDB1Q", "name": "Ada",
        },
        "payments:read",
        "1042",
    )  # fmt: skip


SHAPES = dict(shapes())
