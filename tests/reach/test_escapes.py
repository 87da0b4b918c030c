"""A denied or unapproved credential gets nothing of its project through other keys."""

import json
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone

from apikeys import grants, lifecycle, reach, retention, token, usage
from apikeys.carried import Client as CarriedClient
from apikeys.lifecycle import LifecycleError
from apikeys.models import AuditEvent, EndedUse, ProjectAccess, ScopeUse
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat
from tests.lifecycle.test_races import meanwhile
from tests.reach.test_denied import MANAGE, allow, deny, grant, other, reached, webapp

__all__ = ["grant", "other", "webapp"]

pytestmark = pytest.mark.django_db
racing = pytest.mark.django_db(transaction=True)
WRITE = "payments:write"


def call(text, method, path, body=None):
    """Return the response of the API."""
    send = getattr(Client(), method)
    headers = {"Authorization": f"Bearer {text}"}
    return send(path, json.dumps(body or {}), content_type="application/json", headers=headers)


def of(user, minted, **terms):
    """Return a token that was created with another."""
    return mint_pat(user, within=grants.for_tokens(user, verify(minted.token)), **terms)


def refuses(response, code):
    return (response.status_code, response.json()["code"]) == (403, code)


@pytest.mark.parametrize(
    "changes", [{"projects": None}, {"scopes": ["payments:read", WRITE]}], ids=str
)
def test_a_denied_token_extends_no_other_token(ada, engine, other, changes):
    denied = mint_pat(ada, scopes=[*MANAGE, WRITE])
    terms = {"projects": [other]} if "projects" in changes else {}
    victim = mint_pat(ada, scopes=["payments:read"], **terms)
    deny(engine, denied.key.public_id)

    path = f"/api/tokens/{victim.key.public_id}/"
    assert refuses(call(denied.token, "patch", path, changes), "project_not_grantable")
    assert call(denied.token, "patch", path, {"name": "laptop"}).status_code == 200


def test_a_denied_token_resumes_no_token_that_reaches_the_project(ada, engine, other):
    denied, victim = mint_pat(ada, scopes=MANAGE), mint_pat(ada)
    lifecycle.pause(victim.key)
    deny(engine, denied.key.public_id)

    answer = call(denied.token, "post", f"/api/tokens/{victim.key.public_id}/resume/")
    assert refuses(answer, "project_not_grantable")


def test_a_token_that_an_unapproved_token_rotates_loses_its_approval(ada, engine, other):
    reach.require_approval(engine, True)
    unapproved, approved = mint_pat(ada, scopes=MANAGE), mint_pat(ada)
    allow(engine, approved.key.public_id)

    answer = call(unapproved.token, "post", f"/api/tokens/{approved.key.public_id}/rotate/")

    assert reached(answer.json()["token"]) == {"difference"}


def test_denying_and_allowing_a_token_approves_no_other(ada, engine, other):
    reach.require_approval(engine, True)
    creator = mint_pat(ada, scopes=MANAGE)
    allow(engine, creator.key.public_id)
    child = of(ada, creator)

    deny(engine, creator.key.public_id)
    allow(engine, creator.key.public_id)

    assert reached(child.token) == {"difference"}
    assert reached(creator.token) == {"analytical-engine", "difference"}


def test_a_token_that_is_extended_needs_approval_again(ada, engine, other):
    reach.require_approval(engine, True)
    minted = mint_pat(ada)
    allow(engine, minted.key.public_id)

    lifecycle.edit(minted.key, name="laptop")
    assert reached(minted.token) == {"analytical-engine", "difference"}
    lifecycle.edit(minted.key, scopes=["payments:read", WRITE])
    assert reached(minted.token) == {"difference"}


@pytest.mark.slow
def test_a_token_does_not_resume_the_one_that_created_it(ada, engine):
    creator = mint_pat(ada, scopes=MANAGE)
    child = of(ada, creator, scopes=MANAGE)
    grandchild = of(ada, child, scopes=MANAGE)
    lifecycle.pause(creator.key, by=ada)

    for each in (child, grandchild):
        answer = call(each.token, "post", f"/api/tokens/{creator.key.public_id}/resume/")
        assert refuses(answer, "created_with_key")
    apart = mint_pat(ada, scopes=MANAGE)
    path = f"/api/tokens/{creator.key.public_id}/resume/"
    assert call(apart.token, "post", path).status_code == 200


def test_the_successor_of_a_created_token_is_denied_too(ada, engine, other):
    creator = mint_pat(ada, scopes=MANAGE)
    child = of(ada, creator, scopes=MANAGE)
    apart = mint_pat(ada, scopes=MANAGE)
    taken = lifecycle.rotate(child.key, within=grants.for_tokens(ada, verify(apart.token)))

    deny(engine, creator.key.public_id)

    assert reached(taken.token) == {"difference"}


