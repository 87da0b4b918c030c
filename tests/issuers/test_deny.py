"""`manage.py apikeys deny` refuses tokens at the next request, and accepts them again."""

import io
import json

import pytest
from django.core.management import CommandError, call_command

from apikeys.issuers.models import Denial
from apikeys.lifecycle import mint
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.issuers.provider import URL, sign

pytestmark = pytest.mark.django_db


def deny(*arguments):
    out = io.StringIO()
    call_command("apikeys", "deny", "--issuer", URL, *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def is_refused(text):
    try:
        verify(text)
    except Refused as refused:
        return refused.refusal.code == "revoked_token"
    return False


@pytest.mark.parametrize("option", ["--subject=u-1", "--jti=7", "--sid=8"])
def test_denied_tokens_are_refused_until_the_denial_is_removed(identity, option):
    text = sign(jti="7", sid="8")
    assert deny(option, "--reason", "Lost laptop")["changed"]
    assert is_refused(text)
    assert not deny(option)["changed"]
    assert Denial.objects.get().reason == "Lost laptop"
    removed = deny(option, "--remove")
    assert (removed["denied"], removed["changed"]) == (False, True)
    assert not is_refused(text)
    assert not deny(option, "--remove")["changed"]


def test_other_tokens_still_work(identity):
    deny("--jti=7")
    assert not is_refused(sign(jti="8"))
    assert not is_refused(sign())
    deny("--subject=u-2")
    assert not is_refused(sign())


def test_denied_token_ends_the_keys_that_it_created(identity, ada, trust):
    from apikeys import grants

    trust(MANAGE_KEYS=True)
    access = verify(sign(scope="payments:read keys:write", jti="7"))
    within = grants.for_tokens(ada, access)
    minted = mint(
        user=ada,
        name="script",
        scopes=["payments:read"],
        expires_at=within.latest_expiry,
        by=ada,
        within=within,
    )
    assert verify(minted.token).user == ada
    deny("--jti=7")
    with pytest.raises(Refused, match="revoked_key"):
        verify(minted.token)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--issuer", "https://other.example.com", "--subject=u-1"], "not in ISSUERS"),
        (["--issuer", URL, "--subject="], "1 to 255 characters"),
        (["--issuer", URL, "--jti", "x" * 256], "1 to 255 characters"),
        (["--issuer", URL], "one of --subject"),
        (["--issuer", URL, "--subject=a", "--jti=b"], "not allowed with"),
        (["--subject=a"], "--issuer and one"),
    ],
)
def test_wrong_argument_is_refused(identity, arguments, message):
    with pytest.raises(CommandError, match=message):
        call_command("apikeys", "deny", *arguments)
    assert not Denial.objects.exists()


def test_people_read_a_sentence(identity):
    out = io.StringIO()
    call_command("apikeys", "deny", "--issuer", URL, "--subject", "u-1", stdout=out)
    assert "Every request with such a token is now refused." in out.getvalue()
