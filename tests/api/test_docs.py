"""The page about the JSON API is correct: its commands work and its tables are complete."""

import json
import re
import shlex
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from apikeys import lifecycle, restrictions
from apikeys.api import exceptions, parameters, serializers
from apikeys.lifecycle import MAX_NETWORKS, MAX_RATES
from tests.documents import blocks, read, table
from tests.factories import mint_pat

DOCUMENT = "docs/reference/api.md"
ALL_FIELDS = "docs/reference/http-api.md"


@pytest.fixture(params=[90, None], ids=["expiring", "lasting"])
def shell(request, live_server, ada):
    """Run commands of the page with a token that expires in 90 days or never."""
    ends = request.param and timezone.now() + timedelta(days=request.param)
    token = mint_pat(ada, scopes=["keys:write", "payments:read"], expires_at=ends)

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

    run.ends = ends
    return run


def commands():
    text = "".join(blocks(DOCUMENT, "bash")).replace("\\\n", " ")
    return [line for line in text.splitlines() if line.startswith("curl")]


@pytest.mark.slow
def test_documented_commands_work(shell, ada, engine, settings):
    (example,) = map(json.loads, blocks(DOCUMENT, "json"))
    for command in commands():
        words = shlex.split(command)
        url = next(word for word in words if word.startswith("http"))
        key = mint_pat(ada, expires_at=shell.ends)
        if "/approve/" in url or "/reject/" in url:
            key = mint_pat(ada, projects=[engine], expires_at=shell.ends)
            type(key.key).objects.filter(pk=key.key.pk).update(is_pending=True)
        told = shell(command, ID=key.key.public_id)
        key.key.refresh_from_db()
        if url.endswith("/api/tokens/"):
            differ = {"id", "expires_at", "token"}
            assert {name for name in example if told[name] != example[name]} == differ
            assert told["expires_at"] == (shell.ends and shell.ends.isoformat())
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


def test_documented_scopes_are_the_required_scopes():
    scope = {}
    exec(blocks(DOCUMENT, "python")[0], scope)

    assert {"keys:read", "keys:write"} < set(scope["APIKEYS"]["SCOPES"])


def test_every_error_code_is_documented_with_its_status():
    told = {
        code: [int(status) for status in statuses.split(", ")]
        for statuses, codes in table(DOCUMENT, "status")
        for code in re.findall(r"`(\w+)`", codes)
    }
    raised: set[str] = set()
    folders = Path(lifecycle.__file__).parent, Path(restrictions.__file__).parent
    for path in (path for folder in folders for path in folder.glob("*.py")):
        raised.update(re.findall(r'LifecycleError\(\s*"(\w+)"', path.read_text()))
    raised -= {"made_already"}  # the API does not accept an ID for a new key
    for code in raised:
        assert exceptions.STATUSES.get(code, 400) in told[code], code
    for name, each in vars(exceptions).items():
        if getattr(each, "__module__", "") == exceptions.__name__ and "default_code" in vars(each):
            assert each.status_code in told[each.default_code], name


def fields_of(shape):
    """Return the documented fields of a body and their descriptions."""
    (section,) = re.findall(rf"\n### {shape}\n(.*?)(?:\n##|\Z)", read(ALL_FIELDS), re.DOTALL)
    found = {}
    for base in re.findall(r"^All fields of \[(\w+)\]", section, re.MULTILINE):
        found |= fields_of(base)
    rows = [line.split(" | ") for line in section.splitlines() if line.startswith("| `")]
    return found | {re.search(r"`(\w+)`", row[0])[1]: row[-1] for row in rows}


@pytest.mark.parametrize(
    ("shape", "serializer"),
    [
        ("TokenBody", serializers.TokenBody),
        ("ProjectKeyBody", serializers.ProjectKeyBody),
        ("Minted", serializers.MintedSerializer),
    ],
)
def test_every_field_is_on_the_linked_page(shape, serializer):
    assert f"[{shape}](http-api.md#{shape.lower()})" in read(DOCUMENT)
    listed = fields_of(shape)
    assert list(listed) == list(serializer().fields)
    for name, most in [("allowed_networks", MAX_NETWORKS), ("rate_limits", MAX_RATES)]:
        assert shape == "Minted" or f"p to {most}" in listed[name]


@pytest.mark.parametrize(
    "shape",
    [
        serializers.RotateBody,
        serializers.RotateProjectKeyBody,
        serializers.ReasonBody,
        parameters.ListParameters,
        parameters.AuditParameters,
        serializers.ProblemSerializer,
        serializers.InvalidSerializer,
    ],
)
def test_every_field_and_parameter_is_documented(shape):
    page = read(DOCUMENT)
    for name in shape().fields:
        assert re.search(rf"[`?&\"]{name}[`=\"]", page), name


def test_every_path_is_documented():
    requests = " ".join(" ".join(row) for row in table(DOCUMENT, "request"))
    for path in ("tokens/", "audit/", "rotate/", "approve/", "reject/", "approvals/keys/", "keys/"):
        assert path in requests
    assert "Idempotency-Replayed: true" in read(DOCUMENT)
