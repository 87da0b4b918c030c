"""What the page of the JSON API says is so: its commands work, its tables are complete."""

import json
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from apikeys import lifecycle
from apikeys.api import exceptions
from tests.documents import blocks, read, table
from tests.factories import mint_pat

DOCUMENT = "docs/reference/api.md"


@pytest.fixture
def shell(live_server, ada):
    token = mint_pat(ada, scopes=["keys:write", "payments:read"])

    def run(command, **variables):
        command = command.replace("http://127.0.0.1:8000", live_server.url)
        done = subprocess.run(
            ["bash", "-euc", command.replace("curl ", "curl --silent --show-error --fail ")],
            env={"PATH": "/usr/bin:/bin", "TOKEN": token.token, **variables},
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, (command, done.stderr)
        return json.loads(done.stdout) if done.stdout else None

    return run


def commands():
    text = "".join(blocks(DOCUMENT, "bash")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("curl")]


def test_the_commands_do_what_is_said(shell, ada, engine, settings):
    (example,) = map(json.loads, blocks(DOCUMENT, "json"))
    for command in commands():
        words = shlex.split(command)
        url = next(word for word in words if word.startswith("http"))
        key = mint_pat(ada)
        if "/approve/" in url or "/reject/" in url:
            key = mint_pat(ada, projects=[engine])
            type(key.key).objects.filter(pk=key.key.pk).update(is_pending=True)
        told = shell(command, ID=key.key.public_id)
        key.key.refresh_from_db()
        if url.endswith("/api/tokens/"):
            assert set(told) == set(example)
            same = {"name", "user", "scopes", "projects", "expires_at", "state", "kind"}
            assert {name: told[name] for name in same} == {name: example[name] for name in same}
        elif url.endswith("/rotate/"):
            assert told["replaces"] == key.key.public_id
        elif "DELETE" in words:
            assert key.key.revoked_reason == "The laptop was lost."
        elif "PATCH" in words:
            assert key.key.name == "desk"
        elif url.endswith("/approve/"):
            assert told["state"] == "live"
        elif url.endswith("/reject/"):
            assert told["state"] == "revoked"
        elif url.endswith("/keys/") and "POST" in words:
            assert told["project"] == "analytical-engine"
        elif "/$ID/" in url:
            assert told["id"] == key.key.public_id
        else:
            assert set(told) == {"next", "previous", "results"}


def test_the_scopes_are_those_that_the_views_ask_for():
    scope = {}
    exec(blocks(DOCUMENT, "python")[0], scope)

    assert {"keys:read", "keys:write"} < set(scope["APIKEYS"]["SCOPES"])


def test_every_code_is_told_with_its_status():
    told = {
        code: [int(status) for status in statuses.split(", ")]
        for statuses, codes in table(DOCUMENT, "status")
        for code in re.findall(r"`(\w+)`", codes)
    }
    raised = set(re.findall(r'LifecycleError\(\s*"(\w+)"', Path(lifecycle.__file__).read_text()))
    raised -= {"made_already"}  # only for who names the id
    for code in raised:
        assert exceptions.STATUSES.get(code, 400) in told[code], code
    for name, each in vars(exceptions).items():
        if getattr(each, "__module__", "") == exceptions.__name__ and "default_code" in vars(each):
            assert each.status_code in told[each.default_code], name


def test_every_path_is_told():
    requests = " ".join(" ".join(row) for row in table(DOCUMENT, "request"))
    for path in ("tokens/", "rotate/", "approve/", "reject/", "approvals/keys/", "keys/"):
        assert path in requests
    assert "Idempotency-Replayed: true" in read(DOCUMENT)
