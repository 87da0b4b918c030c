"""A logout at the provider ends the tokens that were issued before, at the next request."""

import io
import json
import time
from datetime import timedelta

import pytest
from django.core.management import call_command
from django.db.models import QuerySet
from django.test import Client
from django.utils import timezone

from apikeys.issuers import denials, logout
from apikeys.issuers.models import Denial, Identity
from apikeys.lifecycle import mint
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import UserFactory
from tests.issuers import provider
from tests.issuers.provider import URL, sign

pytestmark = pytest.mark.django_db
PATH = "/issuers/backchannel-logout/"


@pytest.fixture(autouse=True)
def _logout(identity, trust):
    trust(LOGOUT_CLIENT_IDS=["web"])


def logout_token(**changes):
    given = {"aud": "web", "jti": "l-1", "events": {logout.EVENT: {}}, **changes}
    return sign(header={"typ": "logout+jwt"}, **given)


def send(text, client=None):
    return (client or Client(enforce_csrf_checks=True)).post(PATH, {"logout_token": text})


def code(text):
    with pytest.raises(Refused) as refused:
        verify(text)
    return refused.value.refusal.code


def test_logout_everywhere_ends_all_tokens_of_the_subject(ada):
    now = int(time.time())
    before = [sign(iat=now - 60), sign(iat=now - 60, sid="s-1"), sign(iat=None)]
    key = mint(user=ada, name="script", scopes=["payments:read"], expires_at=None)
    answer = send(logout_token(iat=now - 30))
    assert (answer.status_code, answer.content) == (200, b"")
    assert answer["Cache-Control"] == "no-store"
    assert [code(text) for text in before] == ["revoked_token"] * 3

    assert verify(sign(iat=now)).user == ada  # she has logged in again
    assert verify(key.token).user == ada  # she did not revoke it


def test_logout_of_a_session_ends_its_tokens_and_those_without_one(ada):
    now = int(time.time())
    assert send(logout_token(sid="s-1", iat=now - 30)).status_code == 200
    assert code(sign(sid="s-1")) == "revoked_token"
    assert code(sign(iat=now - 60)) == "revoked_token"
    assert verify(sign(sid="s-2", iat=now - 60)).user == ada
    assert verify(sign(iat=now)).user == ada


def test_session_is_enough(ada):
    assert send(logout_token(sid="s-1", sub=None)).status_code == 200
    assert code(sign(sid="s-1")) == "revoked_token"


def test_logout_ends_no_tokens_of_others(trust):
    trust("https://other.example.com")
    eve = UserFactory(username="eve")
    Identity.objects.create(issuer=URL, subject="u-2", user=eve)
    Identity.objects.create(issuer="https://other.example.com", subject="u-1", user=eve)
    send(logout_token())
    now = int(time.time()) - 60
    assert verify(sign(sub="u-2", iat=now)).user == eve
    assert verify(sign(iss="https://other.example.com", iat=now)).user == eve


def test_repeated_and_late_logout_changes_nothing():
    now = int(time.time())
    for iat in (now - 30, now - 30, now - 90):
        assert send(logout_token(iat=iat)).status_code == 200
    assert Denial.objects.get().until == now - 30


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({"aud": "other"}, "wrong_audience"),
        ({"aud": provider.AUDIENCE}, "wrong_audience"),
        ({"iss": "https://other.example.com"}, "untrusted_issuer"),
        ({"events": None}, "token_type_not_accepted"),
        ({"events": {}}, "token_type_not_accepted"),
        ({"events": {logout.EVENT: None}}, "token_type_not_accepted"),
        ({"events": [logout.EVENT]}, "token_type_not_accepted"),
        ({"nonce": "n"}, "id_token_not_accepted"),
        ({"sub": None}, "missing_claim"),
        ({"jti": None}, "missing_claim"),
        ({"iat": None}, "missing_claim"),
        ({"exp": None}, "missing_claim"),
        ({"exp": 1}, "expired_token"),
        ({"iat": int(time.time()) + 3600}, "token_not_yet_valid"),
        ({"sub": 1}, "malformed_token"),
        ({"sub": ""}, "malformed_token"),
        ({"sid": ["s-1"]}, "malformed_token"),
    ],
)
def test_other_tokens_end_nothing(changes, expected):
    answer = send(logout_token(**changes))
    assert (answer.status_code, answer.json()["code"]) == (400, expected)
    assert answer.json()["error"] == "invalid_request"
    assert answer["Cache-Control"] == "no-store"
    assert not Denial.objects.exists()


def test_access_token_ends_nothing():
    assert send(sign(aud="web")).json()["code"] == "token_type_not_accepted"


def test_forged_logout_is_refused():
    text = logout_token()
    header, _, signature = text.split(".")
    forged = provider.encoded(json.dumps({**provider.claims(aud="web"), "events": {}}))
    assert send(f"{header}.{forged}.{signature}").json()["code"] == "invalid_token_signature"
    assert send("x").json()["code"] == "untrusted_issuer"
    assert send("").json()["code"] == "untrusted_issuer"


def test_logout_without_its_clients_is_refused(trust):
    trust()
    assert send(logout_token()).json()["code"] == "wrong_audience"


def test_request_names_one_token():
    client = Client()
    assert client.get(PATH).status_code == 405
    assert client.post(PATH).json()["code"] == "malformed_token"
    twice = client.post(PATH, {"logout_token": [logout_token(), logout_token()]})
    assert twice.json()["code"] == "malformed_token"


def test_long_session_is_stored():
    assert send(logout_token(sid="é" * 400)).status_code == 200
    assert code(sign(sid="é" * 400)) == "revoked_token"


def test_logout_token_is_no_access_token():
    assert code(logout_token(aud=provider.AUDIENCE)) == "token_type_not_accepted"
    typed = sign(events={logout.EVENT: {}})
    assert code(typed) == "token_type_not_accepted"


def test_denied_subject_ends_the_keys_that_its_tokens_created(identity, ada):
    access = verify(sign())
    assert denials.are_allowed(access.upstream)
    denials.deny("sub", URL, "u-1", until=1)  # a logout
    assert denials.are_allowed(access.upstream)
    denials.deny("sub", URL, "u-1")
    assert not denials.are_allowed(access.upstream)


def test_logout_weakens_no_denial_of_the_same_moment(identity, monkeypatch):
    """The logout does not see the denial when it looks for one."""
    denials.deny("sub", URL, "u-1")
    query, looks = QuerySet.select_for_update, []

    def look(self, **kwargs):
        looks.append(self)
        return self.none() if len(looks) == 1 else query(self, **kwargs)

    monkeypatch.setattr(QuerySet, "select_for_update", look)
    assert send(logout_token()).status_code == 200
    assert Denial.objects.get().until == denials.ALWAYS
    assert len(looks) == 2


def test_old_logouts_are_pruned():
    now = int(time.time())
    year = 367 * 86400
    for value, until in (("u-1", now - year), ("u-2", now)):
        denials.deny("sub", URL, value, until=until)
    for what in ("sub", "jti", "sid"):
        denials.deny(what, URL, "for good")
    denials.deny("sid", URL, "logged out", until=denials.LOGGED_OUT)
    Denial.objects.update(created_at=timezone.now() - timedelta(days=367))
    denials.deny("sid", URL, "new")
    out = io.StringIO()
    call_command("apikeys", "prune", "--json", stdout=out)
    assert json.loads(out.getvalue())["deleted"] == 2
    kept = set(Denial.objects.values_list("what", "value"))
    good = {(what, "for good") for what in ("sub", "jti", "sid")}
    assert kept == {("sub", "u-2"), ("sid", "new")} | good
