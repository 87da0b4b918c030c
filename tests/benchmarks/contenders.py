"""Who is compared: one trivial view, the authentication swapped, and a credential for each."""

import time
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.contrib.auth import get_user_model
from django.db import connection
from django.urls import path
from django.utils import timezone
from knox.auth import TokenAuthentication as KnoxAuthentication
from knox.models import get_token_model
from oauth2_provider.contrib.rest_framework import OAuth2Authentication
from oauth2_provider.models import AccessToken, Application
from rest_framework.authentication import TokenAuthentication
from rest_framework.authtoken.models import Token
from rest_framework.permissions import AllowAny, IsAuthenticated
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework_api_key.models import APIKey
from rest_framework_api_key.permissions import HasAPIKey
from rest_framework_simplejwt.authentication import (
    JWTAuthentication,
    JWTStatelessUserAuthentication,
)
from rest_framework_simplejwt.tokens import AccessToken as JWT  # noqa: N814

from apikeys import lifecycle, token
from apikeys.drf import BearerAuthentication, HasScope
from apikeys.issuers.conf import issuers_settings
from apikeys.issuers.models import Identity
from apikeys.models import Project
from tests.issuers import provider

ISSUER = {"AUDIENCES": [provider.AUDIENCE], "JWKS": provider.jwks()}
FLOOR = "none (the floor)"
REFERENCE = "DRF TokenAuthentication"


class Trivial(APIView):
    required_scopes = ["payments:read"]

    def get(self, request: Any) -> Response:
        return Response({})


def _view(authentication: list[Any], permission: Any) -> Any:
    return Trivial.as_view(authentication_classes=authentication, permission_classes=[permission])


VIEWS = {
    "none": _view([], AllowAny),
    "token": _view([TokenAuthentication], IsAuthenticated),
    "knox": _view([KnoxAuthentication], IsAuthenticated),
    "api-key": _view([], HasAPIKey),
    "dot": _view([OAuth2Authentication], IsAuthenticated),
    "jwt": _view([JWTAuthentication], IsAuthenticated),
    "stateless-jwt": _view([JWTStatelessUserAuthentication], IsAuthenticated),
    "ours": _view([BearerAuthentication], HasScope),
}

urlpatterns = [path(f"{name}/", view) for name, view in VIEWS.items()]


@dataclass
class Contender:
    name: str
    view: str
    header: str | None = None
    status: int = 200
    #: Whether there is a cache to compare with.
    ours: bool = False


