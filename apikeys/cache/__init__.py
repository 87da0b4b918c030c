"""Cache the rows of credentials and their owners in the process (``APIKEYS["CACHE"]``).

Only rows are cached, never decisions: expiry, revocation, the state of the owner and the secret
are checked at every request. A row contains no secret. It has the digest of a key; the hash of a
password, an OAuth token or a client's secret is not fetched. Redis stores no rows, only the names
of changed ones.

A change of a key, a user or a project drops its rows here when it is committed, and in all other
processes through ``apikeys.cache.invalidation``. Django sends no signal for ``QuerySet.update()``
and manual SQL: call ``forget()``, or wait for ``TIMEOUT``.

``apikeys.verify`` decides whether a credential is valid.
"""

import os
import threading
import time
from collections.abc import Callable, Hashable, Iterable, Mapping, MutableMapping, Sequence
from contextlib import suppress
from copy import deepcopy
from datetime import date, timedelta
from datetime import time as time_of_day
from decimal import Decimal
from functools import partial
from typing import Any, NamedTuple
from uuid import UUID
from weakref import WeakKeyDictionary

from django.apps import apps
from django.contrib.auth import get_user_model
from django.core.signals import setting_changed
from django.db import connections, router, transaction
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import Model
from django.db.models.signals import post_delete, post_save

from ..conf import app_settings
from ..databases import tenants
from ..frozen import Frozen
from ..models import KEY_MODELS, LegacyKey, get_project_model
from ..signals import key_revoked
from .invalidation import EVERYTHING, Tracking
from .lookup import Lookup, Row

__all__ = ["forget", "forget_everything"]

_IMMUTABLE = (
    str, bytes, int, float, Decimal, date, time_of_day, timedelta, UUID, type(None), Frozen,
)  # fmt: skip

Load = Callable[[str | None], Row | None]


def _is_immutable(value: Any) -> bool:
    return isinstance(value, _IMMUTABLE) or (
        type(value) is tuple and all(map(_is_immutable, value))
    )


class _Entry(NamedTuple):
    row: Row
    mutable: Sequence[int]  # positions of values to copy at each read
    tags: Sequence[str]
    ends: float


class Rows:
    """Rows by lookup and value, and by the tags of the model instances in them."""

    def __init__(self, timeout: float, max_entries: int) -> None:
        self._timeout = timeout
        self._max_entries = max_entries
        self._lock = threading.Lock()
        self._entries: dict[Hashable, _Entry] = {}
        self._tagged: dict[str, set[Hashable]] = {}
        #: Increases with every drop.
        self.generation = 0

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: Hashable) -> Row | None:
        """Return the row of ``key``, unless it is missing or expired."""
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
        """Store a row that was read at ``generation``.

        Do nothing if any row was dropped since: this row may have been read before its change.
        """
        mutable = [i for i, value in enumerate(row) if not _is_immutable(value)]
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
        """Remove all rows with one of ``tags``; ``EVERYTHING`` removes all."""
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
    """The rows of this process, and their invalidation by other processes."""

    def __init__(self, config: Mapping[str, Any]) -> None:
        self.rows = Rows(config["TIMEOUT"], config["MAX_ENTRIES"])
        self.tracking: Tracking | None = None
        if config["LOCATION"]:
            self.tracking = Tracking(
                config["LOCATION"], config["KEY_PREFIX"], self.rows.drop, config["TIMEOUT"]
            )

    def peek(self, lookup: Lookup, value: Hashable) -> Row | None:
        """Return the row if it is cached. Make no query."""
        place = tenants.place_of(lookup.model)
        # The caller may be an event loop, whose connection belongs to no tenant.
        if place is None or place.schema:
            return None
        if self.tracking is not None and not self.tracking.is_current():
            return None
        return self.rows.get((place, lookup, value))

    def find(self, lookup: Lookup, value: Hashable, load: Load | None = None) -> Row | None:
        """Return the row from the cache, or from the database, by ``load`` if it is given."""
        if (place := tenants.place_of(lookup.model)) is None:
            return lookup.find(value) if load is None else load(None)
        key = place, lookup, value
        row = None
        if self.tracking is None or self.tracking.is_current():
            row = self.rows.get(key)
        if row is None:
            generation = self.rows.generation
            # Read from the primary: a replica that lags would return the row just dropped.
            alias = place.alias
            row = lookup.find(value, alias) if load is None else load(alias)
            if (
                row is not None
                # A transaction may see an outdated row, or one that is rolled back later.
                and not connections[alias].in_atomic_block
                and (self.tracking is None or self.tracking.is_current())
            ):
                tags = [_tag(model, pk) for model, pk in lookup.tags_of(row)]
                self.rows.put(key, row, tags, generation)
        return row

    def drop(self, tags: Sequence[str]) -> None:
        """Remove rows here and in all other processes."""
        self.rows.drop(tags)
        if self.tracking is not None:
            self.tracking.publish(tags)

    def close(self) -> None:
        if self.tracking is not None:
            self.tracking.close()


