"""Verify the JWT with which a key that holds a public key authenticates (RFC 7523 section 2.2)."""

import time
from collections.abc import Callable, Collection
from functools import lru_cache, partial
from typing import Any

from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import refusals
from ..access import Access
from ..databases import unavailable
from ..models import ProjectKey
from ..refusals import Refused
from ..verify import Use
from . import admission, entries, tokens


@sensitive_variables()
def verify(
    text: str, request: HttpRequest, audiences: Collection[str], *, longest: int
) -> tuple[ProjectKey, Access, Callable[[], None]]:
    """Return the key that signed ``text``, its ``Access``, and how to use the text up.

    ``iss`` and ``sub`` are the ID of the key (section 3). Raise ``Refused``. No refusal reveals
    anything about a key before its signature is checked.
    """
    key_id = tokens.issuer_of(text) or ""
    with unavailable.answer():
        row = admission.find(key_id)
    if row is None or not (pem := admission.public_key_of(row)):
        raise Refused(refusals.INVALID_TOKEN_SIGNATURE)
    issuer = _issuer(key_id, pem)
    try:
        claims = tokens.read(text, issuer, audiences=audiences)
        tokens.check_one_audience(claims)
    except Refused:
        if not tokens.is_signed_by(text, issuer):
            raise Refused(refusals.INVALID_TOKEN_SIGNATURE) from None
        raise
    if claims.get("sub") != key_id:
        raise Refused(refusals.INVALID_KEY)
    if claims["exp"] > time.time() + longest:
        raise Refused(refusals.TOKEN_LIVES_TOO_LONG)
    with unavailable.answer():
        access = admission.admit(key_id, row, request, Use(exchange=True))
        keys = ProjectKey._default_manager.select_related("project")
        if (key := keys.filter(public_id=key_id).first()) is None:  # deleted since
            raise Refused(refusals.INVALID_TOKEN_SIGNATURE)
    return key, access, partial(admission.use_up, key_id, text, claims)


@lru_cache(maxsize=1024)
def _issuer(key_id: str, pem: str) -> entries.Issuer:
    """Return the key as an issuer that has this public key only."""
    return entries.Issuer(url=key_id, jwks={"keys": [_jwk(key_id, pem)]})


def _jwk(key_id: str, pem: str) -> dict[str, Any]:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from joserfc.jwk import ECKey, OKPKey

    from ..signatures.public_keys import from_stored

    is_ed25519 = isinstance(from_stored(pem), Ed25519PublicKey)
    jwk = (OKPKey if is_ed25519 else ECKey).import_key(pem)
    return {**jwk.as_dict(private=False), "kid": key_id, "use": "sig"}
