"""Unused keys: the owner is warned 14 and 3 days before, then the key is paused or revoked."""

from datetime import timedelta

import pytest
from django.core import mail
from django.core.checks import run_checks
from django.core.management import call_command
from django.utils import timezone

from apikeys import lifecycle
from apikeys.mail import deadlines, idle
from apikeys.models import AuditEvent, PersonalAccessToken, State
from apikeys.policy import Policy
from tests.factories import UserFactory, mint_key, mint_pat
from tests.threads import at_once

pytestmark = pytest.mark.django_db
NOW = timezone.now()


class Limited(Policy):
    """Keys may stay unused for 90 days."""

    days = 90

    def longest_idle(self, owner):
        return timedelta(days=self.days)


class Short(Limited):
    days = 10


class OnlyProjects(Policy):
    def longest_idle(self, owner):
        return timedelta(days=90) if hasattr(owner, "slug") else None


def policy(settings, cls=Limited, **more):
    path = f"tests.test_idle.{cls.__name__}"
    given = {"POLICY": path, "LAST_USED_INTERVAL": 5}
    settings.APIKEYS = settings.APIKEYS | given | more


@pytest.fixture(autouse=True)
def limited(settings, monkeypatch):
    monkeypatch.setattr("apikeys.usage._start", lambda: None)  # no thread writes uses
    policy(settings)


def old(minted, days=60, **fields):
    """Make a key that was created so many days ago."""
    key = minted.key
    rows = type(key).objects.filter(pk=key.pk)
    rows.update(**{"created_at": NOW - timedelta(days=days)} | fields)
    key.refresh_from_db()
    mail.outbox.clear()
    return key


def run(first, last, step=1):
    """Run the command on each of these days, and return what happened on which."""
    told = []
    for day in range(first, last, step):
        mail.outbox.clear()
        done = deadlines.notify(NOW + timedelta(days=day, minutes=1))
        told += [(day, message.subject) for message in mail.outbox]
        told += [(day, "ended")] * done["idle"]
    return told


def state(key):
    return type(key).objects.get(pk=key.pk).state()


@pytest.mark.slow
def test_the_owner_is_warned_14_and_3_days_before_and_the_key_is_paused(ada):
    key = old(mint_pat(ada, name="laptop"), days=60)

    assert run(0, 40)[:3] == [
        (16, "laptop of ada is unused and will be paused within 14 days"),
        (27, "laptop of ada is unused and will be paused within 3 days"),
        (30, "ended"),
    ]
    assert state(key) is State.PAUSED
    key.refresh_from_db()
    assert key.paused_reason == "Not used for 90 days."
    assert not key.is_held
    assert AuditEvent.objects.filter(public_id=key.public_id, event="paused").count() == 1


@pytest.mark.slow
@pytest.mark.parametrize("mint", [mint_pat, mint_key], ids=["token", "key"])
def test_a_site_may_revoke_instead(mint, settings):
    policy(settings, WHEN_IDLE="revoke")
    key = old(mint(), days=60)
    run(0, 31)
    assert state(key) is State.REVOKED


def test_the_mail_says_what_will_happen_and_when(ada, settings):
    policy(settings, WHEN_IDLE="revoke", SITE_URL="https://acme.example")
    key = old(mint_pat(ada, name="laptop"), days=80)
    deadlines.notify(NOW)
    (message,) = mail.outbox
    assert message.subject == "laptop of ada is unused and will be revoked within 14 days"
    assert "It will be revoked on" in message.body
    assert "unless a request uses it before then" in message.body
    assert f"https://acme.example/settings/keys/{key.public_id}/" in message.body


@pytest.mark.slow
def test_a_policy_of_yesterday_ends_no_key_without_14_days_of_warning(ada):
    key = old(mint_pat(ada), days=1000)
    told = run(0, 20)
    assert [day for day, _ in told] == [0, 11, 14]
    assert told[-1] == (14, "ended")
    assert state(key) is State.PAUSED


def test_a_late_second_run_still_ends_no_key_before_its_time(ada):
    key = old(mint_pat(ada), days=60)
    deadlines.notify(NOW + timedelta(days=29))  # late: a day before the limit
    deadlines.notify(NOW + timedelta(days=42))
    assert state(key) is State.LIVE
    deadlines.notify(NOW + timedelta(days=43, minutes=1))
    assert state(key) is State.PAUSED


