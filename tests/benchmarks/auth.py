"""What authenticating a request costs: ``python -m tests.benchmarks.auth``.

One trivial DRF view in one process, the authentication swapped, each of ours with and
without the cache. Rounds are interleaved, so that a busy machine is busy for all; figures are
medians, in microseconds over the floor (the same view without authentication), and ratios to
DRF's TokenAuthentication. The database is the one that ``TEST_DATABASE`` names.
"""

import argparse
import contextlib
import gc
import json
import os
import platform
import statistics
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.benchmarks.database import own_database


@contextlib.contextmanager
def a_cache() -> Iterator[Any]:
    """As a site with Redis has it, on a server that is started for this."""
    from apikeys.cache import Cache
    from apikeys.conf import CACHE_DEFAULTS
    from tests.servers import RedisServer, running

    with (
        tempfile.TemporaryDirectory() as directory,
        running(RedisServer(Path(directory))) as server,
    ):
        cache = Cache({**CACHE_DEFAULTS, "TIMEOUT": 3600, "LOCATION": server.url})
        if not cache.tracking.wait(10):
            raise SystemExit("Redis does not answer.")
        yield cache
        cache.close()


def measure(keys: int, rounds: int, requests: int) -> list[dict[str, Any]]:
    from django.db import connection
    from django.test import RequestFactory
    from django.test.utils import CaptureQueriesContext

    from apikeys import cache as module
    from tests.benchmarks.contenders import FLOOR, REFERENCE, VIEWS, make

    factory = RequestFactory()

    def request_of(contender):
        headers = {"Authorization": contender.header} if contender.header else {}
        return factory.get("/", headers=headers)

    with a_cache() as cache:
        entries = [
            (contender, kept)
            for contender in make(keys)
            for kept in ([None, cache] if contender.ours else [None])
        ]
        rows = []
        for contender, kept in entries:
            view = VIEWS[contender.view]
            module._cache = kept
            view(request_of(contender))  # warms what is compiled once, or kept
            with CaptureQueriesContext(connection) as captured:
                response = view(request_of(contender))
            if response.status_code != contender.status:
                raise SystemExit(f"{contender.name}: {response.status_code} {response.data}")
            row = {"name": contender.name, "cache": kept is not None, "queries": len(captured)}
            rows.append(row | {"times": []})
        gc.disable()
        for _ in range(rounds):
            for (contender, kept), row in zip(entries, rows, strict=True):
                view = VIEWS[contender.view]
                module._cache = kept
                prepared = [request_of(contender) for _ in range(requests)]
                view(request_of(contender))
                start = time.perf_counter()
                while prepared:  # a server, too, keeps no request that it answered
                    view(prepared.pop())
                row["times"].append((time.perf_counter() - start) / requests * 1e6)
            gc.collect()
        module._cache = None
    medians = {row["name"]: statistics.median(row["times"]) for row in rows if not row["cache"]}
    floor = medians[FLOOR]
    reference = medians[REFERENCE] - floor
    for row in rows:
        median = statistics.median(row.pop("times"))
        row["microseconds"] = round(median, 1)
        row["over_floor"] = round(median - floor, 1)
        row["ratio"] = round((median - floor) / reference, 2)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keys", type=int, default=10_000, help="credentials of each kind")
    parser.add_argument("--rounds", type=int, default=41)
    parser.add_argument("--requests", type=int, default=100, help="in a round, per contender")
    parser.add_argument(
        "--prepared", action="store_true", help="PostgreSQL with prepared statements"
    )
    arguments = parser.parse_args()
    if arguments.prepared:
        os.environ["BENCHMARK_PREPARED"] = "1"
    with own_database("tests.benchmarks.settings"):
        rows = measure(arguments.keys, arguments.rounds, arguments.requests)
    from tests.benchmarks.contenders import versions

    about = {
        "python": platform.python_version(),
        "database": os.environ.get("TEST_DATABASE", "sqlite"),
        "prepared": arguments.prepared,
        "keys": arguments.keys,
        "rounds": arguments.rounds,
        "requests": arguments.requests,
        "versions": versions(),
    }
    if arguments.json:
        print(json.dumps(about | {"rows": rows}, indent=2))
        return
    database = about["database"] + (" with prepared statements" if about["prepared"] else "")
    print(
        f"Python {about['python']}, {database}, {about['keys']} credentials of each "
        f"kind; medians of {about['rounds']} rounds of {about['requests']} requests"
    )
    print(", ".join(f"{name} {number}" for name, number in about["versions"].items()))
    print(f"{'':36} {'us':>8} {'over floor':>11} {'ratio':>6} {'queries':>8}")
    for row in rows:
        name = row["name"] + (", cached" if row["cache"] else "")
        print(
            f"{name:36} {row['microseconds']:8.1f} {row['over_floor']:11.1f} "
            f"{row['ratio']:6.2f} {row['queries']:8}"
        )


if __name__ == "__main__":
    main()