def test_an_application_with_a_long_name_is_denied(ada, engine, webapp, grant):
    webapp.name = "N" * 255
    webapp.save()
    access = grant()

    assert deny(engine, token.grant_id(webapp.pk, ada.pk))
    assert reached(access.token) == set()
    assert {len(event.name) for event in AuditEvent.objects.filter(event="denied")} == {100}


def test_allowing_a_token_leaves_its_held_keys_paused(ada, engine):
    creator = mint_pat(ada, scopes=MANAGE)
    within = grants.for_project(engine, ada, verify(creator.token))
    held, plain = mint_key(engine, within=within), mint_key(engine, within=within)
    deny(engine, creator.key.public_id)
    lifecycle.pause(held.key, held=True)

    assert allow(engine, creator.key.public_id)

    assert verify(plain.token)
    with pytest.raises(Refused, match="paused_key"):
        verify(held.token)


def test_a_reason_has_one_line_and_one_direction(ada, engine):
    minted = mint_pat(ada)
    with pytest.raises(LifecycleError) as error:
        deny(engine, minted.key.public_id, reason="ok\u202e")
    assert error.value.code == "invalid_reason"

    deny(engine, minted.key.public_id, reason="ok\r\n\r\nVisit evil.example")
    assert ProjectAccess.objects.get().reason == "ok Visit evil.example"


def test_a_paused_key_is_revoked_over_oauth(engine, webapp):
    minted = mint_key(engine)
    lifecycle.pause(minted.key)

    form = {"token": minted.token, "client_id": "webapp"}
    assert Client().post("/o/revoke_token/", form).status_code == 200

    minted.key.refresh_from_db()
    assert minted.key.revoked_at is not None


def test_what_is_stored_about_a_deleted_key_is_pruned(ada, engine):
    ended, denied = mint_pat(ada), mint_pat(ada)
    lifecycle.revoke(ended.key)
    with pytest.raises(Refused):
        verify(ended.token)
    usage.flush()
    deny(engine, denied.key.public_id)
    usage.prune(timedelta(days=90), timedelta(days=365))
    assert (EndedUse.objects.count(), ProjectAccess.objects.count()) == (1, 1)

    ended.key.delete()
    denied.key.delete()
    usage.prune(timedelta(days=90), timedelta(days=365))

    assert (EndedUse.objects.count(), ProjectAccess.objects.count()) == (0, 0)


def test_a_carried_access_of_an_application_counts_no_use_of_scopes(ada, engine, webapp, grant):
    access = verify(grant().token)
    access.client = CarriedClient("webapp", "Web app")

    usage.note_scopes(access, ("payments:read",))
    usage.flush()

    assert not ScopeUse.objects.filter(kind="oauth").exists()


# Races


@racing
def test_what_a_child_creates_while_its_creator_is_denied_is_denied(ada, engine, other):
    creator = mint_pat(ada, scopes=MANAGE)
    child, made = of(ada, creator, scopes=MANAGE), []
    access = verify(child.token)

    def create():
        made.append(mint_pat(ada, scopes=MANAGE, within=grants.for_tokens(ada, access)))
        made.append(mint_key(engine, within=grants.for_project(engine, ada, access)))

    assert meanwhile(create, lambda: deny(engine, creator.key.public_id)) is True

    assert reached(made[0].token) == {"difference"}
    with pytest.raises(Refused):
        verify(made[1].token)


@racing
@pytest.mark.parametrize("kind", ["token", "key"])
def test_a_key_that_is_rotated_while_its_predecessor_is_denied_is_denied(ada, engine, other, kind):
    first = mint_pat(ada) if kind == "token" else mint_key(engine)
    second, made = lifecycle.rotate(first.key, overlap=timedelta(days=1)), []

    def rotate():
        made.append(lifecycle.rotate(second.key))

    assert meanwhile(rotate, lambda: deny(engine, first.key.public_id)) is True

    if kind == "token":
        assert reached(made[0].token) == {"difference"}
    else:
        with pytest.raises(Refused):
            verify(made[0].token)


@racing
def test_a_key_that_is_revoked_while_its_creator_is_denied_does_not_stop_it(ada, engine, other):
    creator = mint_pat(ada, scopes=MANAGE)
    child = mint_key(engine, within=grants.for_project(engine, ada, verify(creator.token)))

    revoke, act = (lambda: lifecycle.revoke(child.key)), lambda: deny(engine, creator.key.public_id)
    assert meanwhile(revoke, act) is True

    assert reached(creator.token) == {"difference"}


@racing
def test_a_key_of_a_token_of_an_application_that_is_being_denied_is_denied(
    ada, engine, other, webapp, grant
):
    soon = timezone.now() + timedelta(minutes=30)
    within = grants.for_tokens(ada, verify(grant().token))
    child = mint_pat(ada, scopes=MANAGE, expires_at=soon, within=within)
    access, made = verify(child.token), []

    def create():
        within = grants.for_project(engine, ada, access)
        made.append(mint_key(engine, expires_at=soon, within=within))

    assert meanwhile(create, lambda: deny(engine, token.grant_id(webapp.pk, ada.pk))) is True

    with pytest.raises(Refused):
        verify(made[0].token)


