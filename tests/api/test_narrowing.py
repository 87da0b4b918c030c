"""Read over the JSON API what a key used, narrow the key to that, and undo it."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle, reach, token
from apikeys.models import AuditEvent, ScopeUse
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

from .conftest import Caller, in_days

pytestmark = pytest.mark.django_db
SCOPES = ["keys:read", "payments:write", "reports:read"]
ACTIONS = ["narrow", "undo-narrowing"]


def used(key, scope, *, days=1, project=""):
    at = timezone.now() - timedelta(days=days)
    return ScopeUse.objects.create(
        kind=token.KIND_NAMES[key.KIND], credential=key.public_id, project_pk=project,
        scope=scope, first_used_at=at - timedelta(days=3), last_used_at=at, count=7,
    )  # fmt: skip


def aged(key, days=200):
    type(key).objects.filter(pk=key.pk).update(created_at=timezone.now() - timedelta(days=days))
    return key


def code_of(response):
    return response.status_code, response.json().get("code")


def scopes_of(key):
    return sorted(type(key).objects.get(pk=key.pk).scopes)


def edits(key):
    return list(AuditEvent.objects.filter(public_id=key.public_id, event="edited"))


def path_of(key):
    if token.KIND_NAMES[key.KIND] == "project_key":
        return f"projects/{key.project.slug}/keys/{key.public_id}/"
    return f"tokens/{key.public_id}/"


@pytest.fixture(autouse=True)
def recorded(db):
    """The site has recorded uses for a year."""
    used(mint_pat(UserFactory()).key, "reports:read", days=365)


@pytest.fixture(params=["token", "key"])
def key(request, ada, engine):
    """A key of each kind that used one of its three scopes."""
    minted = mint_pat if request.param == "token" else mint_key
    key = aged(minted(ada if request.param == "token" else engine, scopes=SCOPES).key)
    used(key, "reports:read")
    return key


@pytest.fixture
def narrowed(key):
    lifecycle.keep_used(key)
    return key


def test_the_uses_of_each_scope_are_listed(ada, key):
    row = ScopeUse.objects.get(credential=key.public_id)
    used(key, "keys:read", days=120)

    facts = Caller(user=ada)("GET", f"{path_of(key)}uses/").json()

    rows = {each.pop("scope"): each for each in facts["scopes"]}
    assert list(rows) == SCOPES
    assert rows["reports:read"] == {
        "first_used_at": row.first_used_at.isoformat(),
        "last_used_at": row.last_used_at.isoformat(),
        "requests": 7,
    }
    assert rows["payments:write"] == dict.fromkeys(rows["payments:write"])
    assert rows["keys:read"]["requests"] == 7
    assert facts["days"] == 90
    assert facts["since"][:10] == (timezone.now() - timedelta(days=90)).isoformat()[:10]
    assert facts["would_keep"] == ["reports:read"]
    assert facts["would_remove"] == ["keys:read", "payments:write"]
    assert (facts["would_keep_projects"], facts["would_remove_projects"]) == (None, [])
    assert facts["would_refuse"] is None
    more = Caller(user=ada)("GET", f"{path_of(key)}uses/?days=150").json()
    assert more["would_keep"] == ["keys:read", "reports:read"]


def test_a_key_is_narrowed_to_what_it_used_and_the_narrowing_is_undone(ada, key):
    caller, path = Caller(user=ada), path_of(key)
    facts = caller("GET", f"{path}uses/").json()

    response = caller("POST", f"{path}narrow/")

    assert response.status_code == 200
    told = response.json()
    assert told.pop("key") == caller("GET", path).json()
    assert without_time(told) == without_time(facts)
    assert scopes_of(key) == ["reports:read"]
    (event,) = edits(key)
    assert (event.by, event.changes["kept_used"]["days"]) == ("ada", 90)
    assert code_of(caller("POST", f"{path}narrow/")) == (409, "nothing_unused")

    restored = caller("POST", f"{path}undo-narrowing/")

    assert (restored.status_code, restored.json()["scopes"]) == (200, SCOPES)
    assert scopes_of(key) == SCOPES
    assert code_of(caller("POST", f"{path}undo-narrowing/")) == (409, "nothing_to_undo")


def without_time(facts):
    return facts | {"since": None}


def test_a_key_that_only_read_keeps_only_the_scope_to_read(ada, engine):
    key = aged(mint_key(engine, scopes=["payments:write"]).key)
    used(key, "payments:read")
    told = Caller(user=ada)("POST", f"{path_of(key)}narrow/").json()
    assert (told["would_keep"], told["would_remove"]) == (["payments:read"], ["payments:write"])
    assert told["key"]["scopes"] == ["payments:read"]


def test_unused_selected_projects_go_and_come_back(ada, engine, compiler):
    key = aged(mint_pat(ada, scopes=["reports:read"], projects=[engine, compiler]).key)
    used(key, "reports:read", project=str(engine.pk))
    caller, path = Caller(user=ada), path_of(key)

    told = caller("POST", f"{path}narrow/").json()

    assert told["would_keep_projects"] == told["key"]["projects"] == [engine.slug]
    assert told["would_remove_projects"] == [compiler.slug]
    restored = caller("POST", f"{path}undo-narrowing/").json()
    assert sorted(restored["projects"]) == [engine.slug, compiler.slug]


def test_a_dry_run_changes_nothing(ada, key):
    caller, path = Caller(user=ada), path_of(key)
    before = caller("GET", path).json()

    told = caller("POST", f"{path}narrow/", {"dry_run": True, "days": 30}).json()

    assert told["key"] == before == caller("GET", path).json()
    assert (told["days"], told["would_keep"]) == (30, ["reports:read"])
    assert edits(key) == []
    assert caller("POST", f"{path}narrow/", {"dry_run": False}).status_code == 200
    assert scopes_of(key) == ["reports:read"]


@pytest.mark.parametrize("dry_run", [False, True])
@pytest.mark.parametrize(
    ("scopes", "age", "code"),
    [
        ([], 200, "nothing_used"),
        (SCOPES, 200, "nothing_unused"),
        (["keys:read"], 3, "too_new"),
    ],
)
def test_what_cannot_be_narrowed_is_refused_and_said_before(ada, scopes, age, code, dry_run):
    key = aged(mint_pat(ada, scopes=SCOPES).key, age)
    for scope in scopes:
        used(key, scope)
    caller, path = Caller(user=ada), path_of(key)

    facts = caller("GET", f"{path}uses/").json()
    refused = caller("POST", f"{path}narrow/", {"dry_run": dry_run})

    assert (facts["would_refuse"], facts["would_keep"]) == (code, SCOPES)
    assert facts["would_remove"] == []
    assert code_of(refused) == (409, code)
    assert scopes_of(key) == SCOPES


def test_an_ended_key_is_not_narrowed(ada, key):
    lifecycle.revoke(key)
    caller, path = Caller(user=ada), path_of(key)
    assert caller("GET", f"{path}uses/").json()["would_refuse"] == "revoked_key"
    for body in ({}, {"dry_run": True}):
        assert code_of(caller("POST", f"{path}narrow/", body)) == (409, "revoked_key")
    assert code_of(caller("POST", f"{path}undo-narrowing/")) == (409, "revoked_key")


def test_a_narrowing_cannot_be_undone_after_seven_days(ada, narrowed, monkeypatch):
    later = timezone.now() + timedelta(days=7, minutes=1)
    monkeypatch.setattr("apikeys.lifecycle.narrowing.timezone.now", lambda: later)
    refused = Caller(user=ada)("POST", f"{path_of(narrowed)}undo-narrowing/")
    assert code_of(refused) == (409, "nothing_to_undo")
    assert scopes_of(narrowed) == ["reports:read"]


@pytest.mark.slow
def test_who_may_not_manage_a_key_neither_narrows_it_nor_undoes_that(
    ada, engine, stranger, compiler
):
    viewer = MembershipFactory(project=engine, role="viewer").user
    manage = ["keys:write", *SCOPES]
    keys = [aged(mint_pat(ada, scopes=SCOPES).key), aged(mint_key(engine, scopes=SCOPES).key)]
    of_token, of_key = map(path_of, keys)
    for key in keys:
        used(key, "reports:read")
    read_only = Caller(mint_pat(ada, scopes=SCOPES).token)
    refusals = [
        (Caller(), of_token, 401, "not_authenticated"),
        (Caller(), of_key, 401, "not_authenticated"),
        (Caller(user=stranger), of_token, 404, "not_found"),
        (Caller(user=stranger), of_key, 404, "not_found"),
        (Caller(user=viewer), of_token, 404, "not_found"),
        (Caller(user=viewer), of_key, 403, "may_not_manage_keys"),
        (read_only, of_token, 403, "insufficient_scope"),
        (read_only, of_key, 403, "insufficient_scope"),
        (Caller(mint_pat(stranger, scopes=manage).token), of_token, 404, "not_found"),
        (Caller(mint_pat(stranger, scopes=manage).token), of_key, 404, "not_found"),
        (Caller(mint_key(compiler, scopes=manage).token), of_token, 403, "user_required"),
        (Caller(mint_key(compiler, scopes=manage).token), of_key, 404, "not_found"),
        (
            Caller(mint_pat(ada, scopes=manage, projects=[compiler]).token),
            of_token,
            404,
            "not_found",
        ),
    ]
    for action, scopes in zip(ACTIONS, (SCOPES, ["reports:read"]), strict=True):
        if action == "undo-narrowing":
            for key in keys:
                lifecycle.keep_used(key)
        for caller, path, status, code in refusals:
            refused = caller("POST", f"{path}{action}/")
            assert code_of(refused) == (status, code), (action, path, code)
        for key in keys:
            assert scopes_of(key) == scopes


def test_who_sees_a_key_sees_its_uses_and_nobody_else(ada, engine, stranger, compiler):
    viewer = MembershipFactory(project=engine, role="viewer").user
    of_token = path_of(mint_pat(ada, scopes=SCOPES).key)
    of_key = path_of(mint_key(engine, scopes=SCOPES).key)
    restricted = mint_pat(ada, scopes=["keys:read"], projects=[compiler])
    for caller, path, status in [
        (Caller(), of_token, 401),
        (Caller(user=stranger), of_token, 404),
        (Caller(user=stranger), of_key, 404),
        (Caller(user=viewer), of_token, 404),
        (Caller(user=viewer), of_key, 200),
        (Caller(mint_pat(ada, scopes=["payments:read"]).token), of_token, 403),
        (Caller(mint_pat(ada, scopes=["keys:read"]).token), of_token, 200),
        (Caller(restricted.token), of_token, 404),
        (Caller(restricted.token), of_key, 404),
    ]:
        assert caller("GET", f"{path}uses/").status_code == status, (path, status)


@pytest.mark.slow
def test_a_credential_narrows_any_key_and_undoes_only_what_it_could_grant(ada):
    key = aged(mint_pat(ada, scopes=SCOPES, expires_at=in_days(30)).key)
    used(key, "reports:read")
    path = path_of(key)
    enough = ["keys:write", *SCOPES]
    lacks_scope = mint_pat(ada, scopes=["keys:write", "reports:read"])
    lacks_kept = mint_pat(ada, scopes=["keys:write", "payments:write"])
    ends_sooner = mint_pat(ada, scopes=enough, expires_at=in_days(1))
    limited = mint_pat(ada, scopes=enough, rate_limits=["5/minute"])
    covers = mint_pat(ada, scopes=enough)

    # It needs less to narrow: that takes access away.
    assert Caller(lacks_scope.token)("POST", f"{path}narrow/").status_code == 200
    for credential, code in [
        (lacks_scope, "scope_not_grantable"),
        (lacks_kept, "scope_not_grantable"),
        (ends_sooner, "outlives_credential"),
        (limited, "rate_limit_not_grantable"),
    ]:
        refused = Caller(credential.token)("POST", f"{path}undo-narrowing/")
        assert code_of(refused) == (403, code)
        assert scopes_of(key) == ["reports:read"]
    assert Caller(covers.token)("POST", f"{path}undo-narrowing/").status_code == 200
    assert scopes_of(key) == SCOPES
    assert [event.using for event in edits(key)] == [
        covers.key.public_id,
        lacks_scope.key.public_id,
    ]


@pytest.mark.parametrize("of", ["token", "key"])
def test_a_key_that_narrowed_itself_does_not_widen_itself(ada, engine, of):
    scopes = ["keys:write", "payments:read"]
    minted = mint_pat(ada, scopes=scopes) if of == "token" else mint_key(engine, scopes=scopes)
    aged(minted.key)
    used(minted.key, "keys:write")
    caller, path = Caller(minted.token), path_of(minted.key)

    assert caller("POST", f"{path}narrow/").json()["key"]["scopes"] == ["keys:write"]
    refused = caller("POST", f"{path}undo-narrowing/")

    assert code_of(refused) == (403, "scope_not_grantable")
    assert scopes_of(minted.key) == ["keys:write"]


def test_a_restricted_credential_does_not_bring_back_another_project(ada, engine, compiler):
    key = aged(mint_pat(ada, scopes=["reports:read"], projects=[engine, compiler]).key)
    used(key, "reports:read", project=str(engine.pk))
    lifecycle.keep_used(key)
    restricted = mint_pat(ada, scopes=["keys:write", "reports:read"], projects=[engine])

    refused = Caller(restricted.token)("POST", f"{path_of(key)}undo-narrowing/")

    assert code_of(refused) == (403, "project_not_grantable")
    assert [each.slug for each in key.reach()] == [engine.slug]


@pytest.mark.slow
@pytest.mark.parametrize("is_selective", [False, True])
def test_a_denied_credential_undoes_no_narrowing(ada, engine, compiler, is_selective):
    projects = [engine, compiler] if is_selective else None
    key = aged(mint_pat(ada, scopes=SCOPES, projects=projects).key)
    used(key, "reports:read")
    lifecycle.keep_used(key)
    denied = mint_pat(ada, scopes=["keys:write", *SCOPES])
    reach.deny(engine, reach.find(engine, denied.key.public_id))
    path = f"{path_of(key)}undo-narrowing/"

    assert code_of(Caller(denied.token)("POST", path)) == (403, "project_not_grantable")
    assert scopes_of(key) == ["reports:read"]
    other = mint_pat(ada, scopes=["keys:write", *SCOPES])
    assert Caller(other.token)("POST", path).status_code == 200


def test_undoing_needs_a_recent_login_and_narrowing_does_not(ada, key):
    path, caller = path_of(key), Caller(user=ada)
    session = caller.client.session
    session["apikeys_logged_in_at"] = 0
    session.save()

    assert caller("POST", f"{path}narrow/").status_code == 200
    refused = caller("POST", f"{path}undo-narrowing/")
    assert code_of(refused) == (403, "recent_login_required")
    assert scopes_of(key) == ["reports:read"]


@pytest.mark.parametrize("action", ACTIONS)
def test_a_session_needs_a_csrf_token(ada, key, action):
    if action == "undo-narrowing":
        lifecycle.keep_used(key)
    before, caller = scopes_of(key), Caller(user=ada)
    caller.client.handler.enforce_csrf_checks = True
    assert caller("POST", f"{path_of(key)}{action}/").status_code == 403
    assert scopes_of(key) == before


@pytest.mark.parametrize("action", ["uses", *ACTIONS])
def test_other_methods_are_refused(ada, key, action):
    others = {"GET", "POST", "PUT", "PATCH", "DELETE"} - {"GET" if action == "uses" else "POST"}
    for method in sorted(others):
        response = Caller(user=ada)(method, f"{path_of(key)}{action}/")
        assert response.status_code == 405, method
    assert scopes_of(key) == SCOPES


@pytest.mark.parametrize("days", [0, -1, 6, 731, 10**9, 10**40, "many", "", "90d", 90.5])
def test_wrong_days_are_refused(ada, key, days):
    caller, path = Caller(user=ada), path_of(key)
    for response in (
        caller("GET", f"{path}uses/?days={days}"),
        caller("POST", f"{path}narrow/", {"days": days}),
        caller("POST", f"{path}narrow/", {"days": days, "dry_run": True}),
    ):
        assert response.status_code == 400
        assert response.json()["field"] == "days"
    assert scopes_of(key) == SCOPES


@pytest.mark.parametrize(
    ("body", "field", "code"),
    [
        ({"days": None}, "days", "null"),
        ({"days": True}, "days", "invalid"),
        ({"days": "90"}, "days", "invalid"),
        ({"days": [90]}, "days", "invalid"),
        ({"dry_run": "perhaps"}, "dry_run", "invalid"),
        ({"dry_run": None}, "dry_run", "null"),
        ({"dryrun": True}, "dryrun", "unknown_field"),
        ({"dry-run": True}, "dry-run", "unknown_field"),
    ],
)
def test_a_wrong_body_narrows_nothing(ada, key, body, field, code):
    response = Caller(user=ada)("POST", f"{path_of(key)}narrow/", body)
    assert code_of(response) == (400, code)
    assert response.json()["field"] == field
    assert scopes_of(key) == SCOPES


def test_undoing_takes_no_body(ada, narrowed):
    refused = Caller(user=ada)("POST", f"{path_of(narrowed)}undo-narrowing/", {"scopes": ["x"]})
    assert code_of(refused) == (400, "unknown_field")
    assert scopes_of(narrowed) == ["reports:read"]


def test_uses_that_come_during_the_request_are_not_removed(ada, key, monkeypatch):
    uses = lifecycle.narrowing.uses

    def and_then_one_more(*args):
        found = uses(*args)
        used(key, "keys:read")
        return found

    monkeypatch.setattr(lifecycle, "uses", and_then_one_more)
    refused = Caller(user=ada)("POST", f"{path_of(key)}narrow/")
    assert code_of(refused) == (409, "uses_changed")
    assert scopes_of(key) == SCOPES