_cache: Cache | None = None
_lock = threading.Lock()


def get_cache() -> Cache | None:
    """Return the cache of this process; ``None`` if the site has no cache."""
    global _cache
    if _cache is None and app_settings.CACHE is not None:
        with _lock:
            if _cache is None:
                _cache = Cache(app_settings.CACHE)
    return _cache


def find(lookup: Lookup, value: Hashable) -> Row | None:
    """Return the row from the cache, or with one query; ``None`` if it does not exist."""
    cache = _cache or get_cache()
    return lookup.find(value) if cache is None else cache.find(lookup, value)


def find_or_load(lookup: Lookup, value: Hashable, load: Load) -> Row | None:
    """Return the row from the cache, or from ``load``, which gets the alias of the database."""
    cache = _cache or get_cache()
    return load(None) if cache is None else cache.find(lookup, value, load)


def peek(lookup: Lookup, value: Hashable) -> Row | None:
    """Return the row if it is cached. Make no query and never wait."""
    cache = get_cache()
    return None if cache is None else cache.peek(lookup, value)


def forget(*instances: Model) -> None:
    """Drop the cached rows of these keys, users or projects in all processes.

    Call it after a change without ``save()``, such as ``QuerySet.update()`` or SQL.
    """
    _drop([tag for instance in instances for tag in _tags(type(instance), instance.pk)])


def forget_everything() -> None:
    """Drop all cached rows in all processes."""
    _drop([EVERYTHING])


def _drop(tags: Sequence[str]) -> None:
    if (cache := get_cache()) is not None:
        cache.drop(tags)


def _tag(model: type[Model], pk: Any) -> str:
    return f"{model._meta.label_lower}:{pk}"


def _tags(model: type[Model], pk: Any) -> list[str]:
    return [_tag(watched, pk) for watched in _watched if _related(model, watched)]


def _related(one: type[Model], other: type[Model]) -> bool:
    """Return whether the models share rows: the same model, a proxy, a parent or a child."""
    return issubclass(one, other) or issubclass(other, one)


#: The models to watch, and whether to listen to deletions.
_watched: dict[type[Model], bool] = {}


def watch(*models: Any, deletions: bool = True) -> None:
    """Drop the cached rows of an instance of ``models`` when it is saved or deleted.

    Without a cache, connect no signals: a listener makes Django load every row that it deletes.
    Pass ``deletions=False`` for a model whose rows are only deleted together with a row of
    another watched model.
    """
    _watched.update(dict.fromkeys(models, deletions))
    if app_settings.CACHE is None:
        return
    signals = (post_save, post_delete) if deletions else (post_save,)
    for model in apps.get_models(include_auto_created=True):
        if any(_related(model, watched) for watched in models):
            for signal in signals:
                signal.connect(_changed, sender=model, dispatch_uid="apikeys.cache")


def start() -> None:
    """Watch keys, users and projects. Called when Django is ready."""
    watch(*KEY_MODELS.values(), LegacyKey, get_user_model(), get_project_model())
    key_revoked.connect(_changed, dispatch_uid="apikeys.cache")  # revocation is an update()


def _changed(sender: Any, *, using: Any = None, **kwargs: Any) -> None:
    instance = kwargs["key"] if "key" in kwargs else kwargs["instance"]
    alias = using if isinstance(using, str) else router.db_for_write(sender)
    changes = _changes.setdefault(connections[alias], set())
    changes.update(_tags(sender, instance.pk) if len(changes) < _MAX_CHANGES else [EVERYTHING])
    transaction.on_commit(partial(_drop_changes, changes), using=alias, robust=True)


#: Tags to drop when a connection commits, so that a transaction waits for Redis once. The tags
#: of a rollback stay until the next commit, and are then dropped for nothing.
_changes: MutableMapping[BaseDatabaseWrapper, set[str]] = WeakKeyDictionary()
_MAX_CHANGES = 1000


def _drop_changes(changes: set[str]) -> None:
    """Drop the rows that a transaction changed. The first call drops all of them."""
    tags = []
    with suppress(KeyError):
        while True:  # pop() one by one, because threads may share a connection
            tags.append(changes.pop())
    if tags:
        _drop(tags)


def _reset(*, setting: str = "APIKEYS", **kwargs: object) -> None:
    global _cache
    if setting == "APIKEYS":
        if _cache is not None:
            _cache.close()
            _cache = None
        for model, deletions in list(_watched.items()):
            watch(model, deletions=deletions)


def _after_fork() -> None:
    # Do not use the parent's connection to Redis.
    global _cache, _lock
    _cache, _lock = None, threading.Lock()


setting_changed.connect(_reset, dispatch_uid="apikeys.cache")
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
