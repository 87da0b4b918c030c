"""What the gateway costs: ``python -m tests.benchmarks.gateway``.

nginx before an upstream that answers at once, alone and asking for every request: the site by
WSGI, by ASGI as Django has it, and by ASGI past Django (``apikeys.gateway.asgi.ForwardAuth``),
each without and with the cache; then with decisions that nginx keeps; then the proxy in Python,
which takes nginx's place. One process of each server. Interleaved rounds of wrk, medians of
requests a second, of the time that half and 99 in 100 of them took, and of the share of what
nginx alone did. Every answer is a 200, or the run is void.
"""

import argparse
import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
import tempfile
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.benchmarks.database import own_database
from tests.benchmarks.http import load
from tests.documents import blocks
from tests.servers import RedisServer, Server, free_port, running

OWN = "/subscribers/1001/offers"
ALONE = "nginx alone"
DJANGO, PAST_DJANGO = "django", "past-django"
PYTHON_PROXY = "apikeys.gateway.asgi:get_application"


@dataclass
class Contender:
    name: str
    server: str  # "granian" or "uvicorn"; "" for none
    application: str
    max_age: int = 0

    @property
    def is_proxy(self) -> bool:
        return self.application == PYTHON_PROXY


WSGI = "example_project.wsgi:application"
ASGI = "tests.benchmarks.gateway_asgi:django_alone"
FORWARD_AUTH = "example_project.asgi:application"
CONTENDERS = [
    Contender("endpoint, WSGI", "granian", WSGI),
    Contender("endpoint, ASGI through Django", "granian", ASGI),
    Contender("endpoint, ASGI through Django", "uvicorn", ASGI),
    Contender("endpoint, ForwardAuth", "granian", FORWARD_AUTH),
    Contender("endpoint, ForwardAuth", "uvicorn", FORWARD_AUTH),
    Contender("proxy in Python", "granian", PYTHON_PROXY),
    Contender("proxy in Python", "uvicorn", PYTHON_PROXY),
]
KEPT = Contender("decisions that nginx keeps", "granian", WSGI, max_age=30)


class Site(Server):
    def __init__(self, directory: Path, contender: Contender, database: str, apikeys: Any) -> None:
        super().__init__(directory)
        self.contender = contender
        self.own = {
            "DJANGO_SETTINGS_MODULE": "tests.benchmarks.gateway_settings",
            "BENCHMARK_DATABASE": database,
            "BENCHMARK_APIKEYS": json.dumps(apikeys | {"GATEWAY_MAX_AGE": contender.max_age}),
        }

    def environment(self) -> dict[str, str]:
        return os.environ | self.own

    def command(self) -> list[str]:
        contender = self.contender
        python = [sys.executable, "-W", "ignore", "-m", contender.server]
        where = ["--host", "127.0.0.1", "--port", str(self.port), contender.application]
        factory = ["--factory"] if contender.is_proxy else []
        if contender.server == "uvicorn":
            lifespan = ["--lifespan", "on" if factory else "off"]
            return [*python, *lifespan, "--no-access-log", "--log-level", "error", *factory, *where]
        if contender.application == WSGI:
            return [*python, "--interface", "wsgi", "--blocking-threads", "4", *where]
        interface = "asgi" if factory else "asginl"
        return [*python, "--interface", interface, *factory, *where]


@contextmanager
def upstream(directory: Path):
    """An nginx that answers at once."""
    from tests.gateway.servers import Nginx

    class Upstream(Nginx):
        def __init__(self) -> None:
            super().__init__(directory, 1, 2)
            conf = directory / "nginx.conf"
            before, _, _ = conf.read_text().partition("upstream apikeys")
            server = f"server {{ listen 127.0.0.1:{self.port}; location / {{ return 200 offers; }}"
            conf.write_text(f"{before}{server}}}}}")

    with Upstream() as started:
        yield started


def nginx(directory: Path, site: int, behind: int, *, asks: bool = True, keeps: bool = False):
    from tests.gateway.servers import Nginx

    more = []
    if not asks:
        more = [("        auth_request /_authorize;\n", "")]
    if keeps:
        storage, usage = (
            b for b in blocks("docs/reference/gateway.md", "nginx") if "proxy_cache" in b
        )
        storage = storage.replace("/dev/shm/apikeys", str(directory / "decisions"))
        more = [
            ("upstream apikeys {", storage + "upstream apikeys {"),
            ("        internal;\n", "        internal;\n" + usage),
        ]
    return Nginx(directory, site, behind, more)


