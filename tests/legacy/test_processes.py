"""Imports in separate processes: one is killed, and two run in parallel."""

import hashlib
import json
import os
import signal
import subprocess
import sys

import pytest
from django.db import connection

from apikeys.importing.importer import CHUNK
from apikeys.models import AuditEvent, LegacyKey, PersonalAccessToken
from tests.documents import ROOT
from tests.legacy.conftest import TOMORROW
from tests.tiers import long

pytestmark = [
    pytest.mark.process,
    pytest.mark.urls("tests.legacy.conftest"),
    pytest.mark.django_db(transaction=True),
]

STRONG = [f"sk-{hashlib.sha256(str(n).encode()).hexdigest()}" for n in range(CHUNK * 2)]
WEAK = ["abc", "def", "ghi"]
TEXTS = [*WEAK, *STRONG]

# The tests interfere through the signal of the app and a hook of Django.
PROCESS = """
import os, signal, sys
import django
django.setup()
from django.core.management import execute_from_command_line
from django.db import connection
from apikeys.signals import key_imported

written = []
key_imported.connect(lambda key, **kwargs: written.append(key), weak=False)

def interfere(sql):
    {interfere}

def execute_and_interfere(execute, sql, *args):
    interfere("before " + sql)
    result = execute(sql, *args)
    interfere("after " + sql)
    return result

with connection.execute_wrapper(execute_and_interfere):
    execute_from_command_line(sys.argv)
"""
NEVER = "pass"
DIE = """
    if len(written) == {written} and sql.startswith({where!r}):
        os.kill(os.getpid(), signal.SIGKILL)
"""
WAIT_ONCE_IT_LOOKED = """
    if sql.startswith("after SELECT") and "selector" in sql and not sys.stdin.closed:
        print("looked", file=sys.stderr, flush=True)
        sys.stdin.readline()
        sys.stdin.close()
"""


@pytest.fixture
def start(tmp_path, ada):
    """Return a function that starts an import and runs ``interfere`` around each statement."""

    def start(texts, interfere=NEVER):
        path = tmp_path / "keys.csv"
        path = path.with_stem(f"keys-{len(list(tmp_path.iterdir()))}")
        path.write_text("key,user\n" + "".join(f"{text},ada\n" for text in texts))
        words = ["import", "--from", "csv", str(path), "--project", "analytical-engine", "--json"]
        environment = os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.server_settings",
            "SERVER_DATABASE": str(connection.settings_dict["NAME"]),
        }
        return subprocess.Popen(
            [sys.executable, "-c", PROCESS.format(interfere=interfere), "apikeys", *words,
             "--scope", "payments:read"],
            cwd=ROOT, env=environment, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    return start


def end(process):
    """Wait for the process and return its report."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


def check_that_each_is_there_once(get, takes):
    keys = PersonalAccessToken.objects
    imported = AuditEvent.objects.filter(event="imported")
    ids = set(keys.values_list("public_id", flat=True))
    assert keys.count() == LegacyKey.objects.count() == imported.count() == len(TEXTS)
    assert set(imported.values_list("public_id", flat=True)) == ids
    assert keys.filter(legacy=None).count() == 0
    assert keys.filter(projects__slug="analytical-engine").count() == len(TEXTS)
    takes(csv=TOMORROW)
    some = [*WEAK, *STRONG[:: CHUNK // 5]]
    found = [get({"X-Api-Key": text}) for text in some]
    assert {status for status, _id in found} == {200}
    assert len({public_id for _status, public_id in found} & ids) == len(some)


@pytest.mark.parametrize(
    ("written", "where"),
    [
        long((CHUNK, "after INSERT INTO {q}apikeys_personalaccesstoken{q}")),
        long((CHUNK, "before INSERT INTO {q}apikeys_legacykey{q}")),
        long((CHUNK, "after INSERT INTO {q}apikeys_auditevent{q}")),
        (2 * CHUNK, "before"),  # all keys are written, but not all are committed
    ],
)
def test_a_killed_import_can_be_repeated(start, get, takes, written, where):
    quote = connection.ops.quote_name("x")[0]
    killed = start(TEXTS, DIE.format(written=written, where=where.format(q=quote)))
    killed.communicate(timeout=120)
    assert killed.returncode == -signal.SIGKILL

    report = end(start(TEXTS))

    assert report["imported"] == len(TEXTS) - report["imported_before"]
    assert report["imported_before"] == written // CHUNK * CHUNK
    check_that_each_is_there_once(get, takes)


@pytest.mark.parametrize("order", [1, long(-1)], ids=["in the same order", "in the reverse order"])
def test_parallel_imports_import_each_key_once(start, get, takes, order):
    """Both imports read before either of them writes."""
    both = [start(TEXTS[::each], WAIT_ONCE_IT_LOOKED) for each in (1, order)]
    for process in both:
        assert process.stderr.readline() == "looked\n"
    for process in both:
        process.stdin.write("\n")
        process.stdin.flush()

    reports = [end(process) for process in both]

    for report in reports:
        assert report["imported"] + report["imported_before"] == len(TEXTS)
    assert sum(report["imported"] for report in reports) == len(TEXTS)
    check_that_each_is_there_once(get, takes)
