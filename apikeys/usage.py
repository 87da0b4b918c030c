"""When and from where a key was last used, without a write on the request.

A request leaves a note in memory. A thread of the process writes the notes every
``LAST_USED_INTERVAL`` seconds, and so does a clean exit; a killed process loses at most
what came in since the last write.
"""

import atexit
import ipaddress
import logging
import os
import threading
from datetime import datetime
from typing import NamedTuple

from django.db import connections, router, transaction
from django.db.models import Model
from django.utils import timezone

from .conf import app_settings

logger = logging.getLogger("apikeys")

_BATCH = 500  # rows in one UPDATE


class _Use(NamedTuple):
    at: datetime
    ip: str | None


_lock = threading.Lock()
_pending: dict[tuple[type[Model], int], _Use] = {}
_writer: threading.Thread | None = None


def record(model: type[Model], pk: int, ip: str | None) -> None:
    """Note that a key was used just now. No query."""
    with _lock:
        _pending[model, pk] = _Use(timezone.now(), ip)
    if _writer is None and app_settings.LAST_USED_INTERVAL is not None:
        _start()


def flush() -> int:
    """Write what was noted; returns how many keys that were."""
    with _lock:
        batch = dict(_pending)
        _pending.clear()
    try:
        for model in {model for model, _ in batch}:
            _write(model, {pk: use for (m, pk), use in batch.items() if m is model})
    except BaseException:
        with _lock:  # for the next try, unless the key was used again
            for key, use in batch.items():
                _pending.setdefault(key, use)
        raise
    return len(batch)


def _write(model: type[Model], uses: dict[int, _Use]) -> None:
    # In one order, so that two processes never wait for each other.
    keys = [
        model(pk=pk, last_used_at=use.at, last_used_ip=_clean_ip(use.ip))
        for pk, use in sorted(uses.items())
    ]
    with transaction.atomic(using=router.db_for_write(model)):
        model._default_manager.bulk_update(
            keys, ["last_used_at", "last_used_ip"], batch_size=_BATCH
        )


def _clean_ip(text: str | None) -> str | None:
    try:
        return str(ipaddress.ip_address(text)) if text else None
    except ValueError:  # a server on a Unix socket
        return None


def _start() -> None:
    global _writer
    with _lock:
        if _writer is None:
            _writer = threading.Thread(target=_run, name="apikeys-usage", daemon=True)
            _writer.start()
            atexit.register(_flush_quietly)


def _run() -> None:
    wake = threading.Event()
    while (interval := app_settings.LAST_USED_INTERVAL) is not None and not wake.wait(interval):
        _flush_quietly()
        connections.close_all()  # an idle process holds none for this


def _flush_quietly() -> None:
    try:
        flush()
    except Exception:  # the thread must outlive a database that is away
        logger.warning("Could not write when keys were last used.", exc_info=True)


def _after_fork() -> None:
    # A child has neither the thread nor the right to its parent's notes.
    global _writer, _lock
    _lock = threading.Lock()
    _pending.clear()
    _writer = None


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
