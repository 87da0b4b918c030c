"""`manage.py demo` from outside: what it prints, and what its server answers over HTTP."""

import contextlib
import json
import os
import pty
import signal
import subprocess
import sys
import urllib.error
import urllib.parse
import urllib.request
from types import SimpleNamespace

import pytest

from tests.documents import ROOT
from tests.example.conftest import Demo, Served
from tests.tiers import long

pytestmark = pytest.mark.slow


def call(url, token=None, data=None):
    """``data`` goes as a form if it is a dict."""
    body = urllib.parse.urlencode(data).encode() if data is not None else None
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url, body, headers)
    try:
        with urllib.request.urlopen(request, timeout=90) as answer:
            status, text, headers = answer.status, answer.read(), answer.headers
    except urllib.error.HTTPError as error:
        status, text, headers = error.code, error.read(), error.headers
    is_json = headers.get_content_type() == "application/json"
    return SimpleNamespace(
        status=status, headers=headers, body=json.loads(text) if is_json else text.decode()
    )


def log_in(served, username, **changes):
    form = {
        "grant_type": "password",
        "client_id": "webapp",
        "username": username,
        "password": "demo-password",
    }
    return call(f"{served.base_url}/o/token/", data=form | changes)


def mint(served, *words):
    run = served.manage("apikeys", "mint", *words, "--json")
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout)


@pytest.fixture
def payment(served):
    """Asks for payment 1, which belongs to Analytical Engine."""
    return lambda token: call(f"{served.base_url}/api/payments/1/", token)


def test_one_payment_under_one_header_for_three_callers(served, payment):
    ada = log_in(served, "ada").body["access_token"]
    pat = served.credentials["pat"]["token"]
    key = served.credentials["project_key"]["token"]

    answers = [payment(token) for token in (ada, pat, key)]

    assert [answer.status for answer in answers] == [200, 200, 200]
    assert answers[0].body == answers[1].body == answers[2].body
    assert answers[0].body["number"] == 1
    assert answers[0].body["project"] == "analytical-engine"


def test_the_printed_access_token_is_adas(served, payment):
    oauth = served.credentials["oauth"]

    assert payment(oauth["access_token"]).status == 200
    facts = call(f"{served.base_url}/api/token/", oauth["access_token"]).body
    assert (facts["kind"], facts["user"], facts["client"]) == ("oauth", "ada", "webapp")
    assert oauth["client_id"] == "webapp"


def test_somebody_elses_payment_does_not_exist(served, payment):
    grace = log_in(served, "grace").body["access_token"]

    assert payment(grace).status == 404
    assert call(f"{served.base_url}/api/payments/4/", grace).status == 200
    assert (
        call(f"{served.base_url}/api/payments/4/", served.credentials["pat"]["token"]).status == 404
    )


def test_a_token_for_reports_sees_no_payment(served, payment):
    reports = mint(served, "--user", "ada", "--name", "reports", "--scope", "reports:read")

    refused = payment(reports["token"])

    assert refused.status == 403
    assert refused.body["code"] == "insufficient_scope"
    challenge = refused.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    assert 'scope="payments:read"' in challenge
    assert call(f"{served.base_url}/api/reports/", reports["token"]).status == 200


def test_a_revoked_key_is_refused_at_the_very_next_request(served, payment):
    key = mint(served, "--project", "analytical-engine", "--name", "x", "--scope", "payments:read")
    assert payment(key["token"]).status == 200

    revoked = served.manage("apikeys", "revoke", key["id"], "--reason", "Lost.", "--json")

    assert revoked.returncode == 0, revoked.stderr
    refused = payment(key["token"])
    assert (refused.status, refused.body["code"]) == (401, "revoked_key")


def test_who_sees_which_payments(served):
    def numbers(username):
        token = log_in(served, username).body["access_token"]
        payments = call(f"{served.base_url}/api/payments/", token).body
        return [payment["number"] for payment in payments]

    assert numbers("ada") == numbers("charles") == numbers("luigi") == [1, 2, 3]
    assert numbers("grace") == numbers("jean") == [4, 5]
    assert numbers("admin") == []


