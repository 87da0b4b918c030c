"""A signed request -> who signed it, or a named refusal (RFC 9421, RFC 9530).

The cryptography and the signature base are http-message-signatures'; what has to be signed,
by whom, when and how often is said here.
"""

import logging
import re
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import http_sf
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from django.db import InterfaceError, OperationalError
from django.http import HttpRequest
from http_message_signatures import (
    ContentDigest,
    HTTPMessageSignaturesException,
    HTTPMessageVerifier,
    HTTPSignatureAlgorithm,
    MappingKeyResolver,
    VerifyResult,
    algorithms,
)

from .. import cache, refusals, token, usage
from ..access import Access
from ..conf import app_settings
from ..lookup import Lookup, Row, but
from ..models import ProjectKey
from ..refusals import Refused
from ..verify import FIELDS, Key, admit, check_state, project_key
from . import Message, nonces, public_keys
from .public_keys import PublicKey

logger = logging.getLogger("apikeys")

_PERSON = but("password")
_SIGNED = Lookup(
    ProjectKey,
    "public_id",
    (*FIELDS, "public_key"),
    {"project": but(), "approved_by": _PERSON, "created_by": _PERSON},
)
_PUBLIC_KEY: Final = len(FIELDS)

#: Either is enough: behind a proxy that hides the scheme, the second.
_TARGETS: Final = (frozenset({"@target-uri"}), frozenset({"@authority", "@path", "@query"}))
_PARAMETERS: Final = {"created": int, "expires": int, "nonce": str, "keyid": str, "alg": str,
                      "tag": str}  # fmt: skip
_MAX_FIELD: Final = 8192  # characters of a header field
_MAX_COMPONENTS: Final = 50
_MAX_NONCE: Final = 128  # characters
_ID: Final = re.compile(rf"[0-9a-z]{{{token.ID_LENGTH}}}", re.ASCII)

# Whoever asks for a key that is not there waits as long as for a wrong signature.
_NOBODYS: Final = Ed25519PrivateKey.generate().public_key()


@dataclass(frozen=True, slots=True)
class _Claims:
    """What the signature says of itself, before anybody believes it."""

    covered: frozenset[str]
    created: int
    expires: int | None
    nonce: str
    keyid: str


def verify(message: Message, request: HttpRequest | None) -> Access:
    """Who signed ``message``; nothing is told of a key before its signature was checked."""
    claims, row, result = prove(message)
    _check_body(message, result)
    with _temporarily():
        return _admit(claims, row, request)


def prove(message: Message) -> tuple[_Claims, Row, VerifyResult]:
    """That the holder of a key has signed ``message``, whatever its body is, and just now."""
    claims = _read(message.headers)
    _check_time(claims)
    with _temporarily():
        row = _find(claims.keyid)
    key = _NOBODYS if row is None else public_keys.from_stored(row[_PUBLIC_KEY])
    result = check_signature(message, claims.keyid, key)
    if row is None:
        raise Refused(refusals.INVALID_SIGNATURE)
    return claims, row, result


@contextmanager
def _temporarily() -> Iterator[None]:
    try:
        yield
    except (OperationalError, InterfaceError) as error:
        logger.error("A signature could not be checked, as the database is away: %s", error)
        refusal = refusals.TEMPORARILY_UNAVAILABLE
    else:
        return
    raise Refused(refusal)


