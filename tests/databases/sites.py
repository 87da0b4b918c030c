"""A site that a test starts on its own databases, and asks over HTTP."""

import json
import os
import re
import subprocess
import sys
from pathlib import Path

import httpx

from tests.servers import ROOT, Server


class Site(Server):
    """Granian with one worker, with the settings that ``environment`` names."""

    def __init__(self, directory: Path, **variables: str) -> None:
        super().__init__(directory)
        self.variables = variables

    def environment(self) -> dict[str, str]:
        return os.environ | self.variables

    def command(self) -> list[str]:
        return [
            *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "1", "--blocking-threads", "4"),
            "example_project.wsgi:application",
        ]

    def run(self, *arguments: str) -> str:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=ROOT,
            env=self.environment(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def apikeys(self, *arguments: str) -> object:
        """Run ``manage.py apikeys``, and return the JSON that it prints."""
        return json.loads(self.run("manage.py", "apikeys", *arguments, "--json"))

    def client(self, token: str = "", session: str = "") -> httpx.Client:
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        cookies = {"sessionid": session} if session else {}
        url = f"http://127.0.0.1:{self.port}"
        return httpx.Client(base_url=url, headers=headers, cookies=cookies, timeout=60)


def post(browser: httpx.Client, url: str, **fields: str) -> httpx.Response:
    """Open the page ``url``, and send its form with ``fields``. Follow the redirect."""
    shown = browser.get(url)
    assert shown.status_code == 200, (url, shown.status_code)
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]+)"', shown.text))
    return browser.post(url, data=hidden | fields, follow_redirects=True)
