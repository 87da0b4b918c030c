"""Read a JWT of an issuer: ``issuer_of`` before it is verified, ``read`` to verify it.

The text of a token is untrusted. Its size is limited first, every step takes linear time, and
everything that needs no key is checked before a key is looked up. No part of a token is logged
or quoted in a refusal.
"""

import base64
import json
import re
import time
from collections.abc import Collection, Mapping
from typing import Any, Final, NamedTuple, NoReturn

from .. import refusals
from ..frozen import frozen
from ..refusals import Refused
from . import algorithms, keys
from .entries import Issuer, type_name

#: The size of the largest token, in characters.
MOST: Final = 16 * 1024
#: How deeply the claims may be nested.
DEPTH: Final = 12

#: Claims that name the client that got a token, in the order in which they are read (RFC 9068
#: section 2.2, OpenID Connect Core section 2, Okta, Entra v1).
CLIENT_CLAIMS: Final = ("client_id", "azp", "cid", "appid")

_JSON: Final = re.compile(r"e[w-z0-9_-]", re.ASCII)  # the beginning of "{…" in base64url
# Strings, also without an end, so that brackets in them do not count; and brackets.
_BRACKETS: Final = re.compile(rb'"(?:[^"\\]|\\(?:.|\Z))*+(?:"|\Z)|[\[\]{}]', re.DOTALL)
#: Header parameters that would change how the token is read, or that name other keys.
_UNSUPPORTED: Final = frozenset(("crit", "jku", "x5u", "jwk", "b64", "zip", "enc"))


class _Parts(NamedTuple):
    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    signed: bytes
    signature: bytes


class _DuplicateError(ValueError):
    pass


def issuer_of(token: str) -> str | None:
    """Return the claim ``iss`` of a JWT, or ``None``. Verifies nothing."""
    try:
        return claimed_issuer(token)
    except Refused:
        return None


def claimed_issuer(token: str) -> str | None:
    """Return ``iss`` like ``issuer_of``. Raise ``Refused`` for a JWT that cannot be read."""
    if token.count(".") != 2 or not _JSON.match(token):
        return None
    if len(token) > MOST:
        raise Refused(refusals.TOKEN_TOO_LARGE)
    issuer = _object(_decoded(token.split(".")[1]), unique=False).get("iss")
    return issuer if isinstance(issuer, str) else None


def read(
    token: str,
    issuer: Issuer,
    *,
    audiences: Collection[str] | None = None,
    types: Collection[str] | None = None,
) -> Mapping[str, Any]:
    """Verify ``token`` and return its claims, which are read-only. Raise ``Refused``.

    ``audiences`` takes the place of the issuer's audiences and client IDs, and ``types`` of its
    header types. Whether the token is an access token is not checked; see
    ``apikeys.issuers.bearer``.
    """
    parts = _split(token)
    key_id, algorithm = _check_header(parts.header, issuer, types or issuer.types)
    _check_claims(parts.claims, issuer, audiences)
    key = keys.find(issuer, key_id, algorithm)
    if not algorithms.is_signed(algorithm, key, parts.signed, parts.signature):
        raise Refused(refusals.INVALID_TOKEN_SIGNATURE)
    claims: Mapping[str, Any] = frozen(parts.claims)
    return claims


def is_signed_by(token: str, issuer: Issuer) -> bool:
    """Return whether a key of ``issuer`` signed ``token``, whatever its claims say."""
    try:
        parts = _split(token)
        key_id, algorithm = _check_header(parts.header, issuer, issuer.types)
        key = keys.find(issuer, key_id, algorithm)
    except Refused:
        return False
    return algorithms.is_signed(algorithm, key, parts.signed, parts.signature)


def check_one_audience(claims: Mapping[str, Any]) -> None:
    """Raise ``Refused`` if ``claims`` name several audiences.

    The others could send the token here, and act as its holder.
    """
    named = claims["aud"]
    if not isinstance(named, str) and len(named) != 1:
        raise Refused(refusals.WRONG_AUDIENCE)


def client_of(claims: Mapping[str, Any]) -> str | None:
    """Return the ID of the client that got the token, or ``None``."""
    named = (claims[name] for name in CLIENT_CLAIMS if name in claims)
    client = next(named, None)
    return client if isinstance(client, str) else None


def type_of(token: str) -> str:
    """Return the header type of a token that was read."""
    return type_name(_object(_decoded(token.split(".")[0])).get("typ", ""))


