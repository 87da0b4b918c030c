"""Tokens and logouts of npm's `oidc-provider`, which is certified and not ours."""

import shutil
import subprocess
import time

import pytest

from apikeys.issuers.models import Identity
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.documents import ROOT
from tests.issuers.provider import AUDIENCE
from tests.services import require

pytestmark = [
    pytest.mark.long,
    pytest.mark.django_db(transaction=True),
]
VERSION = "oidc-provider@9"


class Node:
    """The provider in its process."""

    def __init__(self, folder, logout_uri):
        shutil.copy(ROOT / "tests/issuers/oidc_provider.mjs", folder / "provider.mjs")
        self._process = subprocess.Popen(
            ["node", "provider.mjs", AUDIENCE, logout_uri],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self.url = self._answer()

    def __call__(self, *words):
        self._process.stdin.write(" ".join(words) + "\n")
        self._process.stdin.flush()
        answer = self._answer()
        assert not answer.startswith("error"), answer
        return answer

    def _answer(self):
        for line in self._process.stdout:
            if line.startswith("=> "):
                return line.removeprefix("=> ").strip()
        pytest.fail("The provider has ended.")

    def close(self):
        self._process.stdin.close()
        self._process.terminate()
        self._process.wait(10)
        self._process.stdout.close()


@pytest.fixture
def node(tmp_path, live_server, settings, ada):
    require("npm", shutil.which("npm") is not None, "Install Node.js.")
    subprocess.run(
        ["npm", "install", "--no-audit", "--no-fund", VERSION],
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=300,
    )
    settings.DEBUG = True  # the provider is on this computer
    site = live_server.url.replace("localhost", "127.0.0.1")
    node = Node(tmp_path, f"{site}/issuers/backchannel-logout/")
    entry = {"AUDIENCES": [AUDIENCE], "LOGOUT_CLIENT_IDS": ["web"]}
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": {node.url: entry}}
    Identity.objects.create(issuer=node.url, subject="u-1", user=ada)
    yield node
    node.close()


def code(text):
    with pytest.raises(Refused) as refused:
        verify(text)
    return refused.value.refusal.code


def until_verified(text):
    """Return the ``Access``. The first fetch of the keys may take longer than a request waits."""
    ends = time.monotonic() + 30
    while True:
        try:
            return verify(text)
        except Refused as refused:
            if refused.refusal.code != "issuer_unavailable" or time.monotonic() > ends:
                raise
            time.sleep(0.1)


def test_token_is_accepted_until_its_user_logs_out(node, ada):
    text = node("access_token")
    access = until_verified(text)
    assert (access.user, access.scope, access.client.client_id) == (ada, "payments:read", "web")
    assert access.issuer == node.url

    assert code(node("access_token", "https://other.example.com")) == "wrong_audience"
    assert code(node("id_token")) == "wrong_audience"

    assert node("logout") == "done"
    assert code(text) == "revoked_token"
    ends = time.monotonic() + 30
    while time.monotonic() < ends:  # a token of the second of the logout ends with it
        try:
            assert verify(node("access_token")).user == ada
        except Refused:
            time.sleep(0.2)
        else:
            return
    pytest.fail("A new token is refused.")
