"""The text in a predecessor's header -> who it is, or a named refusal.

One query more than for a key of this site's own, or none where the site has a cache. What
is strong cannot be guessed; tries of what is weak, or slow to check, are bounded.
"""

import hashlib
import hmac
import logging
import secrets
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final

from django.core.signals import setting_changed
from django.db import Error, InterfaceError, OperationalError, router, transaction
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import cache, hashing, networks, refusals, token, tries
from ..access import Access
from ..conf import app_settings
from ..lookup import Lookup
from ..models import KEY_MODELS, LegacyKey
from ..pepper_loss import count_try, slot
from ..refusals import Refused
from ..token import Parsed
from ..verify import register, unregister, verify_parsed
from . import schemes, texts
from .schemes import Presented

logger = logging.getLogger("apikeys")

_FIELDS: Final = (
    "pk", "scheme", "hash", "source",
    "token__pk", "token__public_id", "key__pk", "key__public_id",
)  # fmt: skip
_LOOKUP: Final = Lookup(LegacyKey, "selector", _FIELDS)

_EVERYBODY: Final = 10  # times as many tries as one address has

# Selectors of weak texts that were found right, so that none is paid for at every request. By
# a digest under a key that this process alone has, and loses with it.
_found: dict[bytes, str] = {}
_MOST_FOUND: Final = 1000
_process_key = secrets.token_bytes(32)


class _Row:
    def __init__(self, row: Any) -> None:
        self.pk, self.scheme, self.hash, self.source, pat, pat_id, key, key_id = row
        self.kind = token.PAT if pat is not None else token.KEY
        self.key_pk, self.public_id = (pat, pat_id) if pat is not None else (key, key_id)


@sensitive_variables("presented")
def authenticate(request: HttpRequest) -> Access | None:
    """Who sends ``request`` by a predecessor's header; ``None`` without one.

    Raises ``Refused`` with the reason.
    """
    presented = schemes.read(request)
    if presented is None:
        return None
    if (access := _verify(presented, request)) is None:
        raise Refused(refusals.INVALID_KEY)
    return access


def start(**kwargs: object) -> None:
    """Share the header of this site's own keys, where a predecessor said ``Bearer``."""
    unregister(resolve)
    with suppress(TypeError, ValueError):  # of a wrong setting a check tells
        if schemes.of_bearer():
            register(resolve, first=True)


@sensitive_variables("text", "presented")
def resolve(text: str, request: HttpRequest | None) -> Access | None:
    """For predecessors that said ``Bearer``; ``None`` for whatever is not theirs."""
    presented = Presented(text, schemes.of_bearer())
    if not presented.schemes or all(each.is_over() for each in presented.schemes.values()):
        return None
    return _verify(presented, request)


@sensitive_variables("presented")
def _verify(presented: Presented, request: HttpRequest | None) -> Access | None:
    try:
        return _check(presented, request)
    except (OperationalError, InterfaceError) as error:
        logger.error("A credential could not be checked, as the database is away: %s", error)
    raise Refused(refusals.TEMPORARILY_UNAVAILABLE)


@sensitive_variables("presented", "text", "parsed")
def _check(presented: Presented, request: HttpRequest | None) -> Access | None:
    text, is_weak = presented.text, texts.is_weak(presented.text)
    row = _find_weak(text, request) if is_weak else _find_strong(text)
    if row is None or row.public_id is None:
        return None
    scheme = presented.schemes.get(row.scheme)
    if scheme is None:
        return None
    schemes.check_not_over({scheme.name: scheme})
    parsed = Parsed("", row.kind, row.public_id, texts.bind(row.scheme, text))
    if row.hash:
        if not _matches(text, row, request):
            return None
        (_upgrade_weak if is_weak else _upgrade)(row, text, parsed)
    access = verify_parsed(parsed, request, is_right=is_weak or bool(row.hash))
    if access.expires_at is None or access.expires_at > scheme.ends:
        access.expires_at = scheme.ends
    return access


@sensitive_variables("text")
def _find_strong(text: str) -> _Row | None:
    found = cache.find(_LOOKUP, texts.selector(text))
    return _Row(found) if found is not None else _find_unused(text)


