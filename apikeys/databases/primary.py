"""Read from the primary database, because a replica may lag behind.

A site's router may send reads to a replica. A decision that depends on a row which another
request has just written must read the database that it was written to.
"""

from contextlib import ContextDecorator
from contextvars import ContextVar, Token
from typing import Any, TypeVar

from django.db import models, router

from ..conf.replicas import replica_settings

M = TypeVar("M", bound=models.Model, covariant=True)
Q = TypeVar("Q", bound=models.QuerySet[Any, Any])

_reading: ContextVar[bool] = ContextVar("apikeys.reading_primary", default=False)
_alias: ContextVar[str | None] = ContextVar("apikeys.alias", default=None)


def from_primary(queryset: Q) -> Q:
    """Evaluate ``queryset`` on the primary. As a subquery it still works on any database."""
    queryset._for_write = True  # type: ignore[attr-defined] # set by select_for_update() too
    return queryset


class PrimaryManager(models.Manager[M]):
    """A manager that reads from the primary database."""

    def get_queryset(self) -> models.QuerySet[M]:
        return from_primary(super().get_queryset())


def is_reading_primary() -> bool:
    """Return whether the code runs inside ``reading_primary``."""
    return _reading.get()


class _Router:
    def db_for_write(self, model: Any, **hints: Any) -> str | None:
        return _alias.get()

    def db_for_read(self, model: Any, **hints: Any) -> str | None:
        if not is_reading_primary():
            return None
        if (alias := replica_settings.LISTS_FROM) and _alias_of(hints) == alias:
            return alias  # what a row of a list refers to: the primary may have deleted it since
        return router.db_for_write(model, **hints)


def _alias_of(hints: dict[str, Any]) -> str | None:
    instance = hints.get("instance")
    return None if instance is None else instance._state.db


_router = _Router()


class reading_primary(ContextDecorator):  # noqa: N801 - used like contextlib.suppress
    """Read every model from the primary inside the block or the decorated function.

    This also covers code of the site's policy and of django-oauth-toolkit. With ``alias``, read
    and write that database.
    """

    _tokens: tuple[Token[bool], Token[str | None]]

    def __init__(self, alias: str | None = None) -> None:
        self._in = alias

    def _recreate_cm(self) -> "reading_primary":
        return reading_primary(self._in)  # a new one, for recursive functions

    def __enter__(self) -> None:
        # Without routers, Django reads only the primary.
        if router.routers and router.routers[0] is not _router:
            router.routers[:] = [_router, *(each for each in router.routers if each is not _router)]
        self._tokens = _reading.set(True), _alias.set(self._in or _alias.get())

    def __exit__(self, *args: object) -> None:
        reading, alias = self._tokens
        _reading.reset(reading)
        _alias.reset(alias)