def _split(token: str) -> _Parts:
    if len(token) > MOST:
        raise Refused(refusals.TOKEN_TOO_LARGE)
    texts = token.split(".", 3)
    if len(texts) != 3:
        raise Refused(refusals.MALFORMED_TOKEN)
    header, payload, signature = texts
    if not signature:  # an unsigned token, whatever its header says
        raise Refused(refusals.ALGORITHM_NOT_ACCEPTED)
    return _Parts(
        _object(_decoded(header)),
        _object(_decoded(payload)),
        f"{header}.{payload}".encode(),
        _decoded(signature),
    )


def _decoded(text: str) -> bytes:
    """Decode base64url without padding. Refuse a second spelling of the same bytes."""
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except ValueError:
        raise Refused(refusals.MALFORMED_TOKEN) from None
    # The decoder skips characters outside the alphabet, and ignores bits after the last byte.
    if base64.urlsafe_b64encode(data).rstrip(b"=") != text.encode():
        raise Refused(refusals.MALFORMED_TOKEN)
    return data


def _object(data: bytes, *, unique: bool = True) -> dict[str, Any]:
    """Return the JSON object in ``data``. Raise ``Refused``."""
    if data.count(b"{") + data.count(b"[") > DEPTH and _depth(data) > DEPTH:
        raise Refused(refusals.TOKEN_TOO_DEEP)
    try:
        found = json.loads(
            data.decode("utf-8", "strict"),
            object_pairs_hook=_unique if unique else dict,
            parse_constant=_no_constant,
        )
    except _DuplicateError:
        raise Refused(refusals.DUPLICATE_CLAIM) from None
    except (ValueError, RecursionError):
        raise Refused(refusals.MALFORMED_TOKEN) from None
    if not isinstance(found, dict):
        raise Refused(refusals.MALFORMED_TOKEN)
    return found


def _depth(data: bytes) -> int:
    depth = deepest = 0
    for match in _BRACKETS.finditer(data):
        if match[0] in (b"{", b"["):
            depth += 1
            deepest = max(deepest, depth)
        elif match[0] in (b"}", b"]"):
            depth -= 1
    return deepest


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise _DuplicateError
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)  # NaN and Infinity are not JSON


def _check_header(
    header: Mapping[str, Any], issuer: Issuer, types: Collection[str]
) -> tuple[str | None, str]:
    """Return the ID of the key, or ``None``, and the algorithm."""
    if not _UNSUPPORTED.isdisjoint(header):
        raise Refused(refusals.UNSUPPORTED_HEADER)
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in issuer.algorithms:
        raise Refused(refusals.ALGORITHM_NOT_ACCEPTED)
    kind = header.get("typ", "")
    if not isinstance(kind, str) or type_name(kind) not in types:
        raise Refused(refusals.TOKEN_TYPE_NOT_ACCEPTED)
    key_id = header.get("kid")
    if not isinstance(key_id, str | None):
        raise Refused(refusals.MALFORMED_TOKEN)
    return key_id, algorithm


def _check_claims(
    claims: Mapping[str, Any], issuer: Issuer, audiences: Collection[str] | None
) -> None:
    if claims.get("iss") != issuer.url:
        raise Refused(refusals.UNTRUSTED_ISSUER)
    now, leeway = time.time(), issuer.leeway
    expires = _moment(claims, "exp")
    if expires is None:
        raise Refused(refusals.MISSING_CLAIM)
    if expires + leeway <= now:
        raise Refused(refusals.EXPIRED_TOKEN)
    for name in ("nbf", "iat"):
        begins = _moment(claims, name)
        if begins is not None and begins - leeway > now:
            raise Refused(refusals.TOKEN_NOT_YET_VALID)
    _check_audience(claims, issuer, audiences)


def _moment(claims: Mapping[str, Any], name: str) -> float | None:
    """Return a claim in seconds since 1970, or ``None`` without it (RFC 7519 section 2)."""
    if name not in claims:
        return None
    given = claims[name]
    if type(given) not in (int, float) or not 0 <= given < 2**53:
        raise Refused(refusals.MALFORMED_TOKEN)
    return float(given)


def _check_audience(
    claims: Mapping[str, Any], issuer: Issuer, audiences: Collection[str] | None
) -> None:
    expected = issuer.audiences if audiences is None else audiences
    clients = issuer.client_ids if audiences is None else ()
    if not expected and not clients:
        raise Refused(refusals.WRONG_AUDIENCE)  # an entry without either is an error
    if expected:
        named = claims.get("aud")
        names = named if isinstance(named, list) else [named]
        if not any(isinstance(name, str) and name in expected for name in names):
            raise Refused(refusals.WRONG_AUDIENCE)
    if clients and client_of(claims) not in clients:
        raise Refused(refusals.WRONG_CLIENT)