@pytest.mark.slow
@pytest.mark.parametrize("field", ["last_used_at", "approved_at", "resumed_at", "not_before"])
def test_the_time_without_use_counts_from_the_latest_of(field):
    key = old(mint_pat(), days=1000, **{field: NOW - timedelta(days=10)})
    assert run(0, 60) == []
    assert state(key) is State.LIVE


@pytest.mark.slow
def test_a_use_after_the_warning_starts_again(ada):
    key = old(mint_pat(ada), days=80)
    assert len(run(0, 1)) == 1
    type(key).objects.update(last_used_at=NOW + timedelta(days=5))
    assert run(2, 80) == []
    assert len(run(81, 82)) == 1
    assert state(key) is State.LIVE


@pytest.mark.slow
def test_resuming_gives_a_full_new_span(ada):
    key = old(mint_pat(ada), days=80)
    run(0, 20)
    assert state(key) is State.PAUSED
    lifecycle.resume(key)
    type(key).objects.filter(pk=key.pk).update(resumed_at=NOW)
    assert run(0, 76) == []
    assert len(run(76, 77)) == 1


def test_a_key_that_is_used_between_the_reading_and_the_end_is_kept(ada, monkeypatch):
    from apikeys.lifecycle import locking

    key = old(mint_pat(ada), days=1000)
    run(0, 1)
    right = locking.lock

    def used_first(given):
        type(key).objects.filter(pk=given.pk).update(last_used_at=NOW)
        right(given)

    monkeypatch.setattr(locking, "lock", used_first)
    assert (15, "ended") not in run(15, 16)
    assert state(key) is State.LIVE


@pytest.mark.slow
@pytest.mark.parametrize("end", [lifecycle.pause, lifecycle.revoke])
def test_a_key_that_ends_between_the_reading_and_the_end_keeps_its_reason(ada, end):
    key = old(mint_pat(ada), days=60)
    run(0, 28)
    read = PersonalAccessToken.objects.select_related("user").get(pk=key.pk)
    end(key, reason="Not needed now.")

    assert idle.act(read, timedelta(days=90), NOW + timedelta(days=31)) == ""
    key.refresh_from_db()
    assert "Not needed now." in (key.paused_reason, key.revoked_reason)


@pytest.mark.slow
def test_a_key_waits_until_its_last_uses_are_written(ada, settings):
    policy(settings, LAST_USED_INTERVAL=3600)
    key = old(mint_pat(ada), days=60)
    run(0, 28)
    limit, ends = timedelta(days=90), key.created_at + timedelta(days=90)

    assert idle.act(key, limit, ends + timedelta(minutes=119)) == ""
    assert idle.act(key, limit, ends + timedelta(minutes=121)) == "idle"


@pytest.mark.slow
def test_keys_that_do_not_work_are_left_alone(ada):
    paused, pending, rotated, revoked, expired = (old(mint_pat(ada), 1000) for _ in range(5))
    lifecycle.pause(paused, reason="Mine.")
    type(pending).objects.filter(pk=pending.pk).update(is_pending=True)
    lifecycle.rotate(rotated)
    lifecycle.revoke(revoked)
    type(expired).objects.filter(pk=expired.pk).update(expires_at=NOW)
    PersonalAccessToken.objects.filter(replaces=rotated).update(last_used_at=NOW)
    mail.outbox.clear()
    assert [each for each in run(0, 40) if "unused" in each[1] or each[1] == "ended"] == []
    paused.refresh_from_db()
    assert paused.paused_reason == "Mine."


def test_without_a_limit_nothing_happens_and_the_policy_is_not_asked(ada, settings):
    policy(settings, Policy)
    settings.APIKEYS = settings.APIKEYS | {"POLICY": "apikeys.policy.Policy"}
    key = old(mint_pat(ada), days=10_000)
    assert run(0, 40, step=10) == []
    assert state(key) is State.LIVE


@pytest.mark.slow
def test_the_policy_decides_by_owner(ada, engine, settings):
    policy(settings, OnlyProjects)
    token, key = old(mint_pat(ada), days=1000), old(mint_key(engine), days=1000)
    run(0, 16)
    assert (state(token), state(key)) == (State.LIVE, State.PAUSED)


