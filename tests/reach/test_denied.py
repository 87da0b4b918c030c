"""A denied credential reaches the project no more, and nor does what it created."""

from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import get_access_token_model

from apikeys import grants, lifecycle, reach, token
from apikeys.access import Access
from apikeys.lifecycle import LifecycleError
from apikeys.models import AuditEvent, ProjectAccess, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db
READ = "payments:read"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
MANAGE = ["payments:read", "keys:read", "keys:write"]


@pytest.fixture
def other(ada):
    """A second project of the owner."""
    return MembershipFactory(
        user=ada, project=ProjectFactory(slug="difference"), role="owner"
    ).project


def reached(text):
    return {project.slug for project in verify(text).projects(READ)}


def deny(project, public_id, **kwargs):
    entry = reach.find(project, public_id)
    assert entry is not None
    return reach.deny(project, entry, **kwargs)


def allow(project, public_id, **kwargs):
    return reach.allow(project, reach.find(project, public_id), **kwargs)


def exchanged(text):
    answer = Client().post(
        "/o/token/",
        {"grant_type": EXCHANGE, "subject_token": text, "subject_token_type": ACCESS_TOKEN},
    )
    assert answer.status_code == 200, answer.content
    return answer.json()["access_token"]


@pytest.mark.parametrize("decide", [reach.deny, reach.allow])
def test_a_credential_that_ended_meanwhile_is_not_decided(ada, engine, decide):
    minted = mint_pat(ada)
    entry = reach.find(engine, minted.key.public_id)
    lifecycle.revoke(minted.key)
    with pytest.raises(LifecycleError) as error:
        decide(engine, entry, by=ada)
    assert error.value.code == "unknown_credential"
    assert not ProjectAccess.objects.exists()


def test_a_denied_token_reaches_the_other_projects_only(ada, engine, other):
    minted = mint_pat(ada)
    before = verify(minted.token)

    assert deny(engine, minted.key.public_id, reason="Unknown laptop.", by=ada)

    assert reached(minted.token) == {"difference"}
    assert not before.allows(READ, project=engine), "a request that has begun"
    assert before.allows(READ, project=other)
    assert not verify(minted.token).allows(READ, project=engine)
    assert not verify(minted.token).allows(project=engine)
    assert verify(minted.token).facts()["projects"] == ["difference"]
    assert not deny(engine, minted.key.public_id), "denied before"

    assert allow(engine, minted.key.public_id)
    assert reached(minted.token) == {"analytical-engine", "difference"}
    assert not allow(engine, minted.key.public_id)


def test_a_token_of_selected_projects_is_denied_too(ada, engine, other):
    minted = mint_pat(ada, projects=[engine, other])
    deny(engine, minted.key.public_id)
    assert reached(minted.token) == {"difference"}
    assert verify(minted.token).selected_pks(), "its selection is unchanged"


def test_other_tokens_of_the_member_and_the_same_project_are_untouched(ada, engine):
    denied, kept = mint_pat(ada), mint_pat(ada)
    deny(engine, denied.key.public_id)
    assert reached(kept.token) == {"analytical-engine"}


def test_denying_costs_no_query_more(ada, engine, django_assert_num_queries):
    access = verify(mint_pat(ada).token)
    with django_assert_num_queries(1):
        assert access.allows(READ, project=engine)
    with django_assert_num_queries(1):
        assert list(access.projects(READ)) == [engine]


@pytest.mark.slow
def test_what_a_denied_token_created_is_denied(ada, engine, other):
    minted = mint_pat(ada, scopes=MANAGE)
    child = mint_pat(ada, scopes=MANAGE, within=grants.for_tokens(ada, verify(minted.token)))
    grandchild = mint_pat(ada, within=grants.for_tokens(ada, verify(child.token)))
    key = mint_key(engine, within=grants.for_project(engine, ada, verify(child.token)))
    elsewhere = mint_key(other, within=grants.for_project(other, ada, verify(child.token)))

    deny(engine, minted.key.public_id, reason="Lost.")

    for text in (minted.token, child.token, grandchild.token):
        assert reached(text) == {"difference"}
    with pytest.raises(Refused, match="paused_key"):
        verify(key.token)
    assert verify(elsewhere.token).allows(READ, project=other)

    allow(engine, minted.key.public_id)
    for text in (minted.token, child.token, grandchild.token, key.token):
        assert verify(text).allows(READ, project=engine)


