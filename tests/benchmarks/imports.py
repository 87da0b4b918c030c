"""What taking over the keys of a predecessor costs: ``python -m tests.benchmarks.imports``.

For each source ``--keys`` of them, as the real package stores them, and three imports, each a
process of its own: one that is cut off half way, the rest, and one that finds all of it there.
Then requests with one of them: the first, which upgrades its hash, and the median of later ones,
beside those with a key of this app's. On SQLite, in a file.
"""

import argparse
import io
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path
from typing import Any

import django

_SOURCES = ("authtoken", "knox", "drf-api-key", "csv")
_BATCH = 5000


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--keys", type=int, default=100_000)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    options = parser.parse_args()
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.benchmarks.settings"
    if options.child:
        _import(**json.loads(options.child))
        return
    with tempfile.TemporaryDirectory() as directory:
        os.environ["BENCHMARK_DATABASE"] = str(Path(directory) / "keys.sqlite3")
        django.setup()
        from django.core.management import call_command

        call_command("migrate", verbosity=0)
        texts = _seed(options.keys, Path(directory) / "keys.csv")
        for source in _SOURCES:
            words = ["--from", source, "--scope", "payments:read"]
            words += ["--project", "shop"] if source == "drf-api-key" else []
            words += [str(Path(directory) / "keys.csv")] if source == "csv" else []
            for what, stop in (("first half", options.keys // 2), ("resumed", 0), ("again", 0)):
                print(source, what, _run(words, stop), flush=True)
            print(source, _requests(source, texts[source]), flush=True)
        print("own key", _requests("own", ""), flush=True)


def _seed(count: int, file: Path) -> dict[str, str]:
    from django.contrib.auth import get_user_model
    from django.utils.crypto import get_random_string
    from knox import crypto
    from knox.models import AuthToken
    from rest_framework.authtoken.models import Token
    from rest_framework_api_key.models import APIKey

    from apikeys.models import Project

    Project.objects.create(slug="shop", name="Shop")
    user_model = get_user_model()
    names = [f"user-{n}" for n in range(count)]
    user_model.objects.bulk_create([user_model(username=n) for n in names], batch_size=_BATCH)
    users = list(user_model.objects.order_by("pk"))
    first: dict[str, str] = {}
    generator = APIKey.objects.key_generator
    with file.open("w") as lines:
        lines.write("key,user,name\n")
        for start in range(0, count, _BATCH):
            tokens, knoxes, api_keys = [], [], []
            for user in users[start : start + _BATCH]:
                tokens.append(Token(user=user, key=Token.generate_key()))
                knox = crypto.create_token_string()
                digest = crypto.hash_token(knox)
                knoxes.append(AuthToken(user=user, token_key=knox[:15], digest=digest))
                api_key, prefix, hashed = generator.generate()
                pk = f"{prefix}.{hashed}"
                api_keys.append(APIKey(id=pk, prefix=prefix, hashed_key=hashed, name="server"))
                text = f"sk-{get_random_string(40)}9"
                lines.write(f"{text},{user.username},server\n")
                if not first:
                    first = {"authtoken": tokens[0].key, "knox": knox, "csv": text}
                    first["drf-api-key"] = api_key
            Token.objects.bulk_create(tokens)
            AuthToken.objects.bulk_create(knoxes)
            APIKey.objects.bulk_create(api_keys, ignore_conflicts=True)
    return first


def _run(words: list[str], stop: int) -> str:
    child = json.dumps({"words": words, "stop": stop})
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.imports", "--child", child],
        capture_output=True,
        text=True,
        check=True,
    )
    return done.stdout.strip()


def _import(words: list[str], stop: int) -> None:
    django.setup()
    from django.core.management import call_command

    from apikeys.importing.importer import Importer

    if stop:
        take, taken = Importer._take, 0

        def cut_off(self: Any, batch: Any) -> Any:
            nonlocal taken
            if taken >= stop:
                raise KeyboardInterrupt
            taken += len(batch)
            return take(self, batch)

        Importer._take = cut_off  # type: ignore[method-assign]
    start, used = time.perf_counter(), time.process_time()
    try:
        call_command("apikeys", "import", *words, stderr=io.StringIO())
    except KeyboardInterrupt:
        print(f"{stop:,} keys, then cut off.", end=" ")
    seconds, cpu = time.perf_counter() - start, time.process_time() - used
    print(f"{seconds:.1f} s ({cpu:.1f} s of CPU), {_peak()} MiB at most")


def _peak() -> int:
    """Of this process; what ``getrusage`` tells, it may have from its parent."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) // 1024


def _requests(source: str, text: str) -> str:
    from django.conf import settings
    from django.contrib.auth import get_user_model
    from django.test import RequestFactory, override_settings

    from apikeys import http, lifecycle
    from apikeys.legacy.schemes import HEADERS

    if source == "own":
        user = get_user_model().objects.first()
        minted = lifecycle.mint(user=user, name="own", scopes=["payments:read"])
        name, value, legacy = "HTTP_AUTHORIZATION", f"Bearer {minted.token}", {}
    else:
        header, _, keyword = HEADERS[source].partition(": ")
        name = f"HTTP_{header.upper().replace('-', '_')}"
        value, legacy = f"{keyword} {text}".strip(), {source: {"UNTIL": date(2100, 1, 1)}}
    request = RequestFactory().get("/", **{name: value})
    times = []
    with override_settings(APIKEYS={**settings.APIKEYS, "LEGACY": legacy}):
        for _ in range(3000):
            start = time.perf_counter()
            assert http.authenticate(request) is not None
            times.append(time.perf_counter() - start)
    later = statistics.median(times[1:]) * 1e6
    return f"first request {times[0] * 1e3:.1f} ms, later ones {later:.0f} µs"


if __name__ == "__main__":
    main()
