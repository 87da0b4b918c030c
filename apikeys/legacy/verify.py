"""Verify an imported key in its old header: return an ``Access`` or raise a refusal.

Takes one query more than a key of this app, or none if the key is cached. A strong text cannot
be guessed. Attempts at weak texts, and at texts that are slow to check, are limited.
"""

import hashlib
import hmac
import logging
import re
import secrets
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from typing import Any, Final, NamedTuple

from django.core.signals import setting_changed
from django.db import Error, connections, router
from django.http import HttpRequest
from django.views.decorators.debug import sensitive_variables

from .. import cache, hashing, refusals, token
from ..access import Access
from ..cache.lookup import Lookup
from ..conf import app_settings
from ..databases import tenants, transactions, unavailable
from ..hashing.converted import is_secret_of
from ..hashing.lost_peppers import count_try, slot
from ..limits import attempts, networks
from ..models import KEY_MODELS, AnyKey, LegacyKey
from ..refusals import Refused
from ..token import Parsed
from ..verify import Resolver, ask_others, register, unregister, verify_parsed
from . import live, options, schemes, texts
from .schemes import Presented

logger = logging.getLogger("apikeys")

_FIELDS: Final = (
    "pk", "scheme", "hash", "source",
    "token__pk", "token__public_id", "key__pk", "key__public_id",
)  # fmt: skip
_LOOKUP: Final = Lookup(LegacyKey, "selector", _FIELDS)

# All addresses together have this many times the attempts of one address.
_EVERYBODY: Final = 10

# Selectors of weak texts that were right, so that Argon2 runs only once for each. Keyed by a
# digest under a key that only this process has.
_found: dict[bytes, str] = {}
_MOST_FOUND: Final = 1000
_process_key = secrets.token_bytes(32)


# The live table of a package has no JWT (RFC 7519 section 3).
_JWT: Final = re.compile(r"[^.]*\.[^.]*\.[^.]*")


_GiveBack = Callable[[], None]


def _nothing() -> None:
    """Take back an attempt that was not counted."""


class _Row:
    def __init__(self, row: Any) -> None:
        self.pk, self.scheme, self.hash, self.source, pat, pat_id, key, key_id = row
        self.kind = token.PAT if pat is not None else token.KEY
        self.key_pk, self.public_id = (pat, pat_id) if pat is not None else (key, key_id)


@sensitive_variables("presented")
def authenticate(request: HttpRequest) -> Access | None:
    """Return the ``Access`` of a request with a legacy header; ``None`` without such a header.

    Raise ``Refused``.
    """
    presented = schemes.read(request)
    if presented is None:
        return None
    if (access := _verify(presented, request)) is None:
        raise Refused(refusals.INVALID_KEY)
    return access


def start(**kwargs: object) -> None:
    """Register the resolver if a scheme uses ``Authorization: Bearer``, like this app's keys."""
    unregister(resolve)
    with suppress(TypeError, ValueError):  # the system check reports an invalid setting
        if schemes.of_bearer():
            register(resolve, first=True)


@sensitive_variables("text", "presented")
def resolve(text: str, request: HttpRequest | None) -> Access | None:
    """Return the ``Access`` of an imported key sent as ``Bearer``; ``None`` for other texts.

    The other resolvers run before a live table is read, whose query may contain ``text``: it
    may be an OAuth token. Raise ``Refused``.
    """
    presented = Presented(text, schemes.of_bearer())
    if not presented.schemes or all(each.is_over() for each in presented.schemes.values()):
        return None
    if not schemes.is_text(text):
        return None  # no import takes it, and a database may refuse it as a value
    return _verify(presented, request, partial(ask_others, resolve))


@sensitive_variables("presented")
def _verify(
    presented: Presented, request: HttpRequest | None, others: Resolver | None = None
) -> Access | None:
    try:
        return _check(presented, request, others)
    except Exception as error:
        if (refusal := unavailable.refusal(error)) is None:
            raise
    raise Refused(refusal)


