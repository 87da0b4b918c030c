"""Pausing and resuming keys over the JSON API."""

import pytest

from apikeys import lifecycle, testing
from apikeys.models import AuditEvent
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_key, mint_pat

from .conftest import Caller, in_days

pytestmark = pytest.mark.django_db


@pytest.fixture(params=["token", "key"])
def kind(request, ada, engine):
    """A key of each kind and the path of its owner's keys."""
    if request.param == "token":
        return mint_pat(ada), "tokens/"
    return mint_key(engine), f"projects/{engine.slug}/keys/"


def code_of(response):
    return response.status_code, response.json().get("code")


def events(key, *names):
    return list(AuditEvent.objects.filter(public_id=key.public_id, event__in=names))


def test_a_paused_key_is_refused_and_works_again_once_resumed(ada, kind):
    minted, keys = kind
    path, caller = f"{keys}{minted.key.public_id}/", Caller(user=ada)

    paused = caller("POST", f"{path}pause/", {"reason": "Is it in use?"})

    assert paused.status_code == 200
    facts = paused.json()
    assert facts.pop("used_after_end") is None
    assert facts.pop("used_after_denial") == facts.pop("awaits_approval_in") == []
    assert (facts["state"], facts["paused_by"]) == ("paused", "ada")
    assert (facts["paused_reason"], facts["held"]) == ("Is it in use?", False)
    assert facts["paused_at"]
    refused = Caller(minted.token)("GET", "token/")
    assert code_of(refused) == (401, "paused_key")
    assert caller("GET", f"{keys}?state=paused").json()["results"] == [facts]
    assert caller("GET", f"{keys}?state=live").json()["results"] == []

    resumed = caller("POST", f"{path}resume/")

    assert resumed.status_code == 200
    facts = resumed.json()
    assert (facts["state"], facts["paused_at"], facts["paused_by"]) == ("live", None, None)
    assert facts["paused_reason"] is None
    assert Caller(minted.token)("GET", "token/").status_code == 200
    assert [event.by for event in events(minted.key, "paused", "resumed")] == ["ada", "ada"]


def test_repeating_a_pause_or_a_resumption_is_no_error_and_no_second_event(ada, kind):
    minted, keys = kind
    path, caller = f"{keys}{minted.key.public_id}/", Caller(user=ada)

    assert caller("POST", f"{path}pause/", {"reason": "First."}).status_code == 200
    again = caller("POST", f"{path}pause/", {"reason": "Second."})
    assert (again.status_code, again.json()["paused_reason"]) == (200, "First.")
    for _ in range(2):
        assert caller("POST", f"{path}resume/").status_code == 200
    assert len(events(minted.key, "paused")) == len(events(minted.key, "resumed")) == 1


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_only_post_changes_a_key(ada, kind, action):
    minted, keys = kind
    for method in ("GET", "PUT", "PATCH", "DELETE"):
        response = Caller(user=ada)(method, f"{keys}{minted.key.public_id}/{action}/")
        assert response.status_code == 405
    assert verify(minted.token)


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_a_session_needs_a_csrf_token(ada, kind, action):
    minted, keys = kind
    caller = Caller(user=ada)
    caller.client.handler.enforce_csrf_checks = True
    before = _state(minted, action)

    response = caller("POST", f"{keys}{minted.key.public_id}/{action}/")

    assert response.status_code == 403
    minted.key.refresh_from_db()
    assert minted.key.state() == before


def _state(minted, action):
    """Bring the key into the state that ``action`` would end, and return it."""
    if action == "resume":
        lifecycle.pause(minted.key)
    return minted.key.state()


@pytest.mark.parametrize("action", ["pause", "resume"])
def test_who_may_not_manage_a_key_may_not_pause_or_resume_it(
    ada, engine, stranger, compiler, action
):
    token, key = mint_pat(ada), mint_key(engine)
    states = [_state(minted, action) for minted in (token, key)]
    viewer = MembershipFactory(project=engine, role="viewer").user
    developer_scopes = ["keys:write", "payments:read"]
    elsewhere = mint_key(compiler, scopes=developer_scopes)
    read_only = mint_pat(ada, scopes=["keys:read", "payments:read"])
    without = mint_pat(ada, scopes=["payments:read"])
    of_stranger = mint_pat(stranger, scopes=developer_scopes)
    restricted = mint_pat(ada, scopes=developer_scopes, projects=[compiler])
    of_token = f"tokens/{token.key.public_id}/{action}/"
    of_key = f"projects/{engine.slug}/keys/{key.key.public_id}/{action}/"

    for caller, path, status, code in [
        (Caller(), of_token, 401, "not_authenticated"),
        (Caller(), of_key, 401, "not_authenticated"),
        (Caller(user=stranger), of_token, 404, "not_found"),
        (Caller(user=stranger), of_key, 404, "not_found"),
        (Caller(user=viewer), of_token, 404, "not_found"),
        (Caller(user=viewer), of_key, 403, "may_not_manage_keys"),
        (Caller(of_stranger.token), of_token, 404, "not_found"),
        (Caller(of_stranger.token), of_key, 404, "not_found"),
        (Caller(elsewhere.token), of_key, 404, "not_found"),
        (Caller(elsewhere.token), of_token, 403, "user_required"),
        (Caller(read_only.token), of_token, 403, "insufficient_scope"),
        (Caller(read_only.token), of_key, 403, "insufficient_scope"),
        (Caller(without.token), of_token, 403, "insufficient_scope"),
        (Caller(restricted.token), of_token, 404, "not_found"),
        (Caller(restricted.token), of_key, 404, "not_found"),
    ]:
        assert code_of(caller("POST", path)) == (status, code), (path, code)
    for minted, state in zip((token, key), states, strict=True):
        minted.key.refresh_from_db()
        assert minted.key.state() == state
        assert len(events(minted.key, "paused", "resumed")) == (action == "resume")


