"""Mail to the owners of keys: who gets which, once, and what stands in it."""

import os
from datetime import timedelta
from email import message_from_string, policy
from unittest.mock import patch

import pytest
from django.core import checks, mail
from django.test import Client, override_settings
from django.utils import timezone

from apikeys import lifecycle
from apikeys.checks.mail import check_mail
from apikeys.mail import deadlines
from apikeys.models import AuditEvent, PersonalAccessToken
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat
from tests.threads import at_once

NOW = timezone.now()


@pytest.fixture
def committed(django_capture_on_commit_callbacks):
    """Within it, what is done counts as committed."""
    return lambda: django_capture_on_commit_callbacks(execute=True)


@pytest.fixture
def project(db):
    project = ProjectFactory(slug="engine", name="Analytical Engine")
    for name, role in (("own", "owner"), ("adm", "admin"), ("dev", "developer")):
        user = UserFactory(username=name, email=f"{name}@example.com")
        MembershipFactory(project=project, user=user, role=role)
    gone = UserFactory(email="gone@example.com", is_active=False)
    MembershipFactory(project=project, user=gone, role="owner")
    return project


def sent():
    return sorted((message.to[0], message.subject) for message in mail.outbox)


def test_a_new_token_is_mailed_to_its_user(ada, committed):
    with committed():
        minted = mint_pat(ada, by=ada, name="laptop")
    (message,) = mail.outbox

    assert sent() == [("ada@example.com", "laptop of ada was created")]
    assert "ada created laptop for ada." in message.body
    assert minted.key.public_id in message.body
    assert "payments:read" in message.body
    assert minted.token[26:] not in str(message.message())
    assert message.message()["Auto-Submitted"] == "auto-generated"


def test_a_new_project_key_is_mailed_to_the_users_who_manage_keys(project, committed):
    with committed():
        mint_key(project, name="server")
    subject = "server of Analytical Engine was created"
    assert sent() == [("adm@example.com", subject), ("own@example.com", subject)]
    assert all(len(message.to) == 1 for message in mail.outbox)


def test_a_key_that_is_rolled_back_sends_no_mail(ada, committed):
    with committed(), pytest.raises(lifecycle.LifecycleError):
        mint_pat(ada, name="")
    assert not mail.outbox


def test_a_user_gets_a_mail_if_somebody_else_revokes_the_token(ada, committed):
    root = UserFactory(username="root", email="root@example.com")
    first, second, third = (mint_pat(ada, name=f"laptop {n}").key for n in range(3))
    with committed():
        lifecycle.revoke(first, by=ada)
        lifecycle.revoke(second, by=root, reason="Unused.")
        lifecycle.revoke(third)
    assert [subject for _to, subject in sent()] == [
        "laptop 1 of ada was revoked",
        "laptop 2 of ada was revoked",
    ]
    assert "root revoked laptop" in mail.outbox[0].body
    assert "Unused." in mail.outbox[0].body


def test_the_user_who_revokes_a_project_key_gets_no_mail(project, committed):
    key = mint_key(project).key
    with committed():
        lifecycle.revoke(key, by=project.memberships.get(role="admin").user)
    assert [to for to, _subject in sent()] == ["own@example.com"]


def test_a_user_gets_a_mail_if_somebody_else_pauses_or_resumes_the_token(ada, committed):
    key, root = mint_pat(ada, name="laptop").key, UserFactory(username="root")
    with committed():
        lifecycle.pause(key, by=ada)
        lifecycle.resume(key, by=ada)
    assert not mail.outbox

    with committed():
        lifecycle.pause(key, by=root, reason="Too many requests.", held=True)
    with committed():
        lifecycle.resume(key, by=root, as_admin=True)
    assert sent() == [
        ("ada@example.com", "laptop of ada was paused"),
        ("ada@example.com", "laptop of ada was resumed"),
    ]
    paused, resumed = (message.body for message in mail.outbox)
    assert "root paused laptop" in paused
    assert "Too many requests." in paused
    assert "Only a site admin can resume it" in paused
    assert "root resumed laptop" in resumed


def test_who_pauses_a_project_key_gets_no_mail(project, committed):
    key = mint_key(project).key
    with committed():
        lifecycle.pause(key, by=project.memberships.get(role="admin").user)
    assert [to for to, _subject in sent()] == ["own@example.com"]
    assert "You can resume it on its page" in mail.outbox[0].body


@pytest.mark.parametrize("done", ["paused", "resumed"])
def test_keys_that_are_paused_together_send_one_mail(ada, committed, done):
    keys = [mint_pat(ada, name=f"job {n}").key for n in range(3)]
    if done == "resumed":
        lifecycle.pause_all(keys)
    with committed():
        changed = lifecycle.pause_all(keys) if done == "paused" else lifecycle.resume_all(keys)
    assert len(changed) == 3
    assert sent() == [("ada@example.com", f"3 credentials of ada were {done}")]
    assert all(key.public_id in mail.outbox[0].body for key in keys)


