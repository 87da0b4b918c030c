"""One day in a company, in a real browser. `UPDATE_DOCS=1` puts its pictures into the docs."""

from datetime import timedelta
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.contrib.auth.hashers import make_password
from django.core import mail
from django.utils import timezone
from playwright.sync_api import expect

from apikeys import lifecycle, usage
from apikeys.mail import deadlines
from apikeys.models import AuditEvent, ProjectKey, ScopeUse
from apikeys.policy import Policy
from example_project.payments.models import Payment
from tests.docs.screenshots import take
from tests.factories import PASSWORD, MembershipFactory, UserFactory

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

KEYS = "/settings/keys/projects/analytical-engine/"
ACCESS = f"{KEYS}access/"
#: The scopes of the key "dashboard".
WIDE = ["payments:write", "reports:read", "keys:read"]


class Watchful(Policy):
    """Keys may stay unused for 90 days."""

    def longest_idle(self, owner):
        return timedelta(days=90)


@pytest.fixture
def company(ada, engine, settings, monkeypatch):
    """Ada owns the project, and Charles is a developer in it."""
    monkeypatch.setattr("apikeys.usage._start", lambda: None)  # the tests write the uses
    path = "tests.docs.test_day.Watchful"
    settings.APIKEYS = settings.APIKEYS | {"POLICY": path, "LAST_USED_INTERVAL": 5}
    type(ada).objects.filter(pk=ada.pk).update(email="ada@acme.example")
    ada.refresh_from_db()
    charles = UserFactory(
        username="charles", email="charles@acme.example", password=make_password(PASSWORD)
    )
    MembershipFactory(user=charles, project=engine, role="developer")
    return charles


@pytest.fixture
def browse(open_page):
    """Return a function that logs in as a user and returns the page."""

    def browse(username, url):
        page = open_page(viewport={"width": 1000, "height": 620})
        page.goto(url)
        page.get_by_label("Username").fill(username)
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("main").get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        return page

    return browse


@pytest.fixture
def call(live_server):
    """Return a function that calls the API and returns the status."""

    def call(token, path="/api/payments/"):
        headers = {"Authorization": f"Bearer {token}"}
        try:
            with urlopen(Request(live_server.url + path, headers=headers)) as answer:
                status = answer.status
        except HTTPError as error:
            status = error.code
        usage.flush()
        return status

    return call


def age(key, days, **columns):
    """Date a project key back, as if it had been created ``days`` ago."""
    created_at = timezone.now() - timedelta(days=days)
    ProjectKey.objects.filter(pk=key.pk).update(created_at=created_at, **columns)
    return created_at


def subjects(address):
    return [message.subject for message in mail.outbox if address in message.to]


def test_a_token_is_denied_and_its_owner_sees_why(company, ada, engine, browse, call):
    payment = Payment.objects.create(project=engine, amount=5)
    path = f"/api/payments/{payment.number}/"
    for name in ("dashboard", "old import", "server"):
        scopes = WIDE if name == "dashboard" else ["payments:read"]
        key = lifecycle.mint(project=engine, name=name, scopes=scopes, by=ada)
        age(key.key, 90)
        if name != "old import":
            assert call(key.token, path) == 200
    scopes = ["payments:read", "reports:read"]
    minted = lifecycle.mint(user=company, name="unknown laptop", scopes=scopes)
    assert call(minted.token, path) == 200

    # The admin sees the token, and that it was used here
    page = browse("ada", KEYS)
    page.get_by_role("link", name="Access", exact=True).click()
    heading = page.get_by_role("heading", name="unknown laptop")
    row = page.get_by_role("listitem").filter(has=heading)
    expect(row).to_contain_text("charles")
    expect(row).to_contain_text("just now")
    page.set_viewport_size({"width": 1000, "height": 680})
    take(page, "day-access")

    # The admin denies it
    row.get_by_role("link", name="Deny").click()
    page.get_by_label("Reason").fill("This laptop is not one of ours.")
    page.get_by_role("button", name="Deny").click()
    expect(page.get_by_role("main")).to_contain_text("denied here")
    assert call(minted.token, path) == 404
    assert call(minted.token, "/api/token/") == 200

    # The member sees why
    assert any("unknown laptop" in subject for subject in subjects("charles@acme.example"))
    theirs = browse("charles", f"/settings/keys/{minted.key.public_id}/")
    expect(theirs.get_by_role("main")).to_contain_text("Denied in Analytical Engine by ada")
    expect(theirs.get_by_role("main")).to_contain_text("This laptop is not one of ours.")
    take(theirs, "day-denied")

    # The admin allows it again
    page.get_by_role("link", name="Allow").click()
    page.get_by_role("button", name="Allow").click()
    assert call(minted.token, path) == 200
    events = AuditEvent.objects.filter(public_id=minted.key.public_id)
    assert {"denied", "allowed"} <= set(events.values_list("event", flat=True))


