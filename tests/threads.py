"""Run functions at the same moment."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connections

from apikeys.lifecycle import LifecycleError


def at_once(*calls: Callable[[], Any]) -> list[Any]:
    """Run each function in a thread; return its results, or the codes of ``LifecycleError``.

    The threads start at the same moment.
    """
    start = threading.Barrier(len(calls))

    def run(call: Callable[[], Any]) -> Any:
        connections["default"].ensure_connection()
        start.wait(timeout=30)
        try:
            return call()
        except LifecycleError as error:
            return error.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(len(calls)) as pool:
        return [done.result(timeout=60) for done in [pool.submit(run, call) for call in calls]]
