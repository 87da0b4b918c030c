"""Commands whose action sends mail: the answer on standard output is not changed by it."""

import io
import json
from datetime import timedelta

import pytest
from django.core.mail.backends.base import BaseEmailBackend
from django.core.management import call_command
from django.utils import timezone

from apikeys import signals
from apikeys.models import PersonalAccessToken
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_pat

pytestmark = pytest.mark.django_db(transaction=True)

OUT = io.StringIO()  # of the command that runs


class Broken(BaseEmailBackend):
    def send_messages(self, messages):
        raise ConnectionRefusedError("nobody listens")


class Choosy(BaseEmailBackend):
    """Refuses one address."""

    def send_messages(self, messages):
        if "refused@example.com" in messages[0].to:
            raise ConnectionRefusedError("no such address")
        OUT.write(f"mailed {messages[0].to}\n")
        return len(messages)


@pytest.fixture
def run(capsys):
    """Run a command; what it prints to standard output, and what went to standard error."""

    def run(*words):
        OUT.seek(0)
        OUT.truncate()
        call_command(*words, stdout=OUT)
        captured = capsys.readouterr()
        assert captured.out == ""
        return OUT.getvalue(), captured.err

    return run


def mint(*more):
    return "apikeys", "mint", "--user", "ada", "--name", "ci", "--scope", "reports:read", *more


def rotate(key):
    return "apikeys", "rotate", key.public_id, "--json"


def revoke(key):
    return "apikeys", "revoke", key.public_id, "--reason", "Old.", "--json"


def notify(key):
    soon, past = timezone.now() + timedelta(days=1), timezone.now() - timedelta(days=60)
    PersonalAccessToken.objects.filter(pk=key.pk).update(expires_at=soon, created_at=past)
    return "apikeys", "notify", "--json"


@pytest.mark.parametrize("command", [lambda key: mint("--json"), rotate, revoke, notify])
def test_json_stays_json_under_the_console_mail_backend(ada, settings, run, command):
    key = mint_pat(ada).key
    settings.EMAIL_BACKEND = "django.core.mail.backends.console.EmailBackend"

    out, err = run(*command(key))

    assert json.loads(out)
    if command is not rotate:  # which sends none
        assert "To: ada@example.com" in err


def test_json_stays_json_if_a_signal_receiver_prints(ada, run):
    def receive(key, **kwargs):
        print("minted", key)

    signals.key_minted.connect(receive)
    try:
        out, err = run(*mint("--json"))
    finally:
        signals.key_minted.disconnect(receive)

    assert json.loads(out)["token"]
    assert "minted" in err


def test_the_token_is_printed_before_the_mail_is_sent(ada, settings, run):
    settings.EMAIL_BACKEND = "tests.management.test_mail.Choosy"
    out, _ = run(*mint("--json"))
    token, _, rest = out.rpartition("mailed")
    assert json.loads(token)["token"]
    assert rest == " ['ada@example.com']\n"


def test_minting_succeeds_while_the_mail_server_is_away(ada, settings, run, caplog):
    settings.EMAIL_BACKEND = "tests.management.test_mail.Broken"
    out, _ = run(*mint("--json"))
    assert verify(json.loads(out)["token"]).kind
    (record,) = caplog.records
    assert "Could not send the mail" in record.getMessage()
    assert record.exc_info is None


def test_if_one_address_is_refused_the_others_get_their_mail(settings, run, caplog):
    member = MembershipFactory(user__email="ada@example.com", role="owner")
    MembershipFactory(project=member.project, user__email="refused@example.com", role="owner")
    settings.EMAIL_BACKEND = "tests.management.test_mail.Choosy"

    command = ["apikeys", "mint", "--project", member.project.slug, "--name", "ci"]
    out, _ = run(*command, "--scope", "reports:read", "--json")

    assert "mailed ['ada@example.com']" in out
    assert "no such address" in caplog.text
