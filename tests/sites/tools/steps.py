import json
import os
import re
from pathlib import Path

import httpx
import sentry_sdk
from auditlog.models import LogEntry
from sentry_sdk.transport import Transport

from tests.sites.tools.models import Note

#: A whole secret.
SECRET = re.compile(r"acme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}")
REPORTS = []


class Kept(Transport):
    """Keeps the reports instead of sending them."""

    def capture_envelope(self, envelope):
        REPORTS.append(b"".join(item.get_bytes() for item in envelope.items).decode())


sentry_sdk.init(
    dsn="https://key@127.0.0.1/1",
    transport=Kept,
    send_default_pii=True,
    traces_sample_rate=1.0,
    max_request_body_size="always",
)


def walk(site):
    walk_history(site)
    walk_reports(site)
    walk_logs(site)
    walk_logins(site)


def walk_history(site):
    """The history names the user of a token; a project key has none, and says so."""
    writes = "--scope", "api:write"
    user, project = (
        site.program("--user", "ada", *writes),
        site.program("--project", "engine", *writes),
    )
    assert user.post("/notes/", json={"text": "one"}).status_code == 200
    assert Note.history.get().history_user.get_username() == "ada"
    assert user.get("/plain-note/").status_code == 200
    assert Note.history.first().history_user.get_username() == "ada"
    for answer in (project.post("/notes/", json={"text": "two"}), project.get("/plain-note/")):
        assert (answer.status_code, answer.json()["code"]) == (403, "user_required"), answer.text

    entry = LogEntry.objects.get_for_model(Note).first()
    assert entry is not None
    assert LogEntry.objects.filter(content_type__model="personalaccesstoken").exists()
    for entry in LogEntry.objects.all():
        assert not SECRET.search(json.dumps(entry.changes_dict)), entry


def walk_reports(site):
    for owner in (("--user", "ada"), ("--project", "engine")):
        REPORTS.clear()
        assert site.program(*owner).get("/broken/").status_code == 500
        (report,) = (each for each in REPORTS if "A fault of the site." in each)
        assert not SECRET.search(report), report
    assert not any(SECRET.search(report) for report in REPORTS)


def walk_logs(site):
    log = (Path(os.environ["SITE_FOLDER"]) / "log").read_text()
    assert "request_started" in log
    assert not SECRET.search(log)
    metrics = httpx.get(f"{site.url}/metrics/metrics").text
    assert "django_http_requests_total" in metrics
    assert not SECRET.search(metrics)


def walk_logins(site):
    """Refused credentials are no failed logins."""
    bad = {"Authorization": "Bearer acme_pat_" + "0" * 16 + "_" + "0" * 49}
    for _ in range(5):
        assert httpx.get(f"{site.url}/api/who/", headers=bad).status_code == 401
    fresh = httpx.Client(follow_redirects=True)
    form = fresh.get(f"{site.url}/accounts/login/")
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', form.text)[1]
    data = {"login": "ada", "password": "a-password-of-adas", "csrfmiddlewaretoken": token}
    answer = fresh.post(f"{site.url}/accounts/login/", data=data | {"next": "/settings/keys/"})
    assert answer.url.path == "/settings/keys/", answer.text
