"""No credential creates, widens or rotates a key beyond itself."""

from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apikeys import grants, lifecycle
from apikeys.access import PERSONAL_ACCESS_TOKEN, Access
from apikeys.grants import NOTHING, Extent
from apikeys.lifecycle import LifecycleError
from apikeys.models import Membership, PersonalAccessToken
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat
from tests.threads import at_once


@pytest.fixture
def loom(ada):
    return MembershipFactory(user=ada, project__slug="loom", role="owner").project


def in_days(days):
    return timezone.now() + timedelta(days=days)


def code_of(act, *args, **kwargs):
    with pytest.raises(LifecycleError) as caught:
        act(*args, **kwargs)
    return caught.value.code


# A personal access token that manages tokens


@pytest.fixture
def narrow(ada, engine, loom):
    """Return the grant of a token that reads payments of one project for nine days."""
    minted = mint_pat(ada, scopes=["payments:read"], projects=[engine], expires_at=in_days(9))
    return grants.for_tokens(ada, verify(minted.token))


def test_a_created_key_does_not_exceed_the_credential(ada, engine, loom, narrow):
    common = {"user": ada, "within": narrow}
    good = {"scopes": ["payments:read"], "projects": [engine], "expires_at": in_days(9)}
    good["expires_at"] = narrow.latest_expiry
    for change, code in [
        ({"scopes": ["payments:write"]}, "scope_not_grantable"),
        ({"scopes": ["payments:read", "reports:read"]}, "scope_not_grantable"),
        ({"projects": None}, "project_not_grantable"),
        ({"projects": [loom]}, "project_not_grantable"),
        ({"projects": [engine, loom]}, "project_not_grantable"),
        ({"projects": [ProjectFactory()]}, "unknown_project"),
        ({"expires_at": None}, "outlives_credential"),
        ({"expires_at": narrow.latest_expiry + timedelta(microseconds=1)}, "outlives_credential"),
    ]:
        assert code_of(mint_pat, **common | good | change) == code, change

    made = mint_pat(**common | good).key
    assert made.minted_with == narrow.using.credential_id


def test_an_edited_key_is_not_widened_beyond_the_credential(ada, engine, loom, narrow):
    strong = mint_pat(ada, scopes=["payments:write"], projects=[loom]).key
    for change, code in [
        ({"scopes": ["payments:write", "reports:read"]}, "scope_not_grantable"),
        # The caller may grant the project, but not the scopes that the key has.
        ({"projects": [loom, engine]}, "scope_not_grantable"),
        ({"projects": None}, "scope_not_grantable"),
    ]:
        assert code_of(lifecycle.edit, strong, within=narrow, **change) == code
    # The key may keep or lose what it has.
    lifecycle.edit(strong, name="n", within=narrow)
    lifecycle.edit(strong, scopes=["payments:read"], within=narrow)
    assert code_of(lifecycle.edit, strong, scopes=["payments:write"], within=narrow) == (
        "scope_not_grantable"
    )
    lifecycle.edit(strong, expires_at=in_days(5), within=narrow)
    like_it = mint_pat(ada, projects=[engine], expires_at=in_days(5)).key
    for expiry in (in_days(20), None):
        assert code_of(lifecycle.edit, strong, expires_at=expiry, within=narrow) == (
            "project_not_grantable"
        )
        assert code_of(lifecycle.edit, like_it, expires_at=expiry, within=narrow) == (
            "outlives_credential"
        )


def test_a_wider_key_cannot_be_rotated(ada, engine, loom, narrow):
    """Rotation returns the new secret, so the caller gets everything that the key allows."""
    ends = narrow.latest_expiry
    for key, code in [
        ({"scopes": ["payments:write"], "projects": [engine]}, "scope_not_grantable"),
        ({"projects": [loom]}, "project_not_grantable"),
        ({"projects": None}, "project_not_grantable"),
        ({"projects": [engine], "expires_at": None}, "outlives_credential"),
    ]:
        victim = mint_pat(ada, **{"expires_at": ends} | key).key
        assert code_of(lifecycle.rotate, victim, within=narrow) == code
        victim.refresh_from_db()
        assert victim.rotated_at is None
    own = mint_pat(ada, projects=[engine], expires_at=ends).key
    assert lifecycle.rotate(own, within=narrow).key.projects.get() == engine


def test_write_grants_read_but_not_vice_versa(ada):
    writer = grants.for_tokens(ada, verify(mint_pat(ada, scopes=["payments:write"]).token))
    mint_pat(ada, scopes=["payments:read"], within=writer)
    reader = grants.for_tokens(ada, verify(mint_pat(ada, scopes=["payments:read"]).token))
    assert code_of(mint_pat, ada, scopes=["payments:write"], within=reader) == (
        "scope_not_grantable"
    )


def test_nothing_is_granted_for_another_user(ada):
    other = UserFactory()
    within = grants.for_tokens(other, verify(mint_pat(ada).token))
    assert within.scopes == frozenset()
    assert code_of(mint_pat, other, within=within) == "scope_not_grantable"


def test_a_project_key_cannot_create_a_personal_access_token(ada, engine):
    within = grants.for_tokens(ada, verify(mint_key(engine).token))
    assert code_of(mint_pat, ada, projects=[engine], within=within) == "scope_not_grantable"


# Keys of a project