def measure(database: str, rounds: int, seconds: int, connections: int) -> list[dict[str, Any]]:
    from apikeys import lifecycle
    from apikeys.gateway.models import ResourceBinding
    from apikeys.models import Project

    project = Project.objects.create(slug="some", name="Some")
    key = lifecycle.mint(project=project, name="key", scopes=["payments:read"])
    ResourceBinding.objects.create(project=project, kind="subscriber_id", identifier="1001")
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # Its workers may be another user's.
        root.chmod(0o755)

        def directory() -> Path:
            made = root / str(len(list(root.iterdir())))
            made.mkdir()
            return made

        redis = stack.enter_context(running(RedisServer(directory())))
        behind = stack.enter_context(upstream(directory())).port
        alone = stack.enter_context(nginx(directory(), free_port(), behind, asks=False))
        rows: list[dict[str, Any]] = [{"name": ALONE, "server": "", "cache": False}]
        ports = [alone.port]
        for contender in [*CONTENDERS, KEPT]:
            for cached in (False, True) if contender is not KEPT else (False,):
                apikeys: dict[str, Any] = {"GATEWAY_UPSTREAM": f"http://127.0.0.1:{behind}"}
                if cached:
                    apikeys["CACHE"] = {"LOCATION": redis.url}
                site = Site(directory(), contender, database, apikeys)
                stack.enter_context(running(site))
                if contender.is_proxy:
                    ports.append(site.port)
                else:
                    keeps = contender.max_age > 0
                    before = nginx(directory(), site.port, behind, keeps=keeps)
                    ports.append(stack.enter_context(before).port)
                rows.append({"name": contender.name, "server": contender.server, "cache": cached})
        runs: list[list[dict[str, float]]] = [[] for _ in rows]
        for number in range(rounds + 1):
            for row, port, its_runs in zip(rows, ports, runs, strict=True):
                run = load(
                    f"http://127.0.0.1:{port}{OWN}",
                    f"Bearer {key.token}",
                    seconds if number else 1,
                    connections,
                )
                if run["refused"]:
                    raise SystemExit(f"{row}: {run['refused']} requests were answered wrongly.")
                if number:  # the first warms
                    its_runs.append(run)
    for row, its_runs in zip(rows, runs, strict=True):
        for name in ("requests_per_second", "p50_ms", "p99_ms"):
            row[name] = round(statistics.median(run[name] for run in its_runs), 2)
        row["requests"] = sum(run["requests"] for run in its_runs)
        row["share"] = round(row["requests_per_second"] / rows[0]["requests_per_second"], 3)
    return rows


def versions() -> dict[str, str]:
    from importlib.metadata import version

    told = subprocess.run(
        [shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin") or "nginx", "-v"],
        check=True,
        capture_output=True,
        text=True,
    )
    packages = ("django", "granian", "uvicorn", "httpx", "redis")
    return {
        "python": platform.python_version(),
        "nginx": told.stderr.strip().rpartition("/")[2],
    } | {package: version(package) for package in packages}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=int, default=2, help="of load, per row and round")
    parser.add_argument("--connections", type=int, default=16)
    arguments = parser.parse_args()
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not here. Debian's package wrk has it.")
    with own_database("tests.benchmarks.gateway_settings") as name:
        rows = measure(
            name,
            arguments.rounds,
            arguments.seconds,
            arguments.connections,
        )
    about = vars(arguments) | {
        "database": os.environ.get("TEST_DATABASE", "sqlite"),
        "versions": versions(),
    }
    if arguments.json:
        print(json.dumps(about | {"rows": rows}, indent=2))
        return
    print(
        f"One process of each; wrk, {about['connections']} connections; {about['database']}; "
        f"medians of {about['rounds']} rounds of {about['seconds']} s"
    )
    print(", ".join(f"{name} {number}" for name, number in about["versions"].items()))
    print(f"{'':48} {'requests/s':>11} {'of alone':>9} {'p50 ms':>8} {'p99 ms':>8}")
    for row in rows:
        name = row["name"] + (f", {row['server']}" if row["server"] else "")
        name += ", cached" if row["cache"] else ""
        print(
            f"{name:48} {row['requests_per_second']:11.0f} {row['share']:9.1%} "
            f"{row['p50_ms']:8.2f} {row['p99_ms']:8.2f}"
        )


if __name__ == "__main__":
    main()
