"""Check what requests with keys need: the database, its migrations, the peppers and Redis."""

import secrets
import time
from collections.abc import Callable, Mapping
from typing import Any, Final, Literal, NamedTuple

from django.db import DatabaseError, InterfaceError, router, transaction
from django.utils import timezone

from . import __version__
from .checks.migrations import pending
from .conf import app_settings
from .databases import unavailable
from .databases.primary import reading_primary
from .hashing import pepper_id
from .limits import counting
from .models import KEY_MODELS, AttemptCount, AuditEvent, live

__all__ = ["report"]

Status = Literal["ok", "off", "warning", "failed"]

_NEWEST: Final = 20  # keys of each kind, to look at their peppers
_TIMEOUT: Final = 2.0  # seconds, for a Redis that does not answer


class Finding(NamedTuple):
    """The result of a check, and a sentence about it. The sentence contains no secret."""

    status: Status
    detail: str


def report() -> dict[str, Any]:
    """Return ``status``, ``version`` and ``checks``, as ``manage.py apikeys health --json`` does.

    ``status`` is ``failed`` if requests with keys fail, ``warning`` if they soon will or take
    long, otherwise ``ok``. Writes a row to the database and rolls that back. Never raises because
    a server is unavailable.
    """
    with reading_primary():
        checks = [_run(name, check) for name, check in _CHECKS.items()]
    found = {each["status"] for each in checks}
    worst = next((each for each in ("failed", "warning") if each in found), "ok")
    return {"status": worst, "version": __version__, "checks": checks}


def _run(name: str, check: Callable[[], Finding]) -> dict[str, Any]:
    began = time.perf_counter()
    try:
        finding = check()
    except (DatabaseError, InterfaceError) as error:
        why = unavailable.reason(error)
        words = why.value if why is not None else "a query failed"
        finding = Finding("failed", f"{words[0].upper()}{words[1:]}: {_line(error)}")
    took = round((time.perf_counter() - began) * 1000)
    return {"name": name, **finding._asdict(), "milliseconds": took}


def _line(error: Exception) -> str:
    return " ".join(str(error).split())[:300]


def _database() -> Finding:
    alias = router.db_for_write(AttemptCount)
    with transaction.atomic(using=alias):
        AttemptCount.objects.using(alias).create(
            digest=secrets.token_hex(32), ends_at=timezone.now()
        )
        transaction.set_rollback(True, using=alias)
    return Finding("ok", "It answers and accepts writes.")


def _migrations() -> Finding:
    if missing := pending(router.db_for_write(AuditEvent)):
        return Finding("failed", f"Missing: {', '.join(missing)}. Run `manage.py migrate`.")
    return Finding("ok", "None is missing.")


def _peppers() -> Finding:
    known = {pepper_id(pepper) for pepper in app_settings.PEPPERS}
    newest = [
        each
        for model in KEY_MODELS.values()
        for each in model._default_manager.filter(live())
        .exclude(pepper_id="")
        .exclude(root="")  # these have no secret, or one that ends
        .order_by("-pk")
        .values_list("pepper_id", flat=True)[:_NEWEST]
    ]
    unknown = sum(each not in known for each in newest)
    if not unknown:
        return Finding("ok", "The newest keys have a known pepper.")
    return Finding(
        "warning",
        f"{unknown} of the {len(newest)} newest keys have an unknown pepper, so their next request "
        "is slow. Give all servers the same SECRET_KEY or PEPPERS.",
    )


def _cache() -> Finding:
    cache: Mapping[str, Any] | None = app_settings.CACHE
    if cache is None:
        return Finding("off", "CACHE is not set.")
    if not cache["LOCATION"]:
        return Finding("ok", "It is in this process, without Redis.")
    try:
        from redis import Redis
        from redis.exceptions import RedisError
    except ImportError:
        return Finding("failed", 'redis-py is missing. Run `pip install "apikeys[redis]"`.')
    options = {"socket_timeout": _TIMEOUT, "socket_connect_timeout": _TIMEOUT}
    try:
        with Redis.from_url(cache["LOCATION"], **options) as redis:
            redis.ping()
    except (RedisError, OSError, ValueError) as error:
        # A ValueError is about the URL, which may contain a password.
        why = "the URL is wrong" if isinstance(error, ValueError) else _line(error)
        return Finding("warning", f"Redis cannot be used, so every key costs a query: {why}")
    return Finding("ok", "Redis answers.")


def _rate_limits() -> Finding:
    if counting.is_in_memory():
        return Finding("off", "RATE_LIMIT_STORE is the memory of each process.")
    if counting.answers():
        return Finding("ok", "The store answers.")
    if app_settings.RATE_LIMIT_FAIL_OPEN:
        return Finding("warning", "The store does not answer. Keys are not limited meanwhile.")
    return Finding("failed", "The store does not answer. Keys with a rate limit get 503.")


_CHECKS: Final[Mapping[str, Callable[[], Finding]]] = {
    "database": _database,
    "migrations": _migrations,
    "peppers": _peppers,
    "cache": _cache,
    "rate limits": _rate_limits,
}