@pytest.mark.slow
def test_a_project_key_manages_only_its_project(engine, loom):
    access = verify(mint_key(engine, scopes=["payments:read"], expires_at=in_days(3)).token)
    within = grants.for_project(engine, using=access)
    assert code_of(mint_key, engine, scopes=["payments:write"], within=within) == (
        "scope_not_grantable"
    )
    assert code_of(mint_key, engine, within=within) == "outlives_credential"
    mint_key(engine, expires_at=in_days(2), within=within)
    assert code_of(mint_key, loom, expires_at=in_days(2), within=within) == "project_not_grantable"

    elsewhere = grants.for_project(loom, using=access)
    assert elsewhere.scopes == frozenset()


def test_a_restricted_token_cannot_create_a_key_of_another_project(ada, engine, loom):
    access = verify(mint_pat(ada, projects=[engine]).token)
    assert grants.for_project(loom, using=access).scopes == frozenset()
    assert "payments:read" in grants.for_project(engine, using=access).scopes


def test_a_viewer_grants_only_read_scopes(engine):
    viewer = MembershipFactory(project=engine, role="viewer").user
    for within in (grants.for_project(engine, user=viewer), grants.for_tokens(viewer)):
        assert "payments:read" in within.scopes
        assert "payments:write" not in within.scopes
    assert code_of(
        mint_key, engine, scopes=["payments:write"], within=grants.for_project(engine, user=viewer)
    ) == "scope_not_grantable"  # fmt: skip


def test_a_demotion_limits_the_next_grant(ada, engine):
    key = mint_key(engine, scopes=["payments:write"]).key
    Membership.objects.filter(user=ada).update(role="viewer")
    within = grants.for_project(engine, user=ada)
    assert code_of(lifecycle.rotate, key, within=within) == "scope_not_grantable"
    lifecycle.edit(key, scopes=["payments:read"], within=within)
    assert code_of(lifecycle.edit, key, scopes=["payments:write"], within=within) == (
        "scope_not_grantable"
    )


# Extents


@pytest.mark.parametrize(
    ("has", "than", "wider"),
    [
        (("a:read",), ("a:write",), False),
        (("a:write",), ("a:read",), True),
        (("a:read", None), ("a:read", {1}), True),
        (("a:read", {1}), ("a:read", None), False),
        (("a:read", {1, 2}), ("a:read", {1}), True),
        (("a:read", {1}, None), ("a:read", {1}, 2030), True),
        (("a:read", {1}, 2030), ("a:read", {1}, None), False),
        (("a:read", {1}, 2031), ("a:read", {1}, 2030), True),
        (("a:read", {1}, 2030), ("a:read", {1}, 2030), False),
    ],
)
def test_wider_compares_extents(has, than, wider):
    def extent(scope, projects=None, year=None):
        ends = datetime(year, 1, 1, tzinfo=UTC) if year else None
        return Extent(scope, None if projects is None else frozenset(projects), ends)

    assert extent(*has).wider(extent(*than)) is wider
    assert extent(*has).wider(NOTHING)


def test_grants_work_without_use_tz(ada, settings):
    settings.USE_TZ = False
    ends = datetime.now() + timedelta(days=9)  # noqa: DTZ005
    using = Access(PERSONAL_ACCESS_TOKEN, "0" * 16, "", "payments:read", ada, expires_at=ends)
    within = grants.for_tokens(ada, using)
    later = ends + timedelta(days=1)
    assert code_of(mint_pat, ada, expires_at=later, within=within) == "outlives_credential"


# Parallel requests


@pytest.mark.django_db(transaction=True)
def test_parallel_requests_cannot_exceed_the_maximum(settings):
    from apikeys.policy import Policy

    most = {"most_live_keys": lambda self, owner: 3}
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": type("Three", (Policy,), most)}
    user = UserFactory()
    results = at_once(*[lambda: mint_pat(user) for _ in range(6)])
    assert results.count("too_many_keys") == 3
    assert PersonalAccessToken.objects.filter(user=user).count() == 3


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_a_key_created_while_its_parent_is_revoked_ends():
    for _ in range(3):
        user = UserFactory()
        parent = mint_pat(user)
        within = grants.for_tokens(user, verify(parent.token))
        at_once(
            lambda parent=parent: lifecycle.revoke(parent.key),
            *[lambda user=user, within=within: mint_pat(user, within=within) for _ in range(3)],
        )
        assert not PersonalAccessToken.objects.filter(user=user, revoked_at=None).exists()


@pytest.mark.django_db(transaction=True)
def test_parallel_edits_rotations_and_revocations_lose_nothing():
    minted = mint_pat(scopes=["payments:write"])
    pk = minted.key.pk

    def fresh():
        return PersonalAccessToken.objects.get(pk=pk)

    results = at_once(
        lambda: lifecycle.edit(fresh(), name="renamed"),
        lambda: lifecycle.edit(fresh(), scopes=["payments:read"]),
        lambda: lifecycle.rotate(fresh()),
        lambda: lifecycle.rotate(fresh()),
        lambda: lifecycle.revoke(fresh(), reason="first"),
        lambda: lifecycle.revoke(fresh(), reason="second"),
    )
    key = fresh()
    assert key.revoked_at is not None
    assert sorted(results[4:]) == [False, True]
    assert key.revoked_reason == ("first" if results[4] else "second")
    edited = [result for result in results[:2] if isinstance(result, dict)]
    for result in edited:
        for field, (_before, after) in result.items():
            assert after == (list(key.scopes) if field == "scopes" else getattr(key, field))
    successors = PersonalAccessToken.objects.exclude(pk=pk)
    rotated = [result for result in results[2:4] if isinstance(result, lifecycle.Minted)]
    assert list(successors) == [each.key for each in rotated]
    assert len(rotated) <= 1