@sensitive_variables("presented", "text", "parsed", "candidate")
def _check(
    presented: Presented, request: HttpRequest | None, others: Resolver | None
) -> Access | None:
    text, is_weak = presented.text, texts.is_weak(presented.text)
    row, give_back = _find(presented, request)
    if row is None and (names := _live(presented)):
        if others is not None:
            if _JWT.fullmatch(text):
                return None
            if (of_other := others(text, request)) is not None:
                return of_other
        if any(_take_in(name, text, request) for name in names):
            give_back()  # the text was right, and the next line counts it again
            row, _ = _find(presented, request)
        elif others is not None:
            raise Refused(refusals.INVALID_TOKEN)  # no resolver is asked twice
    if row is None or row.public_id is None:
        return None
    scheme = presented.schemes.get(row.scheme)
    if scheme is None:
        return None
    schemes.check_not_over({scheme.name: scheme})
    parsed = Parsed("", row.kind, row.public_id, texts.bind(row.scheme, text))
    if row.hash and not _matches(text, row, request):
        return None
    candidate = live.check(row.scheme, text, row.kind, row.key_pk)
    if row.hash:
        (_upgrade_weak if is_weak else _upgrade)(row, text, parsed)
    access = verify_parsed(parsed, request, is_right=is_weak or bool(row.hash))
    if candidate is not None:
        live.limit(row.scheme, candidate, access, row.kind, row.key_pk)
    if access.expires_at is None or access.expires_at > scheme.ends:
        access.expires_at = scheme.ends
    return access


def _live(presented: Presented) -> list[str]:
    schemes = presented.schemes.values()
    return [each.name for each in schemes if live.is_live(each.name) and not each.is_over()]


@sensitive_variables("text", "candidate", "slow_hash")
def _take_in(name: str, text: str, request: HttpRequest | None) -> bool:
    """Import ``text`` if the table of a live scheme has it. Return whether it was imported."""
    candidate = live.find(name, text)
    if candidate is None:
        return False
    # The prefix of a key is public: reveal and import nothing before the secret is checked.
    slow_hash = live.slow_hash(name, candidate)
    if slow_hash and not _matches_slowly(text, slow_hash, f"{name}:{candidate.prefix}", request):
        return False
    return live.take_in(name, candidate)


@sensitive_variables("presented", "text")
def _find(presented: Presented, request: HttpRequest | None) -> tuple[_Row | None, _GiveBack]:
    """Return the row of a text, and a function that takes back the attempt that it counted."""
    text = presented.text
    hooks = [hook for name in presented.schemes if (hook := options.hook_of(name)) is not None]
    if texts.is_weak(text):
        return _find_weak(text, request, hooks)
    found = cache.find(_LOOKUP, texts.selector(text))
    return (_Row(found) if found is not None else _find_unused(text, hooks)), _nothing


@sensitive_variables("text")
def _find_unused(text: str, hooks: Sequence[texts.Hook]) -> _Row | None:
    """Return the row of a key that has not been used since its import, or ``None``."""
    selectors = texts.other_selectors(text, hooks)
    rows = LegacyKey.objects.filter(selector__in=selectors).exclude(hash="")
    found = rows.values_list(*_FIELDS).first()
    return _Row(found) if found is not None else None


@sensitive_variables("text", "name")
def _find_weak(
    text: str, request: HttpRequest | None, hooks: Sequence[texts.Hook]
) -> tuple[_Row | None, _GiveBack]:
    tenant = tenants.prefix_of(LegacyKey)
    name = hmac.digest(_process_key, f"{tenant}{text}".encode(), hashlib.sha256)
    if (selector := _found.get(name)) is not None:
        found = cache.find(_LOOKUP, selector)
        return (_Row(found) if found is not None else None), _nothing
    with _bounded("weak", request) as give_back:
        row = _find_unused(text, hooks) or _find_slowly(text, name)
        if row is not None:
            give_back()
    return row, give_back


