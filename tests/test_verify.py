"""From the text of a credential to who it is: the price of it, and every refusal."""

from datetime import timedelta

import pytest
from django.test import RequestFactory
from django.utils import timezone
from hypothesis import given
from hypothesis import strategies as st

from apikeys import hashing, lifecycle, refusals, token, usage
from apikeys.access import ProjectUser
from apikeys.models import Membership, PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import recheck, verify
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    mint_key,
    mint_pat,
    of_nobody,
    with_wrong_secret,
)


@pytest.fixture(params=["pat", "key"])
def minted(request, db):
    return mint_pat() if request.param == "pat" else mint_key()


@pytest.fixture
def work(monkeypatch):
    """Counts the hashes that a request costs, by name."""
    done = {"hmac": 0, "argon2": 0}

    def counted(name, function):
        def call(*args):
            done[name] += 1
            return function(*args)

        return call

    monkeypatch.setattr(hashing, "_hmac", counted("hmac", hashing._hmac))
    monkeypatch.setattr(hashing, "check_root", counted("argon2", hashing.check_root))
    return done


def refusal(text):
    with pytest.raises(Refused) as refused:
        verify(text)
    return refused.value.refusal


def change(minted, **changes):
    assert type(minted.key).objects.filter(pk=minted.key.pk).update(**changes)


def expire(minted):
    change(minted, expires_at=timezone.now())


def revoke(minted):
    lifecycle.revoke(minted.key)


def await_approval(minted):
    change(minted, is_pending=True)


def deactivate(minted):
    owner = minted.key.owner
    owner.is_active = False
    owner.save()


DEATHS = {
    "expired_key": expire,
    "revoked_key": revoke,
    "approval_required": await_approval,
    "inactive": deactivate,
}


def code_of_death(minted, death):
    if death != "inactive":
        return death
    return "inactive_user" if minted.key.KIND == "pat" else "inactive_project"


def test_a_personal_access_token_is_its_user(db):
    minted = mint_pat(scopes=["payments:write"], expires_at=timezone.now() + timedelta(days=1))
    access = verify(minted.token)

    assert access.kind == "personal_access_token"
    assert access.user == access.principal == minted.key.user
    assert access.project is None
    assert access.client is None
    assert access.credential_id == minted.key.public_id
    assert access.name == minted.key.name
    assert access.scopes == {"payments:write", "payments:read"}
    assert access.expires_at == PersonalAccessToken.objects.get().expires_at


def test_a_project_key_is_its_project(db):
    minted = mint_key(by=UserFactory())
    access = verify(minted.token)

    assert access.kind == "project_key"
    assert access.project == minted.key.project
    assert access.user is None
    assert access.principal == ProjectUser(minted.key.project)
    assert access.credential_id == minted.key.public_id


def test_a_project_key_outlives_whoever_made_it(db):
    maker = UserFactory()
    minted = mint_key(by=maker)
    maker.is_active = False
    maker.save()
    assert verify(minted.token).project == minted.key.project

    maker.delete()
    assert verify(minted.token).project == minted.key.project


def test_the_owner_comes_whole(minted, django_assert_num_queries):
    """As if it came from its own table, but for the hash of a password, which loads if asked."""
    with django_assert_num_queries(1):
        access = verify(minted.token)
        owner = access.user or access.project
        stored = {
            f.attname: getattr(owner, f.attname)
            for f in owner._meta.concrete_fields
            if f.attname != "password"
        }
    fresh = type(owner).objects.get(pk=owner.pk)
    assert stored == {name: getattr(fresh, name) for name in stored}
    assert not owner._state.adding
    assert owner._state.db == "default"


def test_it_costs_one_query_and_one_hmac(minted, work, django_assert_num_queries):
    verify(minted.token)
    work.update(hmac=0)
    with django_assert_num_queries(1):
        verify(minted.token, RequestFactory().get("/"))
    assert work == {"hmac": 1, "argon2": 0}


@pytest.mark.parametrize("death", DEATHS)
def test_a_dead_key_is_refused_by_name_in_one_query(minted, death, django_assert_num_queries):
    DEATHS[death](minted)
    with django_assert_num_queries(1):
        assert refusal(minted.token).code == code_of_death(minted, death)


@pytest.mark.parametrize("death", DEATHS)
def test_only_the_holder_is_told_why(minted, death):
    DEATHS[death](minted)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY


def test_an_unknown_id_and_a_wrong_secret_are_one_and_the_same(
    minted, work, django_assert_num_queries
):
    told = []
    for text in (of_nobody(minted.key.KIND), with_wrong_secret(minted.token)):
        work.update(hmac=0)
        with django_assert_num_queries(1):
            told.append(refusal(text))
        assert work == {"hmac": 1, "argon2": 0}
    assert told == [refusals.INVALID_KEY] * 2


def test_the_secret_of_one_key_is_none_of_another(db):
    one, other = mint_pat(), mint_pat()
    secret = token.parse(one.token, "acme").secret
    text = token.compose("acme", "pat", other.key.public_id, secret)
    assert refusal(text) is refusals.INVALID_KEY


def test_a_key_of_one_kind_is_none_of_the_other(minted):
    _, kind, public_id, secret = token.parse(minted.token, "acme")
    (other,) = set(token.KINDS) - {kind}
    text = token.compose("acme", other, public_id, secret)
    assert refusal(text) is refusals.INVALID_KEY


def test_the_moment_of_expiry_is_after_it(minted, monkeypatch):
    end = timezone.now() + timedelta(days=1)
    change(minted, expires_at=end)
    monkeypatch.setattr("apikeys.verify.timezone.now", lambda: end - timedelta(microseconds=1))
    verify(minted.token)

    monkeypatch.setattr("apikeys.verify.timezone.now", lambda: end)
    assert refusal(minted.token) is refusals.EXPIRED_KEY


def test_revocation_is_told_before_expiry(minted):
    revoke(minted)
    expire(minted)
    deactivate(minted)
    assert refusal(minted.token) is refusals.REVOKED_KEY


def test_revocation_counts_at_the_very_next_request(minted):
    verify(minted.token)
    revoke(minted)
    assert refusal(minted.token) is refusals.REVOKED_KEY


def test_a_deleted_owner_takes_the_keys_along(minted):
    minted.key.owner.delete()
    assert refusal(minted.token) is refusals.INVALID_KEY


MALFORMED = {
    "cut": lambda text: text[:-1],
    "longer": lambda text: text + "0",
    "typo": lambda text: text[:-1] + ("0" if text[-1] != "0" else "1"),
    "upper-case id": lambda text: text[:9] + text[9:25].upper() + text[25:],
    "null byte": lambda text: text + "\x00",
    "null byte within": lambda text: text[:12] + "\x00" + text[13:],
    "newline": lambda text: text + "\n",
    "non-ASCII": lambda text: text[:-1] + "ä",
    "lone surrogate": lambda text: text + "\ud800",
    "SQL": lambda text: text[:9] + "' OR 1=1 --",
    "a megabyte": lambda text: text + "x" * 1_000_000,
    "only the beginning": lambda text: text[:9],
}


@pytest.mark.parametrize("damage", MALFORMED)
def test_malformed_text_costs_no_query_and_no_hash(minted, damage, work, django_assert_num_queries):
    change(minted, public_id="a" * 16)
    _, kind, _, secret = token.parse(minted.token, "acme")
    text = token.compose("acme", kind, "a" * 16, secret)
    verify(text)
    work.update(hmac=0)
    with django_assert_num_queries(0):
        assert refusal(MALFORMED[damage](text)) is refusals.MALFORMED_KEY
    assert work == {"hmac": 0, "argon2": 0}


@pytest.mark.slow
@given(st.sampled_from(["acme_pat_", "acme_key_"]), st.text())
def test_whatever_begins_like_a_key_is_refused_without_a_database(beginning, rest):
    """Outside ``db``, a query would be an error."""
    assert refusal(beginning + rest) is refusals.MALFORMED_KEY


def test_text_of_another_kind_is_nobodys_where_nobody_asks_for_it(minted, monkeypatch):
    monkeypatch.setattr("apikeys.verify._resolvers", [])
    assert refusal("an-oauth-token") is refusals.MALFORMED_KEY
    monkeypatch.setattr("apikeys.verify._resolvers", [lambda text, request: None])
    assert refusal("an-oauth-token") is refusals.INVALID_TOKEN


def test_a_resolver_gets_no_key_to_see(minted, monkeypatch):
    seen = []
    monkeypatch.setattr("apikeys.verify._resolvers", [lambda text, request: seen.append(text)])
    verify(minted.token)
    refusal(minted.token[:-1])
    refusal(with_wrong_secret(minted.token))
    assert seen == []


def test_a_changed_prefix_ends_the_keys_of_the_old_one(minted, settings, work):
    settings.APIKEYS = {**settings.APIKEYS, "PREFIX": "other"}
    assert refusal(minted.token) is refusals.INVALID_TOKEN
    assert work["argon2"] == 0