def test_the_expiry_notice_of_a_paused_key_says_so(ada, settings):
    settings.APIKEYS = settings.APIKEYS | {"SITE_URL": "https://acme.example"}
    key = ending(ada, days=6)
    lifecycle.pause(key, by=ada)
    deadlines.notify(NOW)
    (message,) = mail.outbox
    assert "It is paused now. If you still need it, resume it and then rotate it." in (message.body)
    assert f"https://acme.example/settings/keys/{key.public_id}/\n" in message.body


def test_a_leak_sends_one_mail_and_none_about_the_revocation(ada, committed):
    minted = mint_pat(ada, name="laptop")
    with committed():
        Client().post("/api/leaked/", {"token": minted.token}, content_type="application/json")
    (message,) = mail.outbox
    assert message.subject == "laptop of ada was reported as leaked"
    assert "it was revoked" in " ".join(message.body.split())
    assert minted.token[26:] not in str(message.message())


def test_a_mail_server_that_is_away_fails_nothing_and_is_logged(ada, committed, settings, caplog):
    settings.EMAIL_BACKEND = "tests.test_mail.Broken"
    with committed():
        minted = mint_pat(ada)
    assert PersonalAccessToken.objects.get() == minted.key
    (told,) = caplog.records
    assert told.getMessage() == (
        f"Could not send the mail that {minted.key.public_id} was minted: nobody listens"
    )
    assert told.exc_info is None


def test_a_site_without_mail_gets_one_hint_and_no_line_at_each_creation(
    ada, committed, settings, caplog, monkeypatch
):
    monkeypatch.setattr("sys.argv", ["manage.py", "check"])
    with patch("apikeys.mail.is_configured", return_value=False):
        (hint,) = check_mail()
        with override_settings(DEBUG=True):
            assert check_mail() == [hint]
        settings.EMAIL_BACKEND = "tests.test_mail.Broken"
        with committed():
            minted = mint_pat(ada)
        assert PersonalAccessToken.objects.get() == minted.key
        assert not [record for record in caplog.records if record.levelname != "DEBUG"]
        settings.APIKEYS = settings.APIKEYS | {"NOTICES": ()}
        assert check_mail() == []
    assert (hint.id, hint.level) == ("apikeys.I001", checks.INFO)


@pytest.mark.parametrize("is_debug", [True, False])
@pytest.mark.parametrize("command", ["runserver", "migrate", "test", "apikeys", "demo"])
def test_only_check_prints_the_hint(monkeypatch, settings, command, is_debug):
    settings.DEBUG = is_debug
    monkeypatch.setattr("sys.argv", ["manage.py", command])
    with patch("apikeys.mail.is_configured", return_value=False):
        assert check_mail() == []
        monkeypatch.setattr("sys.argv", ["manage.py", "check", "--deploy"])
        assert [each.id for each in check_mail()] == ["apikeys.I001"]


@pytest.mark.parametrize("name", ["EMAIL_HOST", "EMAIL_BACKEND"])
def test_a_site_with_mail_gets_no_hint(settings, monkeypatch, name):
    monkeypatch.setattr("sys.argv", ["manage.py", "check"])
    setattr(settings, name, "mail.acme.example")
    assert check_mail() == []


class Broken:
    def __init__(self, *args, **kwargs):
        pass

    def send_messages(self, messages):
        raise ConnectionRefusedError("nobody listens")


def test_mails_that_are_not_in_notices_are_not_sent(ada, committed, settings):
    settings.APIKEYS = settings.APIKEYS | {"NOTICES": ()}
    with committed():
        mint_pat(ada)
    assert not mail.outbox


def ending(owner, **ends):
    """A key of ``owner`` that was made 60 days ago and ends in this time."""
    key = mint_pat(owner, name="old", expires_at=NOW + timedelta(**ends)).key
    PersonalAccessToken.objects.filter(pk=key.pk).update(created_at=NOW - timedelta(days=60))
    key.refresh_from_db()
    return key


@pytest.mark.slow
def test_expiry_notices_are_sent_once_7_days_and_once_1_day_before(ada):
    key = ending(ada, days=8)
    told = []
    for hours in range(0, 8 * 24 + 6, 6):
        mail.outbox.clear()
        deadlines.notify(NOW + timedelta(hours=hours))
        told += [(hours, message.subject) for message in mail.outbox]

    assert told == [
        (24, "old of ada expires within 7 days"),
        (7 * 24, "old of ada expires within a day"),
    ]
    events = AuditEvent.objects.filter(public_id=key.public_id).order_by("pk")
    assert [e.event for e in events] == ["minted", "notified", "notified", "expired"]
    assert events[3].at == key.expires_at


