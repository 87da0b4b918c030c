"""A site may refuse keys that are older than the policy's longest lifetime."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from apikeys import cache, lifecycle, usage
from apikeys.models import EndedUse, State
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import recheck, verify
from tests.factories import bearer, mint_key, mint_pat
from tests.signing import caller, send

pytestmark = pytest.mark.django_db
NOW = timezone.now()


class Ninety(Policy):
    def longest_lifetime(self, owner):
        return timedelta(days=90)

    def token_lifetime(self, owner):
        return timedelta(hours=1)


class OnlyUsers(Policy):
    def longest_lifetime(self, owner):
        return None if hasattr(owner, "slug") else timedelta(days=90)


class Endless(Policy):
    def longest_lifetime(self, owner):
        return timedelta.max


def enforce(settings, policy="Ninety", *, enforced=True, **more):
    given = {
        "POLICY": f"tests.test_longest_lifetime.{policy}",
        "ENFORCE_LONGEST_LIFETIME": enforced,
    }
    settings.APIKEYS = settings.APIKEYS | given | more


def aged(minted, days, expires_at=None):
    """Make a key that was created so many days ago, under a policy without a limit."""
    rows = type(minted.key).objects.filter(pk=minted.key.pk)
    rows.update(created_at=NOW - timedelta(days=days), expires_at=expires_at)
    minted.key.refresh_from_db()
    return minted


@pytest.fixture(params=[mint_pat, mint_key], ids=["token", "key"])
def mint(request):
    return request.param


def test_a_key_that_is_too_old_is_refused_whatever_its_row_says(mint, settings):
    minted = aged(mint(), 91, NOW + timedelta(days=300))
    assert verify(minted.token)

    enforce(settings)
    with pytest.raises(Refused, match="expired_key"):
        verify(minted.token)
    with pytest.raises(Refused, match="expired_key"):
        recheck(minted.key.public_id)
    assert minted.key.state() is State.EXPIRED


def test_a_younger_key_works_until_its_lifetime_ends(mint, settings):
    minted = aged(mint(), 80)
    enforce(settings)
    ends = minted.key.created_at + timedelta(days=90)
    assert verify(minted.token).expires_at == ends
    assert minted.key.state() is State.LIVE
    assert minted.key.state(ends) is State.EXPIRED


def test_an_earlier_expiry_stays(mint, settings):
    soon = NOW + timedelta(days=1)
    minted = aged(mint(), 10, soon)
    enforce(settings)
    assert verify(minted.token).expires_at == soon


def test_a_wrong_secret_does_not_learn_the_age(mint, settings):
    from tests.factories import with_wrong_secret

    minted = aged(mint(), 91)
    enforce(settings)
    with pytest.raises(Refused, match="invalid_key"):
        verify(with_wrong_secret(minted.token))


def test_the_policy_decides_by_owner(settings):
    token, key = aged(mint_pat(), 91), aged(mint_key(), 91)
    enforce(settings, "OnlyUsers")
    assert verify(key.token).expires_at is None
    with pytest.raises(Refused, match="expired_key"):
        verify(token.token)


def test_a_lifetime_beyond_the_calendar_is_no_limit(mint, settings):
    minted = aged(mint(), 10_000)
    enforce(settings, "Endless")
    assert verify(minted.token).expires_at is None


def test_it_takes_one_query_and_no_column_more_if_it_is_off(mint, settings):
    minted = aged(mint(), 10)
    for enforced in (False, True):
        enforce(settings, enforced=enforced)
        with CaptureQueriesContext(
            connection,
        ) as captured:
            verify(minted.token)
        (query,) = captured
        own = query["sql"].partition(" FROM ")[0].count("created_at")
        assert own == (1 if enforced else 0) + has_created_at(minted)


def has_created_at(minted):
    """The columns of the owner, which are fetched anyway."""
    fields = type(minted.key.owner)._meta.concrete_fields
    return sum(field.column == "created_at" for field in fields)


def test_a_cached_key_ends_in_time(mint, settings, monkeypatch):
    minted = aged(mint(), 89)
    enforce(settings)
    monkeypatch.setattr(cache, "_cache", None)
    rows = {}

    def find(lookup, value):
        if (lookup, value) not in rows:
            rows[lookup, value] = lookup.find(value)
        return rows[lookup, value]

    monkeypatch.setattr(cache, "find", find)
    assert verify(minted.token)
    later = timezone.now() + timedelta(days=2)
    monkeypatch.setattr("django.utils.timezone.now", lambda: later)
    with pytest.raises(Refused, match="expired_key"):
        verify(minted.token)


def test_it_works_with_the_user_of_a_project(settings, ada, engine):
    from apikeys.cache.lifetimes import Aging
    from apikeys.verify import _LOOKUPS

    enforce(settings)
    assert all(isinstance(lookup, Aging) for lookup in _LOOKUPS.values())
    enforce(settings, enforced=False)
    assert not any(isinstance(lookup, Aging) for lookup in _LOOKUPS.values())


@pytest.mark.urls("tests.signatures.urls")
def test_a_signed_request_is_refused(client, engine, ada, settings):
    signer = caller(engine, name="worker", by=ada)
    from apikeys.models import ProjectKey

    key = ProjectKey.objects.get(public_id=signer.key_id)
    ProjectKey.objects.filter(pk=key.pk).update(created_at=NOW - timedelta(days=91))
    url = "http://testserver/echo/"
    assert send(client, signer.sign("GET", url)).status_code == 200
    enforce(settings)
    answer = send(client, signer.sign("GET", url))
    assert (answer.status_code, answer.json()["code"]) == (401, "expired_key")


class TestExchanged:
    def exchange(self, client, text):
        form = {
            "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
            "subject_token": text,
            "subject_token_type": "urn:ietf:params:oauth:token-type:access_token",
        }
        return client.post("/o/token/", form)

    def test_its_tokens_are_refused_from_the_next_request_on(self, client, mint, settings):
        minted = aged(mint(), 91)
        text = self.exchange(client, minted.token).json()["access_token"]
        assert verify(text)

        enforce(settings)
        with pytest.raises(Refused, match="invalid_token"):
            verify(text)
        assert self.exchange(client, minted.token).status_code == 400

    def test_its_tokens_end_with_the_lifetime(self, client, mint, settings):
        minted = aged(mint(), 89)
        type(minted.key).objects.update(
            created_at=timezone.now() - timedelta(days=90) + timedelta(minutes=5)
        )
        enforce(settings)
        answer = self.exchange(client, minted.token).json()
        assert answer["expires_in"] <= 300
        assert verify(answer["access_token"]).expires_at <= timezone.now() + timedelta(minutes=5)

    def test_its_tokens_make_no_query_more(self, client, mint, settings):
        minted = aged(mint(), 10)
        text = self.exchange(client, minted.token).json()["access_token"]
        numbers = []
        for enforced in (False, True):
            enforce(settings, enforced=enforced)
            verify(text)
            with CaptureQueriesContext(connection) as captured:
                verify(text)
            numbers.append(len(captured))
        assert numbers[0] == numbers[1]


def test_the_use_after_the_lifetime_is_counted(mint, settings):
    minted = aged(mint(), 91)
    usage.flush()
    enforce(settings)
    with pytest.raises(Refused):
        verify(minted.token)
    usage.flush()
    assert EndedUse.objects.get().code == "expired_key"


def test_it_cannot_be_rotated_or_edited_any_more(mint, settings):
    minted = aged(mint(), 91)
    enforce(settings)
    with pytest.raises(lifecycle.LifecycleError) as refused:
        lifecycle.rotate(minted.key)
    assert refused.value.code == "expired_key"
    with pytest.raises(lifecycle.LifecycleError) as refused:
        lifecycle.edit(minted.key, name="other")
    assert refused.value.code == "expired_key"
    assert lifecycle.revoke(minted.key)


@pytest.mark.slow
def test_pages_and_api_show_when_it_ends(client, ada, settings):
    young, old = aged(mint_pat(ada, scopes=["keys:read"]), 80), aged(mint_pat(ada), 91)
    enforce(settings)
    facts = {
        each["id"]: each
        for each in client.get("/api/tokens/", headers=bearer(young.token)).json()["results"]
    }
    assert facts[old.key.public_id]["state"] == "expired"
    ends = young.key.created_at + timedelta(days=90)
    assert facts[young.key.public_id]["expires_at"] == ends.isoformat()

    client.force_login(ada)
    for minted, words in ((young, "in 10 days"), (old, "expired")):
        url = reverse("apikeys:key", kwargs={"key_id": minted.key.public_id})
        text = client.get(url).content.decode().replace("\xa0", " ")
        assert "This site limits how long it may live." in text
        assert words in text


def test_the_check_reports_a_wrong_value(settings):
    from django.core.checks import run_checks

    enforce(settings, enforced="yes")
    assert "apikeys.E146" in {each.id for each in run_checks()}
