"""Rows that were looked up already, kept in the process: ``APIKEYS["CACHE"]``.

Kept is the row of a credential and its owner as the database gave it, never the decision:
expiry, revocation, a deactivated user and the secret are judged anew at every request.
A row holds no secret: of a key it has the digest, and a hash of a password, an OAuth token
or a client's secret is not even fetched. Redis holds none of it, only word of what changed.

A change of a key, a user or a project drops its rows here when it is committed, and by
``apikeys.tracking`` in every other process. What Django's signals do not tell of
(``QuerySet.update``, SQL by hand) is bounded by ``TIMEOUT``; ``forget()`` ends it at once.
"""

import os
import threading
import time
from collections.abc import Hashable, Iterable, Mapping, Sequence
from copy import deepcopy
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.signals import setting_changed
from django.db import connections, router, transaction
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from .conf import app_settings
from .lookup import Lookup, Row
from .models import KEY_MODELS, LegacyKey, get_project_model
from .signals import key_revoked
from .tracking import Tracking

__all__ = ["forget", "forget_everything"]

_IMMUTABLE = (
    str, bytes, int, float, Decimal, date, time_of_day, timedelta, UUID, type(None),
)  # fmt: skip

#: Of all rows.
EVERYTHING = "*"


class _Entry(NamedTuple):
    row: Row
    mutable: Sequence[int]
    tags: Sequence[str]
    ends: float


class Rows:
    """Rows by lookup and value, and by the tags of what they were made of."""

    def __init__(self, timeout: float, max_entries: int) -> None:
        self._timeout = timeout
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}
        self._tagged: dict[str, set[Hashable]] = {}
        #: Grows with everything that is dropped.
        self.generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Row | None:
        entry = self._entries.get(key)
        if entry is None or entry.ends <= time.monotonic():
            return None
        if not entry.mutable:
            return entry.row
        row = list(entry.row)
        for position in entry.mutable:
            row[position] = deepcopy(row[position])
        return row

    def put(self, key: Hashable, row: Row, tags: Sequence[str], generation: int) -> None:
        """Keep a row that was read when the generation was this one.

        If anything was dropped since, it may be this row, read before it was changed.
        """
        mutable = [i for i, value in enumerate(row) if not isinstance(value, _IMMUTABLE)]
        kept = deepcopy(tuple(row)) if mutable else tuple(row)
        with self._lock:
            if generation != self.generation:
                return
            self._remove(key)
            while len(self._entries) >= self._max_entries:
                self._remove(next(iter(self._entries)))
            self._entries[key] = _Entry(kept, mutable, tags, time.monotonic() + self._timeout)
            for tag in tags:
                self._tagged.setdefault(tag, set()).add(key)

    def drop(self, tags: Iterable[str]) -> None:
        with self._lock:
            self.generation += 1
            for tag in tags:
                if tag == EVERYTHING:
                    self._entries.clear()
                    self._tagged.clear()
                for key in list(self._tagged.get(tag, ())):
                    self._remove(key)

    def _remove(self, key: Hashable) -> None:
        entry = self._entries.pop(key, None)
        for tag in entry.tags if entry else ():
            keys = self._tagged.get(tag)
            if keys is not None:
                keys.discard(key)
                if not keys:
                    del self._tagged[tag]


