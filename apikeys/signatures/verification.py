"""Turn a signed request into an ``Access`` or a refusal (RFC 9421, RFC 9530).

http-message-signatures does the cryptography and builds the signature base. This module
decides what must be signed, by which key, how recently, and how often.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from functools import lru_cache
from types import SimpleNamespace
from typing import Any, Final, NoReturn

import http_sf
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
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
from ..cache import project_users
from ..cache.lookup import Lookup, Row, all_except
from ..conf import app_settings
from ..conf.endings import end_settings
from ..databases import unavailable
from ..models import ProjectKey
from ..refusals import Refused
from ..verify import FIELDS, Key, check_request, check_state, project_key
from . import nonces, public_keys
from .messages import Message
from .public_keys import PublicKey

_PERSON = all_except("password")
_OWNER: Final = {"project": all_except(), "approved_by": _PERSON, "created_by": _PERSON}
_PUBLIC_KEY: Final = len(FIELDS)

#: A signature must cover one of these. The second one works behind a proxy that hides the scheme.
_TARGETS: Final = (frozenset({"@target-uri"}), frozenset({"@authority", "@path", "@query"}))
_PARAMETERS: Final = {"created": int, "expires": int, "nonce": str, "keyid": str, "alg": str,
                      "tag": str}  # fmt: skip
_MAX_FIELD: Final = 8192  # characters of a header field
_MAX_COMPONENTS: Final = 50
_MAX_NONCE: Final = 128  # characters

# Checked instead of an unknown key, so that the response takes as long as for a wrong signature.
_DUMMY_KEY: Final = Ed25519PrivateKey.generate().public_key()


@dataclass(frozen=True, slots=True)
class _Claims:
    """The parameters of a signature, before it is checked."""

    covered: frozenset[str]
    created: int
    expires: int | None
    nonce: str
    keyid: str


def verify(message: Message, request: HttpRequest | None) -> Access:
    """Return the ``Access`` of the signing key. Raise ``Refused``.

    No refusal reveals anything about a key before its signature is checked.
    """
    claims, row, result = prove(message)
    _check_body(message, result)
    with unavailable.answer():
        return _admit(claims, row, request)


def prove(message: Message) -> tuple[_Claims, Row, VerifyResult]:
    """Check that a key has signed ``message`` recently. Does not read the body.

    Raise ``Refused``.
    """
    claims = _read(message.headers)
    _check_time(claims)
    with unavailable.answer():
        row = _find(claims.keyid)
    key = _DUMMY_KEY if row is None else public_keys.from_stored(row[_PUBLIC_KEY])
    result = check_signature(message, claims.keyid, key)
    if row is None:
        raise Refused(refusals.INVALID_SIGNATURE)
    return claims, row, result


def _read(headers: Mapping[str, str]) -> _Claims:
    inputs, signatures = (_dictionary(headers, n) for n in ("Signature-Input", "Signature"))
    if len(inputs) != 1 or inputs.keys() != signatures.keys():
        raise Refused(refusals.MALFORMED_SIGNATURE)
    ((components, params),), ((signature, _),) = inputs.values(), signatures.values()
    if not isinstance(components, list) or not isinstance(signature, bytes):
        raise Refused(refusals.MALFORMED_SIGNATURE)
    if any(type(value) is not _PARAMETERS.get(name) for name, value in params.items()):
        raise Refused(refusals.MALFORMED_SIGNATURE)
    # A component with parameters covers only a part of its header, so it does not count.
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
    """Return the row of the key, if it has a public key, or ``None``."""
    row = cache.find(_signed(), keyid) if token.is_id(keyid) else None
    return row if row is not None and row[_PUBLIC_KEY] else None


def _signed() -> Lookup:
    return _lookup(app_settings.PROJECT_USER, end_settings.ENFORCE_LONGEST_LIFETIME)


@lru_cache(maxsize=8)
def _lookup(relation: str | None, ages: bool) -> Lookup:
    fields = (*FIELDS, "public_key")
    return project_users.make(ProjectKey, "public_id", fields, _OWNER, ["project"])


def check_signature(message: Message, keyid: str, key: PublicKey) -> VerifyResult:
    """Check the signature of ``message`` with ``key``; return the covered components.

    Raise ``Refused``.
    """
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
    """Return the algorithm of ``key``. The ``alg`` of a request cannot change it."""
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
    try:
        check_state(key)
    except Refused as refused:
        usage.note_if_ended(ProjectKey, key.pk, request, refused)
        raise
    project, approved_by, created_by = _signed().build(row)
    ip = check_request(ProjectKey, key.pk, key.restrictions, project, request)
    access = project_key(claims.keyid, key, project)
    access.signed, access.authorized_by = True, approved_by or created_by
    # Use the nonce last: a refused request must not use it up, or a retry would be a replay.
    if not nonces.use(claims.keyid, claims.nonce, claims.created + app_settings.SIGNATURE_WINDOW):
        raise Refused(refusals.REPLAYED_SIGNATURE)
    usage.note_use(ProjectKey, key.pk, ip)
    return access