@sensitive_variables("text")
def _find_unused(text: str) -> _Row | None:
    """What was never used since its import, whose hash was another one."""
    rows = LegacyKey.objects.filter(selector__in=texts.other_selectors(text)).exclude(hash="")
    found = rows.values_list(*_FIELDS).first()
    return _Row(found) if found is not None else None


@sensitive_variables("text", "name")
def _find_weak(text: str, request: HttpRequest | None) -> _Row | None:
    name = hmac.digest(_process_key, text.encode(), hashlib.sha256)
    if (selector := _found.get(name)) is not None:
        found = cache.find(_LOOKUP, selector)
        return _Row(found) if found is not None else None
    with _bounded("weak", request) as give_back:
        row = _find_unused(text) or _find_slowly(text, name)
        if row is not None:
            give_back()
    return row


@sensitive_variables("text", "name")
def _find_slowly(text: str, name: bytes) -> _Row | None:
    for salt in salts():
        with slot():
            selector = texts.slow(text, salt).selector
        if (found := cache.find(_LOOKUP, selector)) is not None:
            if len(_found) >= _MOST_FOUND:
                _found.clear()
            _found[name] = selector
            return _Row(found)
    return None


def salts() -> list[str]:
    """Of the weak keys that there are: none, or one; more if two began under other peppers."""
    rows = LegacyKey.objects.filter(salt__gt="").order_by("salt")
    return list(rows.values_list("salt", flat=True).distinct())


def salt() -> str:
    """For a weak key. The first is made of the pepper: who begin together have the same one."""
    return next(iter(salts()), None) or hashing.make_digest("legacy:salt").value[:32]


@contextmanager
def _bounded(what: str, request: HttpRequest | None) -> Iterator[Any]:
    """Counts a try, from this address and from all; what is right is given back."""
    ip = networks.client_ip(request) or "?"
    counters = [
        count_try(f"legacy:{what}:{ip}", app_settings.ARGON2_TRIES),
        count_try(f"legacy:{what}", app_settings.ARGON2_TRIES * _EVERYBODY),
    ]
    yield partial(tries.give_back, *counters)


@sensitive_variables("text")
def _matches(text: str, row: _Row, request: HttpRequest | None) -> bool:
    if not texts.is_slow(row.hash):
        return texts.matches(text, row.hash)
    with _bounded(row.public_id, request) as give_back:
        with slot():
            right = texts.matches(text, row.hash)
        if right:
            give_back()
    return right


@sensitive_variables("text", "parsed")
def _upgrade(row: _Row, text: str, parsed: Parsed) -> None:
    try:
        with slot():
            root = hashing.make_root(parsed.secret)
    except Refused:  # busy: at another use
        return
    digest = hashing.make_digest(parsed.secret)
    changes = {"root": root, "digest": digest.value, "pepper_id": digest.pepper_id}
    _store(row, {"selector": texts.selector(text)}, changes)


@sensitive_variables("text", "parsed")
def _upgrade_weak(row: _Row, text: str, parsed: Parsed) -> None:
    one_salt = salt()
    try:
        with slot():
            hashed = texts.slow(text, one_salt)
    except Refused:
        return
    of_legacy = {
        "selector": hashed.selector,
        "salt": one_salt,
        "source": texts.veiled(row.source)[0],
    }
    _store(row, of_legacy, {"root": hashed.root})


def _store(row: _Row, of_legacy: dict[str, str], of_key: dict[str, str]) -> None:
    """What was stored is replaced, once. A database that takes no writes keeps nobody out."""
    model = KEY_MODELS[row.kind]
    alias = router.db_for_write(model)
    try:
        with transaction.atomic(using=alias):
            unused = LegacyKey.objects.using(alias).filter(pk=row.pk, hash=row.hash)
            if unused.update(hash="", **of_legacy):
                model._default_manager.using(alias).filter(pk=row.key_pk).update(**of_key)
        cache.forget(LegacyKey(pk=row.pk), model(pk=row.key_pk))
    except Error:
        logger.warning("Could not renew the hash of %s.", row.public_id, exc_info=True)


setting_changed.connect(start, dispatch_uid="apikeys.legacy.verify")
