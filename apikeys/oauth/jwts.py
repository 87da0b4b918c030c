"""Sign and check access tokens that are JWTs (RFC 9068), for services that verify offline.

Each one also has a row, like all access tokens. The checks in this module run before the row
is looked up and cost no query. The callers hide all variables of these functions from error
reports.
"""

import json
import uuid
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from jwcrypto import jws, jwt
from jwcrypto.common import JWException
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import jwk_from_pem
from oauthlib.oauth2.rfc6749 import errors

from .. import claims
from .http import issuer

TYPE: Final = "at+jwt"
ALGORITHM: Final = "RS256"


def issue(
    headers: Any,
    *,
    owner: Any,
    subject: str | None,
    client_id: str,
    scope: str,
    resource: Sequence[str],
    issued_at: datetime,
    expires: datetime,
    metadata: str | None = None,
) -> str:
    """Return a signed access token (RFC 9068 section 2.2) for ``resource``.

    ``headers`` are those of oauthlib's request. ``owner`` is the user or project whose claims
    the policy adds. Without a ``subject``, the client is the subject. ``metadata`` is that of the
    key as JSON text, of which the policy publishes some. Raise ``InvalidRequestError`` without
    ``OIDC_RSA_PRIVATE_KEY``.
    """
    registered: dict[str, Any] = {
        "iss": issuer(headers),
        "sub": subject or client_id,
        "aud": resource[0] if len(resource) == 1 else list(resource),
        "client_id": client_id,
        "scope": scope,
        "jti": str(uuid.uuid4()),
        "iat": int(issued_at.timestamp()),
        "exp": int(expires.timestamp()),
    }
    if public := claims.published(owner, json.loads(metadata) if metadata else {}):
        registered["metadata"] = public
    return sign(claims.added(owner, registered))


def check_available() -> None:
    """Raise ``InvalidRequestError`` without ``OIDC_RSA_PRIVATE_KEY``."""
    if not oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        raise errors.InvalidRequestError("This server does not issue JWT access tokens.")


def sign(payload: Mapping[str, Any]) -> str:
    """Return a signed JWT. Raise the error of ``check_available``."""
    check_available()
    key = jwk_from_pem(oauth2_settings.OIDC_RSA_PRIVATE_KEY)
    header = {"typ": TYPE, "alg": ALGORITHM, "kid": key.thumbprint()}
    token = jwt.JWT(header=json.dumps(header), claims=json.dumps(payload))
    token.make_signed_token(key)
    return str(token.serialize())


def is_one(text: str) -> bool:
    """Return whether ``text`` has the type ``at+jwt``. A site may issue JWTs of other types."""
    if text.count(".") != 2:
        return False
    try:
        token = jws.JWS()
        token.deserialize(text)
        return bool(token.jose_header.get("typ") == TYPE)
    except (JWException, ValueError, TypeError, AttributeError):
        return False


def is_good(text: str) -> bool:
    """Return whether a key in the JWKS signed ``text``, and it has not expired."""
    pems = [
        oauth2_settings.OIDC_RSA_PRIVATE_KEY,
        *oauth2_settings.OIDC_RSA_PRIVATE_KEYS_INACTIVE,
    ]
    for pem in filter(None, pems):
        try:
            jwt.JWT(key=jwk_from_pem(pem), jwt=text, algs=[ALGORITHM], check_claims={"exp": None})
        except (JWException, ValueError):
            continue
        return True
    return False