def test_the_policy_is_asked_once_per_owner(ada, settings, mocker):
    asked = mocker.patch.object(Limited, "longest_idle", return_value=timedelta(days=90))
    for _ in range(5):
        old(mint_pat(ada), days=10)
    deadlines.notify(NOW)
    asked.assert_called_once_with(ada)


def test_a_site_that_writes_no_uses_ends_no_key(ada, settings):
    policy(settings, LAST_USED_INTERVAL=None)
    key = old(mint_pat(ada), days=1000)
    assert run(0, 40, step=10) == []
    assert state(key) is State.LIVE


@pytest.mark.slow
def test_a_short_limit_warns_only_after_half_of_it(ada, settings):
    policy(settings, Short)
    key = old(mint_pat(ada), days=1)
    assert [day for day, _ in run(0, 30)] == [4, 15, 18]
    assert state(key) is State.PAUSED


@pytest.mark.slow
def test_without_a_mail_address_the_warning_is_recorded(settings):
    key = old(mint_pat(UserFactory(email="")), days=1000)
    assert run(0, 15) == [(14, "ended")]
    assert state(key) is State.PAUSED
    first = AuditEvent.objects.filter(public_id=key.public_id, event="notified").earliest("pk")
    assert first.changes["mailed"] is False
    assert first.changes["days"] == 14


def test_a_warning_that_could_not_be_sent_is_tried_again_and_nothing_ends(ada, settings):
    key = old(mint_pat(ada), days=1000)
    settings.EMAIL_BACKEND = "tests.test_mail.Broken"
    for day in (0, 20, 40):
        done = deadlines.notify(NOW + timedelta(days=day))
        assert (done["failed"], done["idle"]) == (1, 0)
    assert state(key) is State.LIVE


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_runs_at_once_warn_and_end_once():
    keys = [old(mint_pat(UserFactory(email=f"p{n}@example.com")), days=1000) for n in range(5)]
    mail.outbox.clear()
    at_once(*[lambda: deadlines.notify(NOW)] * 3)
    assert len(mail.outbox) == 5
    at_once(*[lambda: deadlines.notify(NOW + timedelta(days=15))] * 3)
    assert AuditEvent.objects.filter(event="paused").count() == len(keys)


def test_the_command_says_how_many_it_ended(ada, capsys, monkeypatch):
    old(mint_pat(ada), days=1000)
    run(0, 1)
    later = NOW + timedelta(days=15)
    monkeypatch.setattr("apikeys.databases.clock.now", lambda *args: later)
    call_command("apikeys", "notify")
    assert "Paused 1 unused key." in capsys.readouterr().out


def test_a_wrong_value_of_the_setting_is_reported(settings):
    policy(settings, WHEN_IDLE="delete")
    assert "apikeys.E145" in {each.id for each in run_checks()}


def test_the_api_lists_unused_keys(client, ada):
    from tests.factories import bearer

    caller = mint_pat(ada, scopes=["keys:read"])
    unused = old(mint_pat(ada), days=1000)
    old(mint_pat(ada), days=1000, last_used_at=NOW)

    def ids(text):
        answer = client.get(f"/api/tokens/?unused_for={text}", headers=bearer(caller.token))
        assert answer.status_code == 200, answer.content
        return [each["id"] for each in answer.json()["results"]]

    assert ids("90d") == [unused.public_id]
    assert ids("3y") == []
    assert ids("999999y") == []


@pytest.mark.parametrize("text", ["90", "-1d", "soon", "9999999y", "90d, 1d", "0", "٩d"])
def test_the_api_refuses_what_is_no_duration(client, ada, text):
    from tests.factories import bearer

    caller = mint_pat(ada, scopes=["keys:read"])
    answer = client.get(f"/api/tokens/?unused_for={text}", headers=bearer(caller.token))
    assert answer.status_code == 400
    assert answer.json()["field"] == "unused_for"


def test_commands_refuse_a_duration_before_the_calendar(ada):
    from django.core.management import CommandError

    for words in (["list"], ["revoke", "--yes"]):
        with pytest.raises(CommandError):
            call_command("apikeys", *words, "--unused-for", "999999y")
