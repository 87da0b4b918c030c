"""Writes by the admin and the API beside API traffic, on SQLite as ``startproject`` sets it up."""

import http.client
import json
import os
import subprocess
import sys
import threading
import urllib.parse
from collections import Counter

import pytest

from tests.documents import ROOT
from tests.servers import Server, running

pytestmark = pytest.mark.long

WRITES = int(os.environ.get("SQLITE_WRITES", "10000"))
READERS = 2


class Web(Server):
    def __init__(self, directory):
        super().__init__(directory)
        self.file = directory / "db.sqlite3"

    def environment(self):
        return os.environ | {
            "DJANGO_SETTINGS_MODULE": "tests.server_settings",
            "SERVER_SQLITE": str(self.file),
        }

    def command(self):
        return [
            *(sys.executable, "-m", "granian", "--interface", "wsgi", "--host", "127.0.0.1"),
            *("--port", str(self.port), "--workers", "2", "--blocking-threads", "4"),
            "example_project.wsgi:application",
        ]


class Client:
    """One connection. Counts the answers by what was done and the status."""

    def __init__(self, port, answers):
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        self.answers = answers

    def ask(self, what, method, path, body=None, **headers):
        self.connection.request(method, path, body, headers)
        response = self.connection.getresponse()
        text = response.read()
        self.answers[what, response.status] += 1
        return text


def writes_by_admin(client, session, membership, number):
    pk, user, project = membership
    csrf = "a" * 32
    cookies = f"sessionid={session}; csrftoken={csrf}"
    path = f"/admin/apikeys/membership/{pk}/change/"
    for each in range(number):
        role = ("viewer", "developer")[each % 2]
        form = {"user": user, "project": project, "role": role, "csrfmiddlewaretoken": csrf}
        client.ask(
            "admin",
            "POST",
            path,
            urllib.parse.urlencode(form),
            Cookie=cookies,
            **{"Content-Type": "application/x-www-form-urlencoded"},
        )


def writes_by_api(client, token, number):
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    body = json.dumps({"name": "a", "scopes": ["payments:read"], "expires_at": None})
    key = json.loads(client.ask("create", "POST", "/api/tokens/", body, **headers))["id"]
    for each in range(number):
        path, change = f"/api/tokens/{key}/", json.dumps({"name": f"name {each}"})
        client.ask("edit", "PATCH", path, change, **headers)


def test_ten_thousand_writes_end_without_an_error(tmp_path, capsys):
    web, answers = Web(tmp_path), Counter()
    made = subprocess.run(
        [sys.executable, "-m", "tests.sqlite_site"],
        cwd=ROOT,
        env=web.environment(),
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    facts = json.loads(made)
    done = threading.Event()

    clients = []

    def connect():
        clients.append(Client(web.port, answers))
        return clients[-1]

    def read():
        client = connect()
        while not done.is_set():
            headers = {"Authorization": f"Bearer {facts['token']}"}
            client.ask("read", "GET", "/api/token/", **headers)

    with running(web):
        each = WRITES // 8
        writers = [
            threading.Thread(target=writes_by_admin, args=(connect(), session, membership, each))
            for session, membership in zip(facts["sessions"], facts["memberships"], strict=True)
        ]
        writers += [
            threading.Thread(target=writes_by_api, args=(connect(), facts["token"], each))
            for _ in range(4)
        ]
        readers = [threading.Thread(target=read) for _ in range(READERS)]
        for thread in writers + readers:
            thread.start()
        for thread in writers:
            thread.join()
        done.set()
        for thread in readers:
            thread.join()
        for client in clients:
            client.connection.close()

    log = (tmp_path / "log").read_text()
    assert set(answers) == {("admin", 302), ("create", 201), ("edit", 200), ("read", 200)}, log
    assert answers["admin", 302] + answers["edit", 200] >= WRITES - 8
    with capsys.disabled():
        print(f"\n{dict(answers)}")
