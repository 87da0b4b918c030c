"""No claim takes over an account: identities are linked by an admin, or as the site says."""

import threading

import pytest
from django.contrib.auth import get_user_model
from django.db import connection

from apikeys.issuers import bearer, identities, mapping, trusted
from apikeys.issuers.models import Identity
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import UserFactory
from tests.issuers.provider import AUDIENCE, URL, jwks, sign

pytestmark = pytest.mark.django_db
User = get_user_model()


class JustInTime(Policy):
    calls = 0

    def external_user(self, issuer, claims):
        type(self).calls += 1
        return User.objects.create_user(f"{claims['sub']}@acme")


@pytest.fixture
def just_in_time(settings, trust):
    trust()
    JustInTime.calls = 0
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": JustInTime}


def code(text):
    with pytest.raises(Refused) as refused:
        verify(text)
    return refused.value.refusal.code


def test_no_user_is_created_by_default(trust):
    trust()
    assert code(sign(email="ada@example.com", email_verified=True)) == "unknown_identity"
    assert not Identity.objects.exists()
    assert not User.objects.exists()


def test_policy_creates_a_user_once(just_in_time, django_assert_num_queries):
    first = verify(sign()).user
    assert first.username == "u-1@acme"
    with django_assert_num_queries(1):
        assert verify(sign(username="root")).user == first
    assert JustInTime.calls == 1


def test_policy_is_not_asked_before_the_token_is_verified(just_in_time):
    header, payload, signature = sign().split(".")
    changed = "A" if signature[0] != "A" else "B"
    assert code(f"{header}.{payload}.{changed}{signature[1:]}") == "invalid_token_signature"
    assert code(sign(nonce="n")) == "id_token_not_accepted"
    assert JustInTime.calls == 0


def test_denied_subject_gets_no_user(just_in_time):
    from apikeys.issuers import denials

    denials.deny("sub", URL, "u-1")
    assert code(sign()) == "revoked_token"
    assert not User.objects.exists()


def test_failing_policy_leaves_nothing(settings, trust):
    class Fails(Policy):
        def external_user(self, issuer, claims):
            User.objects.create_user("half")
            raise RuntimeError("The directory is down.")

    trust()
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Fails}
    with pytest.raises(RuntimeError):
        verify(sign())
    assert not User.objects.exists()


def test_user_that_the_database_refuses_is_unknown(just_in_time, caplog):
    User.objects.create_user("u-1@acme")
    assert code(sign()) == "unknown_identity"
    assert not Identity.objects.exists()
    assert "could not create the user" in caplog.text


@pytest.mark.django_db(transaction=True)
def test_first_requests_at_once_create_one_user(just_in_time):
    """All threads reach the policy before one of them commits."""
    start, users = threading.Barrier(3), []

    def request():
        start.wait(10)
        try:
            users.append(verify(sign()).user.pk)
        finally:
            connection.close()

    threads = [threading.Thread(target=request) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(users) == 3
    assert set(users) == {User.objects.get().pk}


# MATCH


@pytest.fixture
def by_email(ada, trust):
    trust(MATCH={"email": "email"})
    return ada


def test_verified_address_finds_its_user_once(by_email):
    assert verify(sign(email="ada@example.com", email_verified=True)).user == by_email
    # From now on `sub` decides, whatever else the token says.
    assert verify(sign(email="eve@example.com")).user == by_email


@pytest.mark.parametrize("verified", [None, False, "true", 1, ["true"]])
def test_address_that_is_not_verified_finds_nobody(by_email, verified):
    assert code(sign(email="ada@example.com", email_verified=verified)) == "unknown_identity"


@pytest.mark.parametrize(
    "address", ["ADA@example.com", "ada@example.com ", "", None, ["a"], "%", "\ud800", "a\0b"]
)
def test_other_spelling_finds_nobody(by_email, address):
    assert code(sign(email=address, email_verified=True)) == "unknown_identity"


def test_address_of_two_users_finds_nobody(by_email):
    UserFactory(username="ada2", email="ada@example.com")
    assert code(sign(email="ada@example.com", email_verified=True)) == "unknown_identity"


def test_recycled_address_does_not_take_over_the_account(by_email):
    verify(sign(email="ada@example.com", email_verified=True))
    assert code(sign(sub="u-2", email="ada@example.com", email_verified=True)) == "unknown_identity"


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_admin_is_never_matched(by_email, right):
    setattr(by_email, right, True)
    by_email.save()
    assert code(sign(email="ada@example.com", email_verified=True)) == "unknown_identity"


def test_unverified_claim_never_finds_an_address(by_email, trust):
    trust(MATCH={"preferred_username": "email"})
    # The issuer vouches for another address.
    text = sign(preferred_username="ada@example.com", email="eve@example.com", email_verified=True)
    assert code(text) == "invalid_token"  # such an entry trusts nothing
    assert not Identity.objects.exists()


def test_unverified_claim_finds_no_address_even_if_the_entry_is_trusted(by_email, monkeypatch):
    monkeypatch.setattr(mapping, "fault", lambda match: None)
    entry = {"MATCH": {"preferred_username": "email"}, "AUDIENCES": [AUDIENCE], "JWKS": jwks()}
    text = sign(preferred_username="ada@example.com", email="eve@example.com", email_verified=True)
    with pytest.raises(Refused, match="unknown_identity"):
        identities.enrol(bearer.verify(text, trusted.build(URL, entry)))


@pytest.mark.parametrize("field", ["pk", "id", "nofield", "username__startswith", "password__in"])
def test_entry_that_matches_by_a_name_without_text_trusts_nothing(ada, trust, field):
    trust(MATCH={"preferred_username": field})
    assert code(sign(preferred_username=str(ada.pk))) == "invalid_token"
    assert code(sign(sub="u-2", preferred_username="ad")) == "invalid_token"


def test_name_finds_its_user(ada, trust):
    trust(MATCH={"preferred_username": "username"})
    assert verify(sign(preferred_username="ada")).user == ada
    assert code(sign(sub="u-2", preferred_username="Ada")) == "unknown_identity"


def test_policy_that_returns_a_user_without_a_row_links_nobody(settings, trust):
    class Unsaved(Policy):
        def external_user(self, issuer, claims):
            return User(username="x")

    trust()
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Unsaved}
    assert code(sign()) == "unknown_identity"
    assert not Identity.objects.exists()