def _read(headers: Mapping[str, str]) -> _Claims:
    inputs, signatures = (_dictionary(headers, n) for n in ("Signature-Input", "Signature"))
    if len(inputs) != 1 or inputs.keys() != signatures.keys():
        raise Refused(refusals.MALFORMED_SIGNATURE)
    ((components, params),), ((signature, _),) = inputs.values(), signatures.values()
    if not isinstance(components, list) or not isinstance(signature, bytes):
        raise Refused(refusals.MALFORMED_SIGNATURE)
    if any(type(value) is not _PARAMETERS.get(name) for name, value in params.items()):
        raise Refused(refusals.MALFORMED_SIGNATURE)
    # One with a parameter covers less than the whole of what it names.
    covered = frozenset(name for name, parameters in components if not parameters)
    nonce, keyid = params.get("nonce", ""), params.get("keyid", "")
    if len(components) > _MAX_COMPONENTS or len(nonce) > _MAX_NONCE:
        raise Refused(refusals.MALFORMED_SIGNATURE)
    if (
        "@method" not in covered
        or not any(target <= covered for target in _TARGETS)
        or ("Content-Digest" in headers and "content-digest" not in covered)
        or not ("created" in params and nonce and keyid)
    ):
        raise Refused(refusals.INCOMPLETE_SIGNATURE)
    return _Claims(covered, params["created"], params.get("expires"), nonce, keyid)


def _dictionary(headers: Mapping[str, str], name: str) -> dict[str, Any]:
    text = headers.get(name, "")
    try:
        if len(text) > _MAX_FIELD:
            raise ValueError
        parsed: Any = http_sf.parse(
            text.encode("ascii"), tltype="dictionary", on_duplicate_key=_refuse_duplicate
        )
    except ValueError:
        raise Refused(refusals.MALFORMED_SIGNATURE) from None
    return dict(parsed)


def _refuse_duplicate(key: str, context: str) -> NoReturn:
    raise ValueError(key)


def _check_time(claims: _Claims) -> None:
    now = time.time()
    over = claims.expires is not None and claims.expires <= now
    if over or abs(now - claims.created) > app_settings.SIGNATURE_WINDOW:
        raise Refused(refusals.STALE_SIGNATURE)


def _find(keyid: str) -> Row | None:
    """The row of a key that holds a public key."""
    row = cache.find(_SIGNED, keyid) if _ID.fullmatch(keyid) else None
    return row if row is not None and row[_PUBLIC_KEY] else None


def check_signature(message: Message, keyid: str, key: PublicKey) -> VerifyResult:
    """What of ``message`` the holder of ``key`` has signed. Raises ``Refused``."""
    verifier = HTTPMessageVerifier(
        signature_algorithm=algorithm_of(key),
        key_resolver=MappingKeyResolver(public_keys={keyid: key}, private_keys={}),
    )
    verifier.max_clock_skew = timedelta(seconds=app_settings.SIGNATURE_WINDOW)
    request = SimpleNamespace(method=message.method, url=message.url, headers=message.headers)
    try:
        (result,) = verifier.verify(request, max_age=None)
    except HTTPMessageSignaturesException:
        raise Refused(refusals.INVALID_SIGNATURE) from None
    return result


def algorithm_of(key: PublicKey) -> type[HTTPSignatureAlgorithm]:
    """The key says which; what a request says can only agree."""
    if isinstance(key, Ed25519PublicKey):
        return algorithms.ED25519
    return algorithms.ECDSA_P256_SHA256


def _check_body(message: Message, result: VerifyResult) -> None:
    body = message.body()
    has_digest = '"content-digest"' in result.covered_components
    if not has_digest and body != b"":
        raise Refused(refusals.INCOMPLETE_SIGNATURE)
    if has_digest and body is not None:
        try:
            ContentDigest.verify(result.covered_components['"content-digest"'], body)
        except HTTPMessageSignaturesException:
            raise Refused(refusals.DIGEST_MISMATCH) from None


def _admit(claims: _Claims, row: Row, request: HttpRequest | None) -> Access:
    key = Key(*row[:_PUBLIC_KEY])
    check_state(key)
    project, approved_by, created_by = _SIGNED.build(row)
    access, ip = admit(ProjectKey, project_key, claims.keyid, key, project, request, True)
    access.signed, access.authorized_by = True, approved_by or created_by
    # Last, so that what is refused leaves no trace: it could not be told from a replay.
    if not nonces.use(claims.keyid, claims.nonce, claims.created + app_settings.SIGNATURE_WINDOW):
        raise Refused(refusals.REPLAYED_SIGNATURE)
    usage.record(ProjectKey, key.pk, ip)
    return access