@pytest.mark.slow
def test_a_credential_resumes_only_what_it_could_create(ada, engine):
    token = mint_pat(ada, scopes=["payments:write"], expires_at=in_days(30))
    path = f"tokens/{token.key.public_id}/"
    enough = ["keys:write", "payments:write"]
    lacks_scope = mint_pat(ada, scopes=["keys:write"])
    ends_sooner = mint_pat(ada, scopes=enough, expires_at=in_days(1))
    limited = mint_pat(ada, scopes=enough, rate_limits=["5/minute"])
    covers = mint_pat(ada, scopes=enough)

    # It needs less to pause: that takes access away.
    assert Caller(lacks_scope.token)("POST", f"{path}pause/").status_code == 200
    for credential, status, code in [
        (lacks_scope, 403, "scope_not_grantable"),
        (ends_sooner, 403, "outlives_credential"),
        (limited, 403, "rate_limit_not_grantable"),
        (covers, 200, None),
    ]:
        response = Caller(credential.token)("POST", f"{path}resume/")
        assert code_of(response) == (status, code)
    (event,) = events(token.key, "resumed")
    assert event.using == covers.key.public_id


def test_a_paused_key_does_not_resume_itself(ada, engine):
    for minted, keys in [
        (mint_pat(ada, scopes=["keys:write"]), "tokens/"),
        (mint_key(engine, scopes=["keys:write"]), f"projects/{engine.slug}/keys/"),
    ]:
        caller, path = Caller(minted.token), f"{keys}{minted.key.public_id}/"
        assert caller("POST", f"{path}pause/").status_code == 200
        for action in ("resume", "pause"):
            assert code_of(caller("POST", f"{path}{action}/")) == (401, "paused_key")
        (event,) = events(minted.key, "paused")
        assert event.using == minted.key.public_id


def test_only_a_site_admin_resumes_a_held_key(ada, kind):
    minted, keys = kind
    path = f"{keys}{minted.key.public_id}/"
    lifecycle.pause(minted.key, reason="Suspicious.", held=True)

    # A pause without the hold does not take its place.
    again = Caller(user=ada)("POST", f"{path}pause/", {"reason": "Mine."})
    assert (again.status_code, again.json()["held"]) == (200, True)
    assert again.json()["paused_reason"] == "Suspicious."
    response = Caller(user=ada)("POST", f"{path}resume/")
    assert code_of(response) == (403, "held_key")
    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)


def test_resuming_needs_a_recent_login_and_pausing_does_not(ada, kind, settings):
    minted, keys = kind
    path, caller = f"{keys}{minted.key.public_id}/", Caller(user=ada)
    session = caller.client.session
    session["apikeys_logged_in_at"] = 0
    session.save()

    assert caller("POST", f"{path}pause/").status_code == 200
    assert code_of(caller("POST", f"{path}resume/")) == (403, "recent_login_required")
    minted.key.refresh_from_db()
    assert minted.key.state() == "paused"


@pytest.mark.parametrize("state", ["revoked", "expired"])
def test_an_ended_key_is_neither_paused_nor_resumed(ada, state):
    key = mint_pat(ada, state=state).key
    for action in ("pause", "resume"):
        response = Caller(user=ada)("POST", f"tokens/{key.public_id}/{action}/")
        assert code_of(response) == (409, f"{state}_key")


def test_a_paused_key_is_edited_and_revoked_but_not_rotated(ada, kind):
    minted, keys = kind
    path, caller = f"{keys}{minted.key.public_id}/", Caller(user=ada)
    caller("POST", f"{path}pause/")

    assert code_of(caller("POST", f"{path}rotate/")) == (409, "paused_key")
    edited = caller("PATCH", path, {"name": "desk"})
    assert (edited.status_code, edited.json()["state"]) == (200, "paused")
    assert caller("DELETE", path).status_code == 204
    assert code_of(caller("POST", f"{path}resume/")) == (409, "revoked_key")


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"reason": "x" * 201}, "reason_too_long"),
        ({"reason": "a\x00b"}, "invalid_reason"),
        ({"reason": 5}, "invalid"),
        ({"held": True}, "unknown_field"),
        ({"until": "tomorrow"}, "unknown_field"),
    ],
)
def test_a_wrong_body_pauses_nothing(ada, body, code):
    minted = mint_pat(ada)
    response = Caller(user=ada)("POST", f"tokens/{minted.key.public_id}/pause/", body)
    assert response.status_code == 400
    assert response.json()["code"] in (code, "null_characters_not_allowed")
    assert verify(minted.token)


def test_a_secret_in_the_reason_is_refused_and_not_repeated(ada):
    minted = mint_pat(ada)
    body = {"reason": f"Leaked: {minted.token}"}
    response = Caller(user=ada)("POST", f"tokens/{minted.key.public_id}/pause/", body)
    assert code_of(response) == (400, "secret_in_text")
    assert minted.token not in response.content.decode()
    assert verify(minted.token)


def test_a_pending_key_that_was_paused_stays_refused_once_approved(ada):
    minted = mint_pat(ada, state="pending")
    paused = Caller(user=ada)("POST", f"tokens/{minted.key.public_id}/pause/").json()
    assert (paused["state"], bool(paused["paused_at"])) == ("pending", True)

    lifecycle.approve(minted.key)

    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)


def test_the_factory_makes_paused_keys():
    minted = testing.PersonalAccessTokenFactory.create(scopes=["payments:read"], state="paused")
    with pytest.raises(Refused, match="paused_key"):
        verify(minted.token)
