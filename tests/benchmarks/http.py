"""What it comes to over HTTP: ``python -m tests.benchmarks.http``.

The views of ``tests.benchmarks.auth``, served by Granian with two workers and loaded by wrk, in
interleaved rounds; ours by a second server with the cache as well. Medians of requests a
second and of the time that half, and that 99 in 100, of the requests took.
"""

import argparse
import json
import os
import re
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path

from tests.benchmarks.database import own_database
from tests.servers import RedisServer, Server, running

UNITS = {"us": 0.001, "ms": 1, "s": 1000}


class Granian(Server):
    def __init__(self, directory: Path, database: str, redis: str = "") -> None:
        super().__init__(directory)
        self.own = {"BENCHMARK_DATABASE": database, "BENCHMARK_REDIS": redis}

    def environment(self) -> dict[str, str]:
        settings = {"DJANGO_SETTINGS_MODULE": "tests.benchmarks.settings"}
        return os.environ | settings | self.own

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-W", "ignore", "-m", "granian", "--interface", "wsgi"),
            *("--host", "127.0.0.1", "--port", str(self.port), "--workers", "2"),
            *("--blocking-threads", "4", "example_project.wsgi:application"),
        ]


def load(url: str, header: str | None, seconds: int, connections: int) -> dict[str, float]:
    command = ["wrk", "-t2", f"-c{connections}", f"-d{seconds}s", "--latency", "--timeout=30s"]
    if header:
        command += ["-H", f"Authorization: {header}"]
    told = subprocess.run([*command, url], check=True, capture_output=True, text=True).stdout
    if "Socket errors" in told:
        raise SystemExit(told)
    rate = re.search(r"Requests/sec:\s+([\d.]+)", told)
    percentiles = {
        name: float(number) * UNITS[unit]
        for name, number, unit in re.findall(r"(50|99)%\s+([\d.]+)(us|ms|s)", told)
    }
    refused = re.search(r"Non-2xx or 3xx responses: (\d+)", told)
    total = re.search(r"(\d+) requests in", told)
    assert rate is not None
    assert total is not None
    return {
        "requests_per_second": float(rate[1]),
        "p50_ms": percentiles["50"],
        "p99_ms": percentiles["99"],
        "requests": int(total[1]),
        "refused": int(refused[1]) if refused else 0,
    }


def measure(database: str, keys: int, rounds: int, seconds: int, connections: int):
    from tests.benchmarks.contenders import make

    entries = make(keys)
    with ExitStack() as stack:
        directory = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for name in ("redis", "plain", "cached"):
            (directory / name).mkdir()
        redis = stack.enter_context(running(RedisServer(directory / "redis")))
        servers = {
            False: stack.enter_context(running(Granian(directory / "plain", database))),
            True: stack.enter_context(running(Granian(directory / "cached", database, redis.url))),
        }
        rows = [
            {"name": entry.name, "cache": cached, "entry": entry, "runs": []}
            for entry in entries
            for cached in ((False, True) if entry.ours else (False,))
        ]
        for number in range(rounds + 1):
            for row in rows:
                entry = row["entry"]
                url = f"http://127.0.0.1:{servers[row['cache']].port}/{entry.view}/"
                run = load(url, entry.header, seconds if number else 1, connections)
                wrong = run["refused"] if entry.status == 200 else run["requests"] - run["refused"]
                if wrong:
                    raise SystemExit(f"{entry.name}: {wrong} requests were answered wrongly.")
                if number:  # the first warms
                    row["runs"].append(run)
    for row in rows:
        row.pop("entry")
        runs = row.pop("runs")
        for name in ("requests_per_second", "p50_ms", "p99_ms"):
            row[name] = round(statistics.median(run[name] for run in runs), 2)
        row["requests"] = sum(run["requests"] for run in runs)
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--keys", type=int, default=10_000, help="credentials of each kind")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load, per contender and round")
    parser.add_argument("--connections", type=int, default=16)
    parser.add_argument(
        "--prepared", action="store_true", help="PostgreSQL with prepared statements"
    )
    arguments = parser.parse_args()
    if arguments.prepared:
        os.environ["BENCHMARK_PREPARED"] = "1"
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not here. Debian's package wrk has it.")
    with own_database("tests.benchmarks.settings") as name:
        rows = measure(
            name,
            arguments.keys,
            arguments.rounds,
            arguments.seconds,
            arguments.connections,
        )
    from tests.benchmarks.contenders import versions

    about = vars(arguments) | {
        "database": os.environ.get("TEST_DATABASE", "sqlite"),
        "versions": versions(),
    }
    if arguments.json:
        print(json.dumps(about | {"rows": rows}, indent=2))
        return
    print(
        f"Granian, 2 workers of 4 threads; wrk, {about['connections']} connections; "
        f"{about['database']}{' with prepared statements' if about['prepared'] else ''}, "
        f"{about['keys']} credentials of each kind; medians of "
        f"{about['rounds']} rounds of {about['seconds']} s"
    )
    print(", ".join(f"{name} {number}" for name, number in about["versions"].items()))
    print(f"{'':36} {'requests/s':>11} {'p50 ms':>8} {'p99 ms':>8}")
    for row in rows:
        name = row["name"] + (", cached" if row["cache"] else "")
        print(
            f"{name:36} {row['requests_per_second']:11.0f} {row['p50_ms']:8.2f} "
            f"{row['p99_ms']:8.2f}"
        )


if __name__ == "__main__":
    main()