@pytest.mark.parametrize("url", ["https://acme.example", "https://acme.example/app/", None])
def test_expiry_notice_links_to_the_rotation_page(ada, project, settings, url):
    settings.APIKEYS = settings.APIKEYS | {"SITE_URL": url}
    token = ending(ada, days=6)
    key = mint_key(project, expires_at=NOW + timedelta(days=6)).key
    type(key).objects.filter(pk=key.pk).update(created_at=NOW - timedelta(days=60))
    mail.outbox.clear()
    deadlines.notify(NOW)
    told = "\n".join(message.body for message in mail.outbox)
    for page in (
        f"/settings/keys/{token.public_id}/rotate/",
        f"/settings/keys/projects/{key.project.slug}/{key.public_id}/rotate/",
    ):
        assert (f"\n{(url or '').rstrip('/')}{page}\n" in told) == (url is not None)


def test_a_late_first_run_sends_one_notice(ada):
    ending(ada, hours=12)
    assert deadlines.notify()["notified"] == 1
    assert [subject for _to, subject in sent()] == ["old of ada expires within a day"]


def test_keys_that_need_no_notice_get_none(ada):
    mint_pat(ada, expires_at=NOW + timedelta(days=2))  # made for two days: not a week ahead
    mint_pat(ada, expires_at=NOW + timedelta(hours=2))
    lifecycle.revoke(ending(ada, days=3))
    lifecycle.rotate(ending(ada, hours=30), expires_at=NOW + timedelta(days=50))
    ending(ada, days=30)
    mail.outbox.clear()
    deadlines.notify()
    assert not mail.outbox


def test_a_changed_expiry_is_noticed_again(ada):
    key = ending(ada, days=3)
    deadlines.notify()
    lifecycle.edit(key, expires_at=NOW + timedelta(days=20))
    deadlines.notify(NOW + timedelta(days=14))
    assert len(mail.outbox) == 2


def test_a_notice_that_could_not_be_sent_is_tried_again(ada, notify_twice):
    ending(ada, days=3)
    assert notify_twice() == {"expired": 0, "notified": 1, "idle": 0, "failed": 0}
    assert len(mail.outbox) == 1


def test_without_a_recipient_no_notice_is_recorded(ada, settings):
    """Nobody has an address, or the site wants no such mail; once that has changed, they are."""
    key = ending(ada, days=3)
    notified = AuditEvent.objects.filter(public_id=key.public_id, event="notified")
    ada.email = ""
    ada.save()

    assert deadlines.notify()["notified"] == 0
    ada.email = "ada@example.com"
    ada.save()
    with override_settings(APIKEYS=settings.APIKEYS | {"NOTICES": ["minted"]}):
        assert deadlines.notify()["notified"] == 0
    assert not notified.exists()

    assert deadlines.notify()["notified"] == 1
    assert notified.exists()


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_two_runs_at_once_send_each_notice_once():
    for n in range(10):
        ending(UserFactory(email=f"p{n}@example.com"), days=3)
    mail.outbox.clear()
    at_once(*[deadlines.notify] * 4)

    assert sorted(message.to[0] for message in mail.outbox) == [
        f"p{n}@example.com" for n in range(10)
    ]


def test_a_site_can_override_and_translate_the_text(ada, committed, settings, tmp_path):
    (tmp_path / "apikeys" / "mail").mkdir(parents=True)
    (tmp_path / "apikeys" / "mail" / "minted.txt").write_text("Hello {{ owner }}, {{ name }}!")
    settings.TEMPLATES = [settings.TEMPLATES[0] | {"DIRS": [tmp_path]}]
    with committed():
        mint_pat(ada, name="a & b")
    assert mail.outbox[0].body == "Hello ada, a &amp; b!"


def test_mails_are_readable_files_with_their_headers(ada, committed, settings, tmp_path):
    settings.EMAIL_BACKEND = "django.core.mail.backends.filebased.EmailBackend"
    settings.EMAIL_FILE_PATH = tmp_path
    settings.DEFAULT_FROM_EMAIL = "keys@acme.example"
    root = UserFactory(username="root")
    with committed():
        minted = mint_pat(ada, by=ada, name="<laptop> & co")
        lifecycle.revoke(minted.key, by=root, reason="Lost.")
    ending(ada, days=3)
    deadlines.notify()

    found = []
    for name in sorted(os.listdir(tmp_path)):
        *texts, _end = (tmp_path / name).read_text().split("-" * 79 + "\n")
        found += [message_from_string(text, policy=policy.default) for text in texts]
    assert {str(message["To"]) for message in found} == {"ada@example.com"}
    assert {str(message["From"]) for message in found} == {"keys@acme.example"}
    assert sorted(str(message["Subject"]) for message in found) == [
        "<laptop> & co of ada was created",
        "<laptop> & co of ada was revoked",
        "old of ada expires within 7 days",
    ]
    for message in found:
        assert minted.token[26:] not in message.get_content()
        assert "{{" not in message.get_content()