def test_a_thief_uses_a_rotated_key_and_the_alarm_comes(company, ada, engine, browse, call):
    old = lifecycle.mint(project=engine, name="server", scopes=["payments:read"], by=ada)
    lifecycle.rotate(old.key, overlap=timedelta(0), by=ada)
    last_week = timezone.now() - timedelta(days=7)
    age(old.key, 100, rotated_at=last_week, expires_at=last_week + timedelta(days=1))
    mail.outbox.clear()

    assert [call(old.token), call(old.token)] == [401, 401]

    assert len(subjects("ada@acme.example")) == 1
    assert "used after its end" in subjects("ada@acme.example")[0]
    page = browse("ada", f"{KEYS}{old.key.public_id}/")
    expect(page.get_by_role("main")).to_contain_text("It is still used after its end.")
    expect(page.get_by_role("main")).to_contain_text("127.0.0.1")
    take(page, "day-alarm")
    successor = ProjectKey.objects.get(replaces=old.key)
    page.goto(f"{KEYS}{successor.public_id}/")
    expect(page.get_by_role("main")).to_contain_text("is still used after its end")


def test_an_unused_key_is_warned_paused_and_resumed(company, ada, engine, browse, call):
    minted = lifecycle.mint(project=engine, name="old import", scopes=["payments:read"], by=ada)
    mail.outbox.clear()

    # It is not used for three months
    hour = 1 / 24
    created_at = age(minted.key, 90 + hour)
    for days, mails in ((75, 0), (76, 1), (87, 2), (90, 3)):
        deadlines.notify(created_at + timedelta(days=days + hour))
        assert len(subjects("ada@acme.example")) == mails, days

    assert call(minted.token) == 401
    page = browse("ada", f"{KEYS}{minted.key.public_id}/")
    expect(page.get_by_role("main")).to_contain_text("Paused just now")
    take(page, "day-paused")
    page.get_by_role("link", name="Resume").click()
    page.get_by_role("button", name="Resume").click()
    assert call(minted.token) == 200


def test_a_wide_key_is_narrowed_to_what_it_used(company, ada, engine, browse, call):
    minted = lifecycle.mint(project=engine, name="dashboard", scopes=WIDE, by=ada)
    assert [call(minted.token), call(minted.token, "/api/reports/")] == [200, 200]
    # A month passes without reports
    long_ago = timezone.now() - timedelta(days=100)
    ProjectKey.objects.filter(pk=minted.key.pk).update(created_at=long_ago)
    ScopeUse.objects.update(first_used_at=long_ago)  # also what earlier tests noted
    uses = ScopeUse.objects.filter(credential=minted.key.public_id)
    uses.filter(scope="reports:read").update(last_used_at=long_ago)

    page = browse("ada", f"{KEYS}{minted.key.public_id}/")
    expect(page.get_by_role("main")).to_contain_text("used in the last 90 days: 1")
    page.get_by_role("link", name="Keep only what it used").click()
    take(page, "day-narrow")
    page.get_by_role("button", name="Keep only what it used").click()
    expect(page.get_by_role("link", name="Undo")).to_be_visible()
    assert [call(minted.token), call(minted.token, "/api/reports/")] == [200, 403]

    # The report of the year needs it after all
    page.get_by_role("link", name="Undo").click()
    page.get_by_role("button", name="Undo").click()
    assert call(minted.token, "/api/reports/") == 200