# Allowing with a credential


def allows(text, project, public_id):
    return call(text, "post", f"/api/projects/{project.slug}/access/{public_id}/allow/")


@pytest.mark.slow
def test_a_short_lived_token_allows_no_key_that_lives_longer(ada, engine):
    soon = timezone.now() + timedelta(hours=1)
    short = mint_pat(ada, scopes=["keys:write", "payments:read"], expires_at=soon)
    key = mint_key(engine)
    deny(engine, key.key.public_id)

    assert refuses(allows(short.token, engine, key.key.public_id), "outlives_credential")
    with pytest.raises(Refused):
        verify(key.token)
    lasting = mint_pat(ada, scopes=["keys:write", "payments:read"])
    assert allows(lasting.token, engine, key.key.public_id).status_code == 200
    assert verify(key.token)


@pytest.mark.slow
def test_a_token_allows_nothing_that_was_denied_with_it_and_can_do_more(ada, engine):
    maker = mint_pat(ada, scopes=[*MANAGE, WRITE])
    within = grants.for_project(engine, ada, verify(maker.token))
    mint_key(engine, scopes=[WRITE], within=within)
    lifecycle.edit(maker.key, scopes=MANAGE)
    deny(engine, maker.key.public_id)
    caller = mint_pat(ada, scopes=MANAGE)

    answer = allows(caller.token, engine, maker.key.public_id)

    assert refuses(answer, "scope_not_grantable")


@pytest.mark.slow
def test_a_token_does_not_allow_the_one_that_created_it(ada, engine):
    maker = mint_pat(ada, scopes=MANAGE)
    child = of(ada, maker, scopes=MANAGE)
    deny(engine, maker.key.public_id)
    ProjectAccess.objects.filter(credential=child.key.public_id).delete()

    answer = allows(child.token, engine, maker.key.public_id)

    assert refuses(answer, "created_with_key")


@pytest.mark.slow
def test_a_denial_of_its_own_outlasts_that_of_the_creator(ada, engine, other):
    maker = mint_pat(ada, scopes=MANAGE)
    child = of(ada, maker)
    deny(engine, maker.key.public_id)
    assert not deny(engine, maker.key.public_id)

    assert deny(engine, child.key.public_id, reason="Also unknown.")
    assert not deny(engine, child.key.public_id)
    allow(engine, maker.key.public_id)

    assert reached(maker.token) == {"analytical-engine", "difference"}
    assert reached(child.token) == {"difference"}


def test_the_log_of_the_project_names_no_token_that_does_not_reach_it(ada, engine, other):
    maker = mint_pat(ada, scopes=MANAGE)
    here, elsewhere = of(ada, maker), of(ada, maker, projects=[other])
    deny(engine, maker.key.public_id)

    event = AuditEvent.objects.of(engine).get(event="denied")
    assert event.changes["with"] == [here.key.public_id]
    assert elsewhere.key.public_id not in str(event.changes)


def test_a_credential_that_is_revoked_meanwhile_allows_nothing(ada, engine):
    caller, key = mint_pat(ada, scopes=MANAGE), mint_key(engine)
    deny(engine, key.key.public_id)
    access = verify(caller.token)
    lifecycle.revoke(caller.key)

    with pytest.raises(LifecycleError) as error:
        allow(engine, key.key.public_id, within=grants.for_project(engine, using=access))
    assert error.value.code == "credential_changed"


# Uses after the end


def test_a_pruned_event_is_not_reported_again(ada):
    minted = mint_pat(ada)
    lifecycle.revoke(minted.key)

    def use():
        with pytest.raises(Refused):
            verify(minted.token)
        usage.flush()

    use()
    assert AuditEvent.objects.filter(event="used_after_end").count() == 1
    retention.prune_events(timezone.now() + timedelta(days=1))
    assert not AuditEvent.objects.filter(event="used_after_end").exists()

    use()
    assert not AuditEvent.objects.filter(event="used_after_end").exists()
    assert EndedUse.objects.get().count == 2


@pytest.mark.slow
def test_uses_of_many_ended_keys_send_one_mail_to_their_owner(
    ada, mailoutbox, django_capture_on_commit_callbacks
):
    ended = [mint_pat(ada) for _ in range(20)]
    for each in ended:
        lifecycle.revoke(each.key, by=ada)
        with pytest.raises(Refused):
            verify(each.token)
    mailoutbox.clear()

    with django_capture_on_commit_callbacks(execute=True):
        usage.flush()

    assert [message.subject for message in mailoutbox] == [
        "20 credentials of ada were used after their end"
    ]


def test_the_name_of_an_application_is_shown_on_one_line(ada, engine, webapp, grant):
    webapp.name = "Web\n\u202eapp\x1b]0;x\x07"
    webapp.save()
    grant()

    names = [entry.name for entry in reach.listed(engine)]
    assert names == ["Web app]0;x"]
