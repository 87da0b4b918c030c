"""Clients that others wrote in JavaScript connect to the running example."""

import json
import os
import shutil
import subprocess
from pathlib import Path
from urllib.parse import quote

import httpx
import pytest

from tests.mcp.browser import Person
from tests.mcp.document import CLIENT_ID
from tests.services import require

pytestmark = [pytest.mark.long, pytest.mark.process]

HERE = Path(__file__).parent / "js"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """The scripts with their packages."""
    require("npm", shutil.which("npm") is not None, "Install Node.js.")
    folder = shutil.copytree(HERE, tmp_path_factory.mktemp("js") / "clients")
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    subprocess.run(command, cwd=folder, check=True, timeout=300)
    return folder


@pytest.fixture
def node(folder):
    """Return a function that runs a script, authorizes it as ada, and returns what it found."""

    def node(*words, whole=False, **environment):
        process = subprocess.Popen(
            ["node", *words],
            cwd=folder,
            env=os.environ | environment,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        person, asked = Person(), []
        with process, person.http:
            for line in process.stdout:
                facts = json.loads(line)
                if "authorize" not in facts:
                    return facts | {"asked": asked}
                asked.append(facts["authorize"])
                found = person.authorize(facts["authorize"])
                process.stdin.write((json.dumps(found) if whole else found["code"]) + "\n")
                process.stdin.flush()
            raise AssertionError(process.stderr.read())

    return node


@pytest.mark.parametrize("mode", ["document", "anonymous", "registered"])
@pytest.mark.parametrize("server", ["url", "separate_url"])
def test_sdk_connects_and_asks_for_more_when_a_tool_needs_it(node, demo, server, mode):
    check(node("mcp.mjs", demo.credentials["mcp"][server], mode), mode)


@pytest.mark.parametrize("mode", ["document", "anonymous"])
@pytest.mark.parametrize("server", ["url", "separate_url"])
def test_sdk_connects_to_a_strict_server(node, strict, server, mode):
    url = strict.credentials["mcp"][server]
    found = node("mcp.mjs", url, mode)
    check(found, mode)
    assert all(f"resource={quote(url, safe='')}" in each for each in found["asked"])


def check(found, mode):
    assert found["failed"] == []
    assert "list_payments" in found["before"]
    assert "make_payment" not in found["before"]
    assert "make_payment" in found["after"]
    assert {"payments:read", "payments:write"} <= set(found["scope"].split())
    first, second = found["asked"]
    assert "payments%3Awrite" not in first
    assert "payments%3Awrite" in second
    # It requests what the server names, and never the scopes that manage keys.
    assert not {"keys:read", "keys:write"} & set(found["scope"].split())
    ids = {"document": CLIENT_ID, "registered": "acme-cli"}
    assert found["client"] == ids.get(mode, found["client"])
    assert (found["client"] in ids.values()) == (mode in ids)


@pytest.mark.parametrize(
    "name",
    ["openid-client", "oauth4webapi", "simple-oauth2", "simple-oauth2-code", "passport-oauth2"],
)
def test_other_clients_get_a_token(node, demo, name):
    key = demo.credentials["project_key"]
    client = f"{key['id']} {key['token']}"
    found = node("clients.mjs", name, demo.base_url, whole=True, CLIENT=client)

    headers = {"Authorization": f"Bearer {found['token']}"}
    url = f"{demo.base_url}/api/token/"
    facts = httpx.get(url, headers=headers, trust_env=False, timeout=60).json()
    assert facts["scopes"] == ["payments:read"]
