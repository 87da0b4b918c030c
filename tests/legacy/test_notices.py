"""The mail before the last day of a predecessor's header: who gets it, once, and what it says."""

import io
import json
from datetime import datetime, time, timedelta

import pytest
from django.core import mail
from django.core.management import CommandError, call_command
from django.utils import timezone

from apikeys import lifecycle, notices, usage
from apikeys.models import AuditEvent, LegacyKey, PersonalAccessToken, ProjectKey
from tests.factories import MembershipFactory, UserFactory, mint_pat
from tests.legacy.conftest import TOMORROW, api_key, authtoken_of, knox_of
from tests.threads import at_once

pytestmark = pytest.mark.django_db

SCOPE = ["--scope", "payments:read"]
NOW = timezone.now()
UNTIL = timezone.localdate() + timedelta(days=30)


def days_before(days):
    """Noon so many days before the last one."""
    return timezone.make_aware(datetime.combine(UNTIL - timedelta(days=days), time(12)))


@pytest.fixture(autouse=True)
def until(takes):
    takes(authtoken=UNTIL, knox=UNTIL, drf_api_key=UNTIL)


@pytest.fixture
def ada(ada):
    ada.email = "ada@example.com"
    ada.save()
    return ada


def imported(apikeys, scheme, *words):
    done = apikeys("import", "--from", scheme, *words, *SCOPE)
    assert done.code == 0, done.err
    mail.outbox.clear()


def use(*keys):
    for key in keys:
        usage.record(type(key), key.pk, "203.0.113.7")
    usage.flush()


def of(scheme):
    return [each.owner_key for each in LegacyKey.objects.filter(scheme=scheme).order_by("pk")]


def sent():
    return sorted((message.to[0], message.subject) for message in mail.outbox)


@pytest.fixture
def in_use(apikeys, ada):
    """Two knox tokens of ada; she uses one of them."""
    knox_of(ada, expiry=None)
    knox_of(ada, expiry=None)
    imported(apikeys, "knox")
    keys = of("knox")
    PersonalAccessToken.objects.filter(pk=keys[0].pk).update(name="laptop")
    use(keys[0])
    return of("knox")


def test_one_mail_of_all_keys_two_weeks_before(in_use):
    told = []
    for days in range(30, -3, -1):
        mail.outbox.clear()
        notices.notify(days_before(days))
        told += [(days, *each) for each in sent()]

    assert told == [(14, "ada@example.com", f"The old keys of ada work until {UNTIL}")]


def test_what_stands_in_it(in_use):
    notices.notify(days_before(5))

    (message,) = mail.outbox
    body = " ".join(message.body.split())
    used, unused = in_use
    used.refresh_from_db()
    assert f"taken in the header “Authorization: Token” until {UNTIL}." in body
    assert f"- laptop ({used.public_id}), last used {used.last_used_at.isoformat()}" in body
    assert f"- {unused.name} ({unused.public_id}), not used since it was imported" in body
    assert "behind Authorization: Bearer" in body
    assert message.message()["Auto-Submitted"] == "auto-generated"


def test_the_audit_log_has_it_of_each_key(in_use):
    notices.notify(days_before(5))

    events = AuditEvent.objects.filter(event="notified")
    assert {event.public_id for event in events} == {key.public_id for key in in_use}
    changes = {"scheme": "knox", "until": UNTIL.isoformat()}
    assert [event.changes for event in events] == [changes] * 2


def test_a_mail_for_each_scheme(apikeys, ada, in_use):
    authtoken_of(ada)
    imported(apikeys, "authtoken")
    use(*of("authtoken"))
    notices.notify(days_before(5))
    assert len(sent()) == 2
    assert {to for to, _subject in sent()} == {"ada@example.com"}


def test_of_project_keys_whoever_manages_them(apikeys, ada):
    engine = ada.project_memberships.get().project
    for role in ("admin", "developer"):
        MembershipFactory(project=engine, user__email=f"{role}@example.com", role=role)
    for name in ("till", "stock"):
        api_key(name)
    imported(apikeys, "drf-api-key", "--project", "engine")
    use(*of("drf-api-key"))
    notices.notify(days_before(5))
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
def test_who_is_not_told(apikeys, ada, change):
    knox_of(ada, expiry=None)
    imported(apikeys, "knox")
    use(*of("knox"))
    mint_pat(ada)
    change(of("knox")[0])
    mail.outbox.clear()
    notices.notify(days_before(5))
    assert not mail.outbox
    assert not AuditEvent.objects.filter(event="notified", changes__has_key="scheme").exists()


def test_a_site_that_does_not_want_it(in_use, settings):
    every = notices.app_settings.NOTICES
    settings.APIKEYS = settings.APIKEYS | {
        "NOTICES": [name for name in every if name != "legacy_ending"]
    }
    notices.notify(days_before(5))
    assert not mail.outbox
    # Nor does the audit log say what is not so.
    assert not AuditEvent.objects.filter(event="notified").exists()


def test_a_later_day_is_told_again(in_use, takes):
    notices.notify(days_before(5))
    takes(knox=UNTIL + timedelta(days=60))
    notices.notify(days_before(4))
    assert len(mail.outbox) == 1
    notices.notify(days_before(-50))
    assert len(mail.outbox) == 2


def test_a_scheme_that_is_no_longer_taken(in_use, takes):
    takes()
    notices.notify(days_before(5))
    assert not mail.outbox


def test_what_could_not_be_sent_is_tried_again(in_use, takes, settings, caplog):
    takes(knox=TOMORROW)
    backend = settings.EMAIL_BACKEND
    settings.EMAIL_BACKEND = "tests.test_notices.Broken"
    with pytest.raises(CommandError, match="1 mails could not be sent"):
        call_command("apikeys", "notify", stdout=io.StringIO())
    settings.EMAIL_BACKEND = backend
    out = io.StringIO()
    call_command("apikeys", "notify", "--json", stdout=out)
    assert json.loads(out.getvalue()) == {"expired": 0, "notified": 2, "failed": 0}
    assert len(mail.outbox) == 1


def test_of_many_keys_those_in_use_are_listed_first(apikeys, ada):
    for number in range(60):
        api_key(f"n{number}")
    imported(apikeys, "drf-api-key", "--project", "engine")
    used = ProjectKey.objects.last()
    use(used)
    assert notices.notify(days_before(5))["notified"] == 60
    (message,) = mail.outbox
    assert message.body.count("\n- ") == 50
    assert message.body.index(used.public_id) < message.body.index("not used since")
    assert "and 10 more" in message.body


def test_it_is_german_where_the_site_is(in_use, settings):
    settings.LANGUAGE_CODE = "de"
    notices.notify(days_before(5))
    (message,) = mail.outbox
    assert message.subject == f"Die alten Schlüssel von ada gelten bis {UNTIL}"
    assert "zuletzt verwendet" in message.body
    assert "last used" not in message.body


@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_send_nothing_twice(apikeys, takes):
    takes(knox=TOMORROW)
    for number in range(6):
        user = UserFactory(email=f"p{number}@example.com")
        knox_of(user, expiry=None)
        knox_of(user, expiry=None)
    imported(apikeys, "knox")
    use(*of("knox"))
    at_once(*[notices.notify] * 4)

    assert [to for to, _subject in sent()] == [f"p{number}@example.com" for number in range(6)]
