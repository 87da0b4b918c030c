"""Decide whether a verified JWT is an access token, and what it says about its holder."""

import hashlib
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final, NamedTuple

from .. import refusals
from ..frozen import Frozen
from ..refusals import Refused
from . import denials, tokens
from .trusted import TrustedIssuer

#: Claims that only ID tokens have (OpenID Connect Core sections 2 and 3.3.2.11).
_OF_ID_TOKENS: Final = frozenset(("nonce", "at_hash", "c_hash", "s_hash"))
#: The header type of access tokens in RFC 9068 (section 2.1).
_RFC_9068: Final = "at+jwt"
#: The claim ``typ`` of Keycloak's access tokens.
_KEYCLOAK_TYPE: Final = "Bearer"
#: The longest lifetime of a token, in seconds: a logout is remembered for a year.
LONGEST: Final = 365 * 24 * 60 * 60
#: Text that every database stores.
PLAIN: Final = re.compile(r"[^\x00-\x1f\x7f\ud800-\udfff]{1,255}")


class Client(NamedTuple):
    """The client of an issuer that got a token."""

    client_id: str
    name: str

    @property
    def pk(self) -> str:
        return self.client_id


@dataclass(frozen=True, slots=True)
class Verified(Frozen):
    """A verified access token, without its text."""

    issuer: TrustedIssuer
    claims: Mapping[str, Any]
    credential_id: str
    scope: str
    client: Client | None
    #: When it is refused here, so with the leeway.
    expires_at: datetime
    denials: tuple[str, ...]


def verify(text: str, issuer: TrustedIssuer) -> Verified:
    """Verify an access token of ``issuer``. Raise ``Refused``."""
    claims = tokens.read(text, issuer)
    check_is_access_token(claims)
    if _is_for_client(claims, issuer) and tokens.type_of(text) != _RFC_9068:
        raise Refused(refusals.ID_TOKEN_NOT_ACCEPTED)
    subject = claims.get("sub")
    if not isinstance(subject, str):
        raise Refused(refusals.MISSING_CLAIM)
    if claims["exp"] > time.time() + LONGEST:
        raise Refused(refusals.TOKEN_LIVES_TOO_LONG)
    client = tokens.client_of(claims)
    if not PLAIN.fullmatch(subject) or not (client is None or PLAIN.fullmatch(client)):
        raise Refused(refusals.MALFORMED_TOKEN)
    return of_claims(claims, issuer, _credential_id(text, claims))


def of_claims(claims: Mapping[str, Any], issuer: TrustedIssuer, credential_id: str) -> Verified:
    """Return what the verified claims of an access token say here."""
    client = tokens.client_of(claims)
    return Verified(
        issuer=issuer,
        claims=claims,
        credential_id=credential_id,
        scope=issuer.scope_of(claims),
        client=None if client is None else Client(client, client),
        expires_at=datetime.fromtimestamp(min(claims["exp"] + issuer.leeway, _LAST), UTC),
        denials=denials.digests_of(claims),
    )


_LAST: Final = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def check_is_access_token(claims: Mapping[str, Any]) -> None:
    """Raise ``Refused`` for other tokens that the same key signs, whatever their header says."""
    kind = claims.get("typ", _KEYCLOAK_TYPE)
    if claims.get("token_use") == "id" or kind == "ID" or not _OF_ID_TOKENS.isdisjoint(claims):
        raise Refused(refusals.ID_TOKEN_NOT_ACCEPTED)
    # `events`: a logout token. `cnf`: a token that needs a proof of its key (RFC 7800), which a
    # bearer does not send.
    if kind != _KEYCLOAK_TYPE or claims.get("token_use", "access") != "access":
        raise Refused(refusals.TOKEN_TYPE_NOT_ACCEPTED)
    if "events" in claims or "cnf" in claims:
        raise Refused(refusals.TOKEN_TYPE_NOT_ACCEPTED)


def _is_for_client(claims: Mapping[str, Any], issuer: TrustedIssuer) -> bool:
    """Return whether a token is for a client, like an ID token, and has no mark of access tokens.

    No claim marks an ID token reliably. Its audience is the client, and it has no scope.
    """
    if "scope" in claims or "scp" in claims:
        return False
    if claims.get("typ") == _KEYCLOAK_TYPE or claims.get("token_use") == "access":
        return False
    named = claims.get("aud")
    names = named if isinstance(named, tuple) else [named]
    clients = {tokens.client_of(claims), *issuer.client_ids, *issuer.logout_client_ids}
    return any(isinstance(name, str) and name in clients for name in names)


def _credential_id(text: str, claims: Mapping[str, Any]) -> str:
    """Return a public ID of the token, which says nothing about its text."""
    token_id = claims.get("jti")
    if isinstance(token_id, str):
        return denials.credential_id(claims["iss"], token_id)
    return digest(text)[:32]


def digest(text: str) -> str:
    """Return the hash by which a token is cached."""
    return hashlib.sha256(text.encode(errors="surrogatepass")).hexdigest()