class Cache:
    """The rows of this process, and what keeps them true."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.rows = Rows(config["TIMEOUT"], config["MAX_ENTRIES"])
        self.tracking: Tracking | None = None
        if config["LOCATION"]:
            self.tracking = Tracking(
                config["LOCATION"], config["KEY_PREFIX"], self.rows.drop, config["TIMEOUT"]
            )

    def peek(self, lookup: Lookup, value: Hashable) -> Row | None:
        if self.tracking is not None and not self.tracking.is_current():
            return None
        return self.rows.get((lookup, value))

    def find(self, lookup: Lookup, value: Hashable) -> Row | None:
        row = self.peek(lookup, value)
        if row is None:
            generation = self.rows.generation
            # Not from a replica: one that lags would bring back what was just dropped.
            alias = router.db_for_write(lookup.model)
            row = lookup.find(value, alias)
            if (
                row is not None
                # What a transaction sees may be old already, or never come to be.
                and not connections[alias].in_atomic_block
                and (self.tracking is None or self.tracking.is_current())
            ):
                tags = [_tag(model, pk) for model, pk in lookup.made_of(row)]
                self.rows.put((lookup, value), row, tags, generation)
        return row

    def drop(self, tags: Sequence[str]) -> None:
        self.rows.drop(tags)
        if self.tracking is not None:
            self.tracking.publish(tags)

    def close(self) -> None:
        if self.tracking is not None:
            self.tracking.close()


_cache: Cache | None = None
_lock = threading.Lock()


def get_cache() -> Cache | None:
    """The cache of this process; ``None`` where the site has none."""
    global _cache
    if _cache is None and app_settings.CACHE is not None:
        with _lock:
            if _cache is None:
                _cache = Cache(app_settings.CACHE)
    return _cache


def find(lookup: Lookup, value: Hashable) -> Row | None:
    """The row, from memory or else by one query."""
    cache = get_cache()
    return lookup.find(value) if cache is None else cache.find(lookup, value)


def peek(lookup: Lookup, value: Hashable) -> Row | None:
    """The row if it is in memory. No query, and nothing to wait for."""
    cache = get_cache()
    return None if cache is None else cache.peek(lookup, value)


def forget(*instances: Model) -> None:
    """Drop what is kept of these keys, users or projects, in all processes.

    For what changed without ``save()``: by ``QuerySet.update()``, or past Django.
    """
    _drop([tag for instance in instances for tag in _tags(type(instance), instance.pk)])


def forget_everything() -> None:
    """Drop all that is kept, in all processes."""
    _drop([EVERYTHING])


def _drop(tags: Sequence[str]) -> None:
    if (cache := get_cache()) is not None:
        cache.drop(tags)


def _tag(model: type[Model], pk: Any) -> str:
    return f"{model._meta.label_lower}:{pk}"


def _tags(model: type[Model], pk: Any) -> list[str]:
    return [_tag(watched, pk) for watched in _watched if _related(model, watched)]


def _related(one: type[Model], other: type[Model]) -> bool:
    """Whether their rows are of one thing: the same model, a proxy, a parent or a child."""
    return issubclass(one, other) or issubclass(other, one)


_watched: list[type[Model]] = []


def watch(*models: Any) -> None:
    """Drop the rows of these models when one of theirs is saved or deleted.

    Nothing is listened to where the site has no cache: a listener makes Django load every
    row that it deletes.
    """
    _watched.extend(model for model in models if model not in _watched)
    if app_settings.CACHE is None:
        return
    for model in apps.get_models(include_auto_created=True):
        if any(_related(model, watched) for watched in models):
            for signal in (post_save, post_delete):
                signal.connect(_changed, sender=model, dispatch_uid="apikeys.cache")


def start() -> None:
    """Watch what keys are made of; called when Django is ready."""
    watch(*KEY_MODELS.values(), LegacyKey, get_user_model(), get_project_model())
    key_revoked.connect(_changed, dispatch_uid="apikeys.cache")  # it is an update()


def _changed(sender: Any, *, using: Any = None, **kwargs: Any) -> None:
    instance = kwargs["key"] if "key" in kwargs else kwargs["instance"]
    alias = using if isinstance(using, str) else router.db_for_write(sender)
    tags = _tags(sender, instance.pk)
    transaction.on_commit(partial(_drop, tags), using=alias, robust=True)


def _reset(*, setting: str = "APIKEYS", **kwargs: object) -> None:
    global _cache
    if setting == "APIKEYS":
        if _cache is not None:
            _cache.close()
            _cache = None
        watch(*_watched)


def _after_fork() -> None:
    # The parent's connection is the parent's.
    global _cache, _lock
    _cache, _lock = None, threading.Lock()


setting_changed.connect(_reset, dispatch_uid="apikeys.cache")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
