"""The mails about a denial: one for each decision, and not one for each repetition."""

import pytest

from apikeys import lifecycle, reach
from apikeys.conf import MAILS
from apikeys.reach import notices
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def hour(monkeypatch):
    """The hour does not end in the middle of a test."""
    monkeypatch.setattr(notices, "_WINDOW", 10**9)


@pytest.fixture
def root(db):
    return UserFactory(username="root")


@pytest.fixture
def mailed(mailoutbox, django_capture_on_commit_callbacks, engine):
    """Decide about a key, and return the subjects of the mails about this."""

    def mailed(decide, key, **kwargs):
        mailoutbox.clear()
        with django_capture_on_commit_callbacks(execute=True):
            decide(engine, reach.find(engine, key.public_id), **kwargs)
        return [mail.subject for mail in mailoutbox]

    return mailed


def test_denying_a_project_key_sends_one_mail(mailed, root, ada, engine, mailoutbox):
    key = mint_key(engine, name="server").key
    denied = mailed(reach.deny, key, by=root, reason="Leaked?")
    assert denied == ["server of Analytical Engine was paused"]
    assert "Leaked?" in mailoutbox[0].body
    assert "root" in mailoutbox[0].body
    allowed = mailed(reach.allow, key, by=root)
    assert allowed == ["server of Analytical Engine was resumed"]


def test_a_key_that_was_paused_before_gets_the_mail_that_it_was_denied(mailed, root, ada, engine):
    key = mint_key(engine, name="server").key
    lifecycle.pause(key, by=root)
    denied = mailed(reach.deny, key, by=root)
    assert denied == ["server of Analytical Engine was denied in Analytical Engine"]
    allowed = mailed(reach.allow, key, by=root)
    assert allowed == ["server of Analytical Engine was allowed in Analytical Engine"]


def test_a_site_without_the_mail_about_pauses_sends_the_other(mailed, root, ada, engine, settings):
    mails = [name for name in MAILS if name not in ("paused", "resumed")]
    settings.APIKEYS = {**settings.APIKEYS, "NOTICES": mails}
    key = mint_key(engine, name="server").key
    assert len(mailed(reach.deny, key, by=root)) == 1
    assert len(mailed(reach.allow, key, by=root)) == 1


@pytest.mark.slow
def test_a_loop_sends_each_mail_once(mailed, root, ada, engine):
    laptop, other = mint_pat(ada, name="laptop").key, mint_pat(ada, name="other").key
    sent = []
    for _ in range(3):
        sent += [*mailed(reach.deny, laptop, by=root), *mailed(reach.allow, laptop, by=root)]
    assert [subject.split(" in ")[0] for subject in sent] == [
        "laptop of ada was denied",
        "laptop of ada was allowed",
    ]
    assert len(mailed(reach.deny, other, by=root)) == 1, "another credential"


def test_a_mail_that_failed_does_not_count(mailed, root, ada, engine, monkeypatch):
    laptop = mint_pat(ada, name="laptop").key

    def fail(*args, **kwargs):
        raise OSError

    with monkeypatch.context() as broken:
        broken.setattr("django.core.mail.EmailMessage.send", fail)
        assert mailed(reach.deny, laptop, by=root) == []
    mailed(reach.allow, laptop, by=root)
    assert len(mailed(reach.deny, laptop, by=root)) == 1


def test_nobody_is_mailed_about_an_own_decision(mailed, ada, engine):
    laptop = mint_pat(ada, name="laptop").key
    assert mailed(reach.deny, laptop, by=ada) == []
    MembershipFactory(project=engine, role="owner", user__email="")
    assert mailed(reach.deny, mint_key(engine).key, by=ada) == []


def test_mails_about_a_request_say_approved_and_rejected(mailed, root, ada, engine, mailoutbox):
    reach.require_approval(engine, True)
    token = mint_pat(ada, name="laptop").key
    rejected = mailed(reach.deny, token, by=root, reason="Use the server.")
    assert rejected == ["laptop of ada was rejected in Analytical Engine"]
    assert "root rejected this token in the project Analytical Engine." in mailoutbox[0].body
    assert "Use the server." in mailoutbox[0].body
    approved = mailed(reach.allow, token, by=root)
    assert approved == ["laptop of ada was approved in Analytical Engine"]
    assert "root approved this token in the project Analytical Engine." in mailoutbox[0].body
    assert mailed(reach.deny, token, by=root) == [], "one mail of a kind in an hour"


def test_the_mail_about_a_rejected_key_says_so(
    root, ada, mailoutbox, django_capture_on_commit_callbacks
):
    token = mint_pat(ada, name="laptop").key
    token.is_pending = True
    token.save(update_fields=["is_pending"])
    mailoutbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.reject(token, by=root, reason="Ask for less.")
    (mail,) = mailoutbox
    assert mail.subject == "laptop of ada was rejected"
    assert "root rejected laptop. It will never work." in mail.body
    assert "Ask for less." in mail.body
    assert "revoked" not in mail.subject + mail.body