def test_a_denial_of_its_own_outlasts_that_of_the_creator(ada, engine):
    minted = mint_pat(ada, scopes=MANAGE)
    child = mint_pat(ada, within=grants.for_tokens(ada, verify(minted.token)))
    deny(engine, child.key.public_id)
    deny(engine, minted.key.public_id)
    allow(engine, minted.key.public_id)
    assert reached(minted.token) == {"analytical-engine"}
    assert reached(child.token) == set()


def test_a_denied_token_cannot_get_back_by_a_new_credential(ada, engine, other):
    minted = mint_pat(ada, scopes=MANAGE)
    deny(engine, minted.key.public_id)

    rotated = lifecycle.rotate(minted.key, by=ada)
    access, soon = verify(minted.token), timezone.now() + timedelta(minutes=30)
    child = mint_pat(ada, expires_at=soon, within=grants.for_tokens(ada, access))
    by_itself = lifecycle.rotate(rotated.key, within=grants.for_tokens(ada, verify(rotated.token)))
    for text in (rotated.token, child.token, by_itself.token, exchanged(minted.token)):
        assert reached(text) == {"difference"}
    with pytest.raises(LifecycleError):
        mint_key(engine, within=grants.for_project(engine, ada, access))
    with pytest.raises(LifecycleError, match="you have no access to it"):
        mint_pat(ada, projects=[engine], within=grants.for_tokens(ada, access))


def test_a_token_that_a_denied_token_rotates_is_denied(ada, engine, other):
    denied = mint_pat(ada, scopes=MANAGE)
    victim = mint_pat(ada)
    deny(engine, denied.key.public_id)
    taken = lifecycle.rotate(victim.key, within=grants.for_tokens(ada, verify(denied.token)))
    assert reached(taken.token) == {"difference"}


def test_denying_a_rotated_token_denies_the_whole_chain(ada, engine):
    old = mint_pat(ada)
    new = lifecycle.rotate(old.key, by=ada, overlap=timedelta(hours=1))
    deny(engine, new.key.public_id)
    assert reached(old.token) == reached(new.token) == set()
    allow(engine, new.key.public_id)
    assert reached(old.token) == reached(new.token) == {"analytical-engine"}


def test_a_carried_access_is_denied(ada, engine, other):
    minted = mint_pat(ada)
    carried = verify(minted.token).to_dict()
    deny(engine, minted.key.public_id)
    for verifies in (False, True):
        assert set(Access.from_dict(carried, verify=verifies).projects(READ)) == {other}


def test_tokens_await_approval_where_the_project_requires_it(ada, engine, other):
    minted = mint_pat(ada, scopes=MANAGE)
    reach.require_approval(engine, True, by=ada)
    assert reached(minted.token) == reached(exchanged(minted.token)) == {"difference"}
    assert reach.find(engine, minted.key.public_id).awaits

    assert allow(engine, minted.key.public_id, by=ada)
    assert reached(minted.token) == {"analytical-engine", "difference"}
    rotated = lifecycle.rotate(minted.key, by=ada)
    assert reached(rotated.token) == {"analytical-engine", "difference"}
    child = mint_pat(ada, within=grants.for_tokens(ada, verify(rotated.token)))
    assert reached(child.token) == {"difference"}, "a new token needs its own approval"

    reach.require_approval(engine, False, by=ada)
    assert reached(child.token) == {"analytical-engine", "difference"}


def test_a_denied_project_key_is_paused_and_allowing_resumes_it(ada, engine):
    minted = mint_key(engine)
    child = mint_key(
        engine, within=grants.for_project(engine, using=verify(mint_key(engine).token))
    )
    deny(engine, minted.key.public_id, reason="Unknown server.", by=ada)
    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)
    entry = reach.find(engine, minted.key.public_id)
    assert (entry.is_denied, entry.decision.reason, entry.state) == (
        True,
        "Unknown server.",
        "paused",
    )
    assert verify(child.token)

    allow(engine, minted.key.public_id, by=ada)
    assert verify(minted.token).allows(READ, project=engine)


