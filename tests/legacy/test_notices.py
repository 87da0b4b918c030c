"""The mail before the last day of a legacy header: who gets it, how often, and its text."""

from datetime import datetime, time, timedelta

import pytest
from django.core import mail
from django.utils import timezone

from apikeys import lifecycle, usage
from apikeys.conf import app_settings
from apikeys.mail import deadlines
from apikeys.models import AuditEvent, LegacyKey, PersonalAccessToken, ProjectKey
from tests.factories import MembershipFactory, UserFactory, mint_pat
from tests.legacy.conftest import TOMORROW, api_key, authtoken_of, knox_of
from tests.threads import at_once

pytestmark = pytest.mark.django_db

SCOPE = ["--scope", "payments:read"]
NOW = timezone.now()
UNTIL = timezone.localdate() + timedelta(days=30)


def days_before(days):
    """Return noon, so many days before the last day."""
    return timezone.make_aware(datetime.combine(UNTIL - timedelta(days=days), time(12)))


@pytest.fixture(autouse=True)
def until(takes):
    takes(authtoken=UNTIL, knox=UNTIL, drf_api_key=UNTIL)


def imported(apikeys, scheme, *words):
    done = apikeys("import", "--from", scheme, *words, *SCOPE)
    assert done.code == 0, done.err
    mail.outbox.clear()


def use(*keys):
    for key in keys:
        usage.note_use(type(key), key.pk, "203.0.113.7")
    usage.flush()


def of(scheme):
    return [
        each.token or each.key for each in LegacyKey.objects.filter(scheme=scheme).order_by("pk")
    ]


def sent():
    return sorted((message.to[0], message.subject) for message in mail.outbox)


@pytest.fixture
def in_use(apikeys, ada):
    """Create two knox tokens of ada, and use one of them."""
    knox_of(ada, expiry=None)
    knox_of(ada, expiry=None)
    imported(apikeys, "knox")
    keys = of("knox")
    PersonalAccessToken.objects.filter(pk=keys[0].pk).update(name="laptop")
    use(keys[0])
    return of("knox")


@pytest.mark.slow
def test_one_mail_lists_all_keys_two_weeks_before(in_use):
    told = []
    for days in range(30, -3, -1):
        mail.outbox.clear()
        deadlines.notify(days_before(days))
        told += [(days, *each) for each in sent()]

    assert told == [(14, "ada@example.com", f"The old credentials of ada work until {UNTIL}")]


def test_the_mail_names_keys_header_and_date(in_use):
    deadlines.notify(days_before(5))

    (message,) = mail.outbox
    body = " ".join(message.body.split())
    used, unused = in_use
    used.refresh_from_db()
    assert f"work in the header “Authorization: Token” until {UNTIL}." in body
    assert f"- laptop ({used.public_id}), last used {used.last_used_at.isoformat()}" in body
    assert f"- {unused.name} ({unused.public_id}), not used since it was imported" in body
    assert "in the header Authorization: Bearer" in body
    assert message.message()["Auto-Submitted"] == "auto-generated"


def test_the_audit_log_has_an_event_for_each_key(in_use):
    deadlines.notify(days_before(5))

    events = AuditEvent.objects.filter(event="notified")
    assert {event.public_id for event in events} == {key.public_id for key in in_use}
    changes = {"scheme": "knox", "until": UNTIL.isoformat()}
    assert [event.changes for event in events] == [changes] * 2


def test_each_scheme_gets_a_mail(apikeys, ada, in_use):
    authtoken_of(ada)
    imported(apikeys, "authtoken")
    use(*of("authtoken"))
    deadlines.notify(days_before(5))
    assert len(sent()) == 2
    assert {to for to, _subject in sent()} == {"ada@example.com"}