class Imported(NamedTuple):
    """The row of an imported key, which was found by its text alone."""

    row: _Row
    text: str

    def __repr__(self) -> str:
        return f"<Imported {self.row.public_id}>"

    @sensitive_variables("self", "parsed")
    def is_right(self, key: AnyKey) -> bool:
        """Return whether ``key`` has this text. Raise ``Refused`` (``verification_busy``)."""
        row = self.row
        if row.hash:
            return _matches(self.text, row, None)
        parsed = Parsed("", row.kind, str(row.public_id), texts.bind(row.scheme, self.text))
        return is_secret_of(key, parsed)


@sensitive_variables("given", "text", "strong", "places", "found")
def find_all(given: Iterable[str]) -> dict[str, Imported]:
    """Return the imported keys with these texts, without a request. One query.

    Check each with ``is_right``. Weak texts are left out, because anyone could guess them here,
    and so are keys that ``LIVE`` has not imported yet.
    """
    hooks = [hook for name in schemes.enabled() if (hook := options.hook_of(name)) is not None]
    places: dict[str, list[str]] = {}
    for text in given:
        if schemes.is_text(text) and not texts.is_weak(text):
            for place in {texts.selector(text), *texts.other_selectors(text, hooks)}:
                places.setdefault(place, []).append(text)
    found: dict[str, Imported] = {}
    if not places:
        return found
    rows = LegacyKey.objects.filter(selector__in=list(places))
    for place, *values in rows.values_list("selector", *_FIELDS):
        row = _Row(values)
        for text in places[place]:
            is_place = bool(row.hash) or place == texts.selector(text)
            if row.public_id is not None and is_place:
                found.setdefault(text, Imported(row, text))
    return found


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
    """Return the salts of all weak keys.

    Usually none or one. There are more if two imports started with different peppers.
    """
    rows = LegacyKey.objects.filter(salt__gt="").order_by("salt")
    return list(rows.values_list("salt", flat=True).distinct())


def salt() -> str:
    """Return the salt for a new weak key: the existing one, or one derived from the pepper.

    Parallel first imports derive the same salt.
    """
    return next(iter(salts()), None) or hashing.make_digest("legacy:salt").value[:32]


@contextmanager
def _bounded(what: str, request: HttpRequest | None) -> Iterator[Any]:
    """Count an attempt for this address and for all addresses.

    Yield a function that takes the count back. Raise ``Refused`` (``verification_busy``) over
    the limit.
    """
    ip = networks.counted(networks.client_ip(request))
    counters = [
        count_try(f"legacy:{what}:{ip}", app_settings.ARGON2_TRIES),
        count_try(f"legacy:{what}", app_settings.ARGON2_TRIES * _EVERYBODY),
    ]
    yield partial(attempts.give_back, *counters)


@sensitive_variables("text")
def _matches(text: str, row: _Row, request: HttpRequest | None) -> bool:
    if not texts.is_slow(row.hash):
        return texts.matches(text, row.hash, options.hook_of(row.scheme))
    return _matches_slowly(text, row.hash, row.public_id, request)


@sensitive_variables("text", "stored")
def _matches_slowly(text: str, stored: str, name: str, request: HttpRequest | None) -> bool:
    with _bounded(name, request) as give_back:
        with slot():
            right = texts.matches(text, stored)
        if right:
            give_back()
    return right


@sensitive_variables("text", "parsed")
def _upgrade(row: _Row, text: str, parsed: Parsed) -> None:
    try:
        with slot():
            root = hashing.make_root(parsed.secret)
    except Refused:  # busy: upgrade at a later use
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
    """Replace the stored hash, once. A read-only database does not refuse the request."""
    model = KEY_MODELS[row.kind]
    alias = router.db_for_write(model)
    try:
        with transactions.atomic(model):
            unused = LegacyKey.objects.using(alias).filter(pk=row.pk, hash=row.hash)
            if unused.update(hash="", **of_legacy):
                model._default_manager.using(alias).filter(pk=row.key_pk).update(**of_key)
        cache.forget(LegacyKey(pk=row.pk), model(pk=row.key_pk))
    except Error:
        if connections[alias].needs_rollback:
            raise  # the outer transaction cannot continue
        logger.warning("Could not renew the hash of %s.", row.public_id, exc_info=True)


setting_changed.connect(start, dispatch_uid="apikeys.legacy.verify")