def make(keys: int) -> list[Contender]:
    """A credential of each kind, among ``keys`` others of the same."""
    user = get_user_model().objects.create(username="somebody")
    project = Project.objects.create(slug="some", name="Some")
    pat = lifecycle.mint(user=user, name="pat", scopes=["payments:read"])
    key = lifecycle.mint(project=project, name="key", scopes=["payments:read"])
    other = lifecycle.mint(user=user, name="other", scopes=["payments:read"])
    other.key.delete()
    dead = lifecycle.mint(user=user, name="dead", scopes=["payments:read"])
    dead.key.expires_at = timezone.now() - timedelta(days=1)
    dead.key.save()
    app = Application.objects.create(
        name="app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )
    access = AccessToken.objects.create(
        user=user,
        application=app,
        token="an-access-token",
        expires=timezone.now() + timedelta(days=1),
        scope="payments:read",
    )
    plain = Token.objects.create(user=user)
    knox, knox_text = get_token_model().objects.create(user=user)
    api_key, api_key_text = APIKey.objects.create_key(name="api-key")
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": {provider.URL: ISSUER}}
    issuers_settings.reload()
    identity = Identity.objects.create(issuer=provider.URL, subject="u-1", user=user)
    later = int(time.time()) + 86_400
    if keys:
        seed(keys, user, plain, pat.key, key.key, access, knox, api_key, identity)
    wrong = _with_secret_of(pat.token, other.token)
    return [
        Contender(FLOOR, "none"),
        Contender(REFERENCE, "token", f"Token {plain.key}"),
        Contender("djangorestframework-api-key", "api-key", f"Api-Key {api_key_text}"),
        Contender("simplejwt", "jwt", f"Bearer {JWT.for_user(user)}"),
        Contender("simplejwt, stateless", "stateless-jwt", f"Bearer {JWT.for_user(user)}"),
        Contender("django-rest-knox", "knox", f"Token {knox_text}"),
        Contender("DOT OAuth2Authentication", "dot", "Bearer an-access-token"),
        Contender("personal access token", "ours", f"Bearer {pat.token}", ours=True),
        Contender("project key", "ours", f"Bearer {key.token}", ours=True),
        Contender("OAuth token", "ours", "Bearer an-access-token", ours=True),
        *(
            Contender(
                f"token of an issuer, {name}",
                "ours",
                f"Bearer {provider.sign(algorithm, exp=later, scope='payments:read')}",
                ours=True,
            )
            for name, algorithm in [("RS256", "RS256"), ("ES256", "ES256"), ("EdDSA", "Ed25519")]
        ),
        Contender("malformed key", "ours", f"Bearer {pat.token[:-1]}", 401, ours=True),
        Contender("unknown id", "ours", f"Bearer {other.token}", 401, ours=True),
        Contender("wrong secret", "ours", f"Bearer {wrong}", 401, ours=True),
        Contender("expired key", "ours", f"Bearer {dead.token}", 401, ours=True),
    ]


def _with_secret_of(text: str, other: str) -> str:
    parsed, donor = token.parse(text, "acme"), token.parse(other, "acme")
    assert parsed is not None
    assert donor is not None
    return token.compose("acme", parsed.kind, parsed.public_id, donor.secret)


def seed(count: int, user, plain, pat, key, access, knox, api_key, identity) -> None:
    """``count`` copies of each, all with a value of their own in what is unique. In SQL."""
    number = "CAST(1000000000000000 + i AS {text})"  # 16 digits
    _copy(user, count, username=number)
    owner = f"{user.pk} + i"
    _copy(plain, count, key=number, user_id=owner)
    _copy(pat, count, public_id=number, user_id=owner)
    _copy(key, count, public_id=number)
    _copy(access, count, token_checksum=number, token=number, user_id=owner)
    short = number.replace("1000000000000000", "10000000")
    _copy(knox, count, digest=number, token_key=short, user_id=owner)
    _copy(identity, count, id=number, user_id=owner)
    _copy(api_key, count, id=number, prefix=short)
    with connection.cursor() as cursor:
        # Now, so that PostgreSQL does not begin to by itself while it is measured.
        cursor.execute("VACUUM ANALYZE" if connection.vendor == "postgresql" else "ANALYZE")


def _copy(row: Any, count: int, **own: str) -> None:
    meta = row._meta
    quote = connection.ops.quote_name
    columns, values = [], []
    for field in meta.concrete_fields:
        if field.primary_key and field.attname not in own:
            continue
        columns.append(quote(field.column))
        values.append(own.get(field.attname, quote(field.column)).format(text="varchar(64)"))
    with connection.cursor() as cursor:
        cursor.execute(
            f"WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {count}) "
            f"INSERT INTO {quote(meta.db_table)} ({', '.join(columns)}) "
            f"SELECT {', '.join(values)} FROM {quote(meta.db_table)}, n "
            f"WHERE {quote(meta.db_table)}.{quote(meta.pk.column)} = %s",
            [row.pk],
        )


def versions() -> dict[str, str]:
    from importlib.metadata import version

    packages = (
        "django", "djangorestframework", "djangorestframework-api-key",
        "djangorestframework-simplejwt", "django-rest-knox", "django-oauth-toolkit",
        "redis", "granian",
    )  # fmt: skip
    return {package: version(package) for package in packages}