def test_who_may_pay_where(served):
    def projects(token):
        return call(f"{served.base_url}/api/projects/", token).body

    engine = {"slug": "analytical-engine", "name": "Analytical Engine"}
    luigi = log_in(served, "luigi").body["access_token"]
    assert projects(luigi) == [engine | {"role": "viewer", "may_pay": False}]
    charles = log_in(served, "charles").body["access_token"]
    assert projects(charles) == [engine | {"role": "developer", "may_pay": True}]
    key = served.credentials["project_key"]["token"]
    assert projects(key) == [engine | {"role": None, "may_pay": True}]
    reader = mint(served, "--user", "ada", "--name", "reader", "--scope", "payments:read")
    assert projects(reader["token"]) == [engine | {"role": "owner", "may_pay": False}]


def test_the_published_password_lets_nobody_in_elsewhere(served):
    """The same database, served by other means than the demo."""
    code = (
        "import django; django.setup()\n"
        "from django.contrib.auth import authenticate\n"
        "print(authenticate(username='admin', password='demo-password'))"
    )

    run = served.manage("shell", "--no-imports", "-c", code)

    assert run.stdout.strip() == "None", run.stderr


def test_the_json(served):
    made = served.credentials

    assert list(made) == ["base_url", "users", "pat", "project_key", "oauth"]
    assert list(made["pat"]) == list(made["project_key"]) == ["token", "id"]
    assert list(made["oauth"]) == ["client_id", "access_token"]
    assert [user["username"] for user in made["users"]] == [
        "ada", "charles", "luigi", "grace", "jean", "admin",
    ]  # fmt: skip
    assert {user["password"] for user in made["users"]} == {"demo-password"}
    assert made["pat"]["id"] in made["pat"]["token"]
    assert made["project_key"]["id"] in made["project_key"]["token"]


def test_the_page_may_run_its_own_files_only(served):
    page = call(f"{served.base_url}/")

    assert page.status == 200
    policy = page.headers["Content-Security-Policy"].split("; ")
    assert "default-src 'self'" in policy
    assert not any("unsafe" in directive for directive in policy)
    assert "<style" not in page.body
    assert " style=" not in page.body
    script = call(f"{served.base_url}/static/payments/page.js")
    assert script.status == 200
    assert "javascript" in script.headers["Content-Type"]


def test_it_serves_with_nothing_but_json_on_standard_output_and_ends_cleanly(demo):
    with Served(demo.database) as served:
        call(f"{served.base_url}/api/payments/1/", served.credentials["pat"]["token"])

    assert served.rest_of_stdout == ""
    assert served.process.returncode == 0
    log = (demo.database.parent / "server.log").read_text()
    assert "GET /api/payments/1/" in log
    assert served.credentials["pat"]["token"] not in log
    facts = json.loads(
        demo.manage("apikeys", "show", served.credentials["pat"]["id"], "--json").stdout
    )
    assert facts["last_used_at"]  # written on the way out


@pytest.mark.long
def test_a_second_run_gives_new_credentials_and_ends_the_old_ones(seeded_demo):
    demo = seeded_demo
    first = json.loads((demo.database.parent / "printed.json").read_text())
    seeded = names_of_keys(demo)
    assert seeded.count("Demo") == 2
    own = mint(demo, "--user", "ada", "--name", "my own", "--scope", "payments:read")

    with Served(demo.database) as second:
        url = f"{second.base_url}/api/payments/1/"
        for kind in ("pat", "project_key"):
            assert call(url, second.credentials[kind]["token"]).status == 200
            assert call(url, first[kind]["token"]).body["code"] == "revoked_key"
        assert call(url, second.credentials["oauth"]["access_token"]).status == 200
        assert call(url, first["oauth"]["access_token"]).body["code"] == "invalid_token"
        assert call(url, own["token"]).status == 200

    assert names_of_keys(demo) == sorted([*seeded, "my own"])


def names_of_keys(demo):
    """Return the names of the keys that have not ended."""
    listed = json.loads(demo.manage("apikeys", "list", "--json").stdout)
    return sorted(key["name"] for key in listed)


def test_a_second_run_mends_what_was_changed_and_keeps_what_was_added(seeded_demo):
    demo = seeded_demo
    code = (
        "from django.contrib.auth.models import User\n"
        "from apikeys.models import Membership, Project\n"
        "from example_project.payments.models import Payment\n"
        "ada = User.objects.get(username='ada')\n"
        "ada.is_active = False; ada.set_password('another one'); ada.save()\n"
        "Membership.objects.filter(user__username='luigi').update(role='owner')\n"
        "Project.objects.update(is_active=False)\n"
        "Payment.objects.filter(number=2).delete()\n"
        "print(Payment.objects.create(project=Project.objects.first(), amount=7).number)\n"
    )
    changed = demo.manage("shell", "--no-imports", "-c", code)
    assert changed.stdout.strip() == "6", changed.stderr

    with Served(demo.database) as served:
        token = log_in(served, "ada").body["access_token"]
        payments = call(f"{served.base_url}/api/payments/", token).body
        assert [payment["number"] for payment in payments] == [1, 2, 3, 6]
        luigi = log_in(served, "luigi").body["access_token"]
        assert call(f"{served.base_url}/api/projects/", luigi).body[0]["role"] == "viewer"


