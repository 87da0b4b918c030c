"""Access tokens as JWTs (RFC 9068), for services that verify offline.

They are rows like all access tokens, found by their checksum; what is checked here comes
first, and costs no query.
"""

import json
from collections.abc import Mapping
from typing import Any, Final

from django.views.decorators.debug import sensitive_variables
from jwcrypto import jws, jwt
from jwcrypto.common import JWException
from oauth2_provider.settings import oauth2_settings
from oauth2_provider.utils import jwk_from_pem
from oauthlib.oauth2.rfc6749 import errors

TYPE: Final = "at+jwt"
ALGORITHM: Final = "RS256"


def sign(claims: Mapping[str, Any]) -> str:
    """Raises ``InvalidRequestError`` on a server that has no ``OIDC_RSA_PRIVATE_KEY``."""
    if not oauth2_settings.OIDC_RSA_PRIVATE_KEY:
        raise errors.InvalidRequestError("This server issues no JWT access tokens.")
    key = jwk_from_pem(oauth2_settings.OIDC_RSA_PRIVATE_KEY)
    header = {"typ": TYPE, "alg": ALGORITHM, "kid": key.thumbprint()}
    token = jwt.JWT(header=json.dumps(header), claims=json.dumps(claims))
    token.make_signed_token(key)
    return str(token.serialize())


@sensitive_variables("text")
def is_one(text: str) -> bool:
    """Whether ``text`` claims to be one of these, and not a JWT of the site's own making."""
    if text.count(".") != 2:
        return False
    try:
        token = jws.JWS()
        token.deserialize(text)
        return bool(token.jose_header.get("typ") == TYPE)
    except (JWException, ValueError, TypeError, AttributeError):
        return False


@sensitive_variables("text")
def is_good(text: str) -> bool:
    """Whether it is signed by a key that the JWKS publishes, and has not expired."""
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