def test_resuming_a_denied_key_allows_it(ada, engine):
    minted = mint_key(engine)
    deny(engine, minted.key.public_id)
    minted.key.refresh_from_db()
    lifecycle.resume(minted.key)
    assert not reach.find(engine, minted.key.public_id).is_denied


def test_a_key_that_was_paused_before_stays_paused(ada, engine):
    minted = mint_key(engine)
    lifecycle.pause(minted.key, reason="Holidays.")
    deny(engine, minted.key.public_id)
    allow(engine, minted.key.public_id)
    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)


@pytest.fixture
def grant(ada, webapp):
    """A token of an application."""

    def grant(user=ada):
        model = get_access_token_model()
        return model.objects.create(
            user=user,
            application=webapp,
            token=f"token-{user.pk}-{model.objects.count()}",
            expires=timezone.now() + timedelta(hours=1),
            scope=" ".join(MANAGE),
        )

    return grant


@pytest.fixture
def webapp(db):
    from oauth2_provider.models import Application

    return Application.objects.create(
        client_id="webapp",
        name="Web app",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        redirect_uris="https://app.example/callback",
    )


@pytest.mark.slow
def test_a_denied_application_is_denied_with_all_its_tokens(ada, engine, other, webapp, grant):
    first, soon = grant(), timezone.now() + timedelta(minutes=30)
    colleague = MembershipFactory(project=engine, role="developer").user
    theirs = grant(colleague)
    access = verify(first.token)
    pat = mint_pat(ada, expires_at=soon, within=grants.for_tokens(ada, access))
    key = mint_key(engine, expires_at=soon, within=grants.for_project(engine, ada, access))
    apart = mint_key(other, expires_at=soon, within=grants.for_project(other, ada, access))

    deny(engine, token.grant_id(webapp.pk, ada.pk), by=ada, reason="Not needed.")

    later = grant()
    for text in (first.token, later.token, pat.token):
        assert reached(text) == {"difference"}
    with pytest.raises(Refused, match="paused_key"):
        verify(key.token)
    assert verify(apart.token).allows(READ, project=other)
    assert reached(theirs.token) == {"analytical-engine"}
    again = mint_pat(ada, expires_at=soon, within=grants.for_tokens(ada, verify(later.token)))
    assert reached(again.token) == reached(exchanged(again.token)) == {"difference"}
    with pytest.raises(LifecycleError):
        mint_key(
            engine, expires_at=soon, within=grants.for_project(engine, ada, verify(later.token))
        )

    allow(engine, token.grant_id(webapp.pk, ada.pk), by=ada)
    for text in (first.token, later.token, pat.token, again.token, key.token):
        assert verify(text).allows(READ, project=engine)


def test_events_and_reasons(ada, engine):
    owner = MembershipFactory(
        project=engine, role="developer", user=UserFactory(username="bob")
    ).user
    minted = mint_pat(owner)
    deny(engine, minted.key.public_id, by=ada, reason="Unknown.")
    allow(engine, minted.key.public_id, by=ada)
    for whose in (owner, engine):
        events = AuditEvent.objects.of(whose).filter(event__in=["denied", "allowed"])
        assert [(each.event, each.by, each.changes) for each in events.order_by("pk")] == [
            ("denied", "ada", {"project": "analytical-engine", "reason": "Unknown."}),
            ("allowed", "ada", {"project": "analytical-engine"}),
        ]


@pytest.mark.parametrize("reason", ["x" * 201, "acme_key_7k2m4q0x9c1v8b3n_" + "a" * 49])
def test_a_reason_that_cannot_be_stored_is_refused(ada, engine, reason):
    minted = mint_pat(ada)
    with pytest.raises(LifecycleError):
        deny(engine, minted.key.public_id, reason=reason)
    assert not ProjectAccess.objects.exists()
    assert reached(minted.token) == {"analytical-engine"}


def test_only_credentials_that_reach_the_project_are_found(ada, engine, other):
    stranger = mint_pat(MembershipFactory(project=other, role="owner").user)
    elsewhere = mint_pat(ada, projects=[other])
    key = mint_key(other)
    ended = mint_key(engine)
    lifecycle.revoke(ended.key)
    for each in (stranger, elsewhere, key, ended):
        assert reach.find(engine, each.key.public_id) is None
    assert reach.find(engine, "../etc") is None
    assert not ProjectKey.objects.filter(paused_at__isnull=False).exists()