def test_for_people_it_prints_who_is_who_and_a_curl_for_each_caller(migrated_demo):
    run = migrated_demo.manage("demo", "--no-serve", "--port", "8765")

    assert run.returncode == 0
    assert run.stderr == ""
    rows = [line.split() for line in run.stdout.splitlines()]
    assert ["luigi", "viewer", "Analytical", "Engine", "1,", "2,", "3"] in rows
    assert "demo-password" in run.stdout
    curls = [line for line in run.stdout.splitlines() if line.startswith("curl ")]
    assert len(curls) == 3
    assert all(curl.endswith(" http://127.0.0.1:8765/api/payments/1/") for curl in curls)
    assert all(curl.startswith("curl -H 'Authorization: Bearer ") for curl in curls)
    assert sum("acme_pat_" in curl for curl in curls) == 1
    assert sum("acme_key_" in curl for curl in curls) == 1


def test_a_port_in_use_is_said_and_ends_no_credential(served, payment):
    port = served.base_url.rpartition(":")[2]

    run = served.manage("demo", "--port", port, "--json")

    assert run.returncode == 1
    assert run.stdout == ""
    assert f"Port {port} of 127.0.0.1 is in use." in run.stderr
    assert "Traceback" not in run.stderr
    assert payment(served.credentials["pat"]["token"]).status == 200


@pytest.mark.parametrize(
    ("name", "step"),
    [long(("demo", "Creating the tables")), ("migrated_demo", "Creating users")],
)
def test_interrupted_while_it_seeds_it_ends_with_a_sentence_and_can_start_again(
    request, name, step
):
    demo = request.getfixturevalue(name)
    screen, terminal = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "manage.py", "demo", "--no-serve"],
        cwd=ROOT,
        env=demo._environment(),
        stdout=subprocess.DEVNULL,
        stderr=terminal,
        # Shells start background jobs with the signal ignored.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )
    os.close(terminal)
    shown = ""
    while step not in shown:  # a terminal shows the progress
        shown += os.read(screen, 1024).decode()
    process.send_signal(signal.SIGINT)
    with contextlib.suppress(OSError):  # Linux says so if the other side is closed
        while more := os.read(screen, 1024):
            shown += more.decode()
    os.close(screen)

    assert process.wait(60) == 130
    assert shown.splitlines()[-1] == "The demo has stopped."
    assert "Traceback" not in shown
    assert demo.manage("demo", "--no-serve", "--json").returncode == 0


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        (["--port", "http"], "'http' is not a port"),
        long((["--port", "65536"], "'65536' is not a port")),
        (["--port", "0", "--no-serve"], "Leave out --no-serve"),
        long((["--frobnicate"], "unrecognized arguments: --frobnicate")),
    ],
)
def test_bad_arguments(demo, words, sentence):
    run = demo.manage("demo", *words)

    assert run.returncode != 0
    assert sentence in run.stderr
    assert "Traceback" not in run.stderr
    assert not demo.database.exists()


def test_a_database_that_cannot_be_used(tmp_path):
    text = tmp_path / "letter.txt"
    text.write_text("Dear Ada, " * 100)
    for path in (tmp_path, tmp_path / "absent" / "demo.sqlite3", text):
        run = Demo(path).manage("demo", "--no-serve", "--json")

        assert run.returncode == 1
        assert run.stdout == ""
        assert f"cannot use its database {path}:" in run.stderr
        assert "DEMO_DATABASE" in run.stderr
        assert "Traceback" not in run.stderr


def test_it_refuses_other_databases_than_sqlite(demo):
    code = (
        "from django.core.management import call_command\n"
        "from django.db import connection\n"
        "connection.vendor = 'postgresql'\n"
        "call_command('demo', '--no-serve')\n"
    )

    run = demo.manage("shell", "--no-imports", "-c", code)

    assert run.returncode == 1
    assert "only runs on SQLite" in run.stderr
    assert not demo.database.exists()