@pytest.mark.parametrize("kind", token.KINDS)
def test_a_forger_never_buys_argon2_on_a_fresh_key(db, work, kind):
    text = (mint_pat() if kind == "pat" else mint_key()).token
    for _ in range(20):
        refusal(with_wrong_secret(text))
        refusal(of_nobody(kind))
    assert work["argon2"] == 0


def test_a_restriction_to_projects_is_no_query_until_it_is_asked_for(db, django_assert_num_queries):
    member = MembershipFactory()
    other = MembershipFactory(user=member.user).project
    minted = mint_pat(member.user, projects=[member.project])
    verify(minted.token)
    with django_assert_num_queries(1):
        access = verify(minted.token)
    with django_assert_num_queries(1):
        assert list(access.projects()) == [member.project]
    with django_assert_num_queries(1):
        assert not access.allows("payments:read", project=other)


def test_a_membership_that_ends_ends_the_reach_of_the_token(db):
    member = MembershipFactory()
    minted = mint_pat(member.user, projects=[member.project])
    Membership.objects.all().delete()
    assert list(verify(minted.token).projects()) == []


def test_a_token_whose_selected_projects_are_all_gone_reaches_nothing(db):
    member = MembershipFactory()
    MembershipFactory(user=member.user)
    minted = mint_pat(member.user, projects=[member.project])
    member.project.delete()
    assert list(verify(minted.token).projects()) == []


def test_a_refusal_names_no_secret(minted, caplog):
    for text in (minted.token[:-1], with_wrong_secret(minted.token)):
        with pytest.raises(Refused) as refused:
            verify(text)
        assert text[26:60] not in f"{refused.value} {refused.value!r} {refused.value.args}"
    assert caplog.text == ""


def test_statements_are_compiled_once(minted, monkeypatch):
    verify(minted.token)
    monkeypatch.setattr("apikeys.cache.lookup._Statement", None)
    verify(minted.token)


def test_a_key_is_read_from_the_database_that_it_is_written_to(minted, settings):
    """An alias that does not exist shows which database was asked for."""
    settings.DATABASE_ROUTERS = [type("Router", (), {"db_for_read": lambda *a, **k: "replica"})()]
    assert verify(minted.token).credential_id == minted.key.public_id

    settings.DATABASE_ROUTERS = [type("Router", (), {"db_for_write": lambda *a, **k: "other"})()]
    with pytest.raises(Exception, match="other"):
        verify(minted.token)


def test_pepper_loss_is_no_part_of_a_fresh_keys_check(minted, monkeypatch):
    monkeypatch.setattr("apikeys.verify.check_rest", None)
    monkeypatch.setattr("apikeys.verify.renew_digest", None)
    assert verify(minted.token)
    assert refusal(with_wrong_secret(minted.token)) is refusals.INVALID_KEY


def test_a_project_without_memberships_still_has_its_key(db):
    minted = mint_key(ProjectFactory())
    assert list(verify(minted.token).projects()) == [minted.key.project]


class TestRecheck:
    """A task that runs after its request has the ID of the key, and no secret."""

    def test_returns_what_the_key_may_do_now(self, db):
        key = mint_pat().key
        access = recheck(key.public_id)
        assert (access.user, access.credential_id) == (key.user, key.public_id)
        Membership.objects.filter(user=key.user).delete()
        assert not recheck(key.public_id).projects().exists()

    def test_records_no_use(self, minted):
        usage.flush()
        recheck(minted.key.public_id)
        assert usage.flush() == 0

    def test_finds_project_keys_and_keys_that_are_only_exchanged(self, db):
        key = mint_key(direct_use=False).key
        assert recheck(key.public_id).project == key.project

    def test_refuses_a_key_that_has_ended(self, minted):
        lifecycle.revoke(minted.key)
        with pytest.raises(Refused, match="revoked_key"):
            recheck(minted.key.public_id)

    def test_refuses_the_token_of_a_deactivated_user(self, db):
        key = mint_pat().key
        key.user.is_active = False
        key.user.save()
        with pytest.raises(Refused, match="inactive_user"):
            recheck(key.public_id)

    @pytest.mark.parametrize("text", ["", "0" * 16, "not an id", "x" * 10_000])
    def test_refuses_what_is_not_the_id_of_a_key(self, db, text):
        with pytest.raises(Refused, match="invalid_key"):
            recheck(text)

    def test_takes_no_whole_key(self, minted):
        with pytest.raises(Refused, match="invalid_key"):
            recheck(minted.token)