def test_managers_are_notified_of_project_keys(apikeys, ada):
    engine = ada.project_memberships.get().project
    for role in ("admin", "developer"):
        MembershipFactory(project=engine, user__email=f"{role}@example.com", role=role)
    for name in ("till", "stock"):
        api_key(name)
    imported(apikeys, "drf-api-key", "--project", "analytical-engine")
    use(*of("drf-api-key"))
    deadlines.notify(days_before(5))
    assert [to for to, _subject in sent()] == ["ada@example.com", "admin@example.com"]
    for message in mail.outbox:
        assert "till" in message.body
        assert "stock" in message.body
        assert "Authorization: Api-Key" in message.body


def unused(key):
    PersonalAccessToken.objects.update(last_used_at=None)


def ends_sooner(key):
    at = days_before(3)
    PersonalAccessToken.objects.update(expires_at=at, created_at=at - timedelta(hours=2))


@pytest.mark.parametrize(
    "change",
    [
        unused, ends_sooner, lifecycle.revoke, lifecycle.rotate,
        lambda key: LegacyKey.objects.update(token=None),
        lambda key: type(key.user).objects.update(is_active=False),
        lambda key: type(key.user).objects.update(email=""),
    ],
    ids=["unused", "ends sooner", "revoked", "rotated", "not of it", "deactivated", "no address"],
)  # fmt: skip
def test_unused_or_ended_keys_send_no_mail(apikeys, ada, change):
    knox_of(ada, expiry=None)
    imported(apikeys, "knox")
    use(*of("knox"))
    mint_pat(ada)
    change(of("knox")[0])
    mail.outbox.clear()
    deadlines.notify(days_before(5))
    assert not mail.outbox
    assert not AuditEvent.objects.filter(event="notified", changes__has_key="scheme").exists()


def test_a_setting_turns_the_mail_off(in_use, settings):
    every = app_settings.NOTICES
    settings.APIKEYS = settings.APIKEYS | {
        "NOTICES": [name for name in every if name != "legacy_ending"]
    }
    deadlines.notify(days_before(5))
    assert not mail.outbox
    # The audit log has no event either.
    assert not AuditEvent.objects.filter(event="notified").exists()


def test_a_later_date_sends_another_mail(in_use, takes):
    deadlines.notify(days_before(5))
    takes(knox=UNTIL + timedelta(days=60))
    deadlines.notify(days_before(4))
    assert len(mail.outbox) == 1
    deadlines.notify(days_before(-50))
    assert len(mail.outbox) == 2


def test_a_removed_scheme_sends_no_mail(in_use, takes):
    takes()
    deadlines.notify(days_before(5))
    assert not mail.outbox


def test_a_failed_mail_is_retried(in_use, takes, notify_twice):
    takes(knox=TOMORROW)
    assert notify_twice() == {"expired": 0, "notified": 2, "idle": 0, "failed": 0}
    assert len(mail.outbox) == 1


def test_keys_in_use_are_listed_first(apikeys, ada):
    for number in range(60):
        api_key(f"n{number}")
    imported(apikeys, "drf-api-key", "--project", "analytical-engine")
    used = ProjectKey.objects.last()
    use(used)
    assert deadlines.notify(days_before(5))["notified"] == 60
    (message,) = mail.outbox
    assert message.body.count("\n- ") == 50
    assert message.body.index(used.public_id) < message.body.index("not used since")
    assert "and 10 more" in message.body


def test_the_mail_is_translated(in_use, settings):
    settings.LANGUAGE_CODE = "de"
    deadlines.notify(days_before(5))
    (message,) = mail.outbox
    assert message.subject == f"Die alten Zugangsdaten von ada gelten bis {UNTIL}"
    assert "zuletzt verwendet" in message.body
    assert "last used" not in message.body


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_parallel_runs_send_one_mail(apikeys, takes):
    takes(knox=TOMORROW)
    for number in range(6):
        user = UserFactory(email=f"p{number}@example.com")
        knox_of(user, expiry=None)
        knox_of(user, expiry=None)
    imported(apikeys, "knox")
    use(*of("knox"))
    at_once(*[deadlines.notify] * 4)

    assert [to for to, _subject in sent()] == [f"p{number}@example.com" for number in range(6)]
