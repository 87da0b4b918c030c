"""Personal access tokens over the JSON API: requests, responses and errors."""

import json

import pytest

from apikeys import lifecycle
from apikeys.keys.facts import record
from apikeys.models import PersonalAccessToken
from apikeys.verify import verify
from tests.factories import mint_pat

from .conftest import Caller, in_days


@pytest.fixture
def caller(ada):
    return Caller(user=ada)


BODY = {"name": "laptop", "scopes": ["payments:read"]}


def problem(response):
    body = response.json()
    return response.status_code, body["code"], body.get("field")


def test_creating_returns_the_facts_and_the_secret_once(caller, ada, engine):
    expires_at = in_days(30)
    body = BODY | {"expires_at": expires_at.isoformat(), "projects": [engine.slug]}

    response = caller("POST", "tokens/", body)

    assert response.status_code == 201
    made = response.json()
    token = made.pop("token")
    key = PersonalAccessToken.objects.get()
    assert made == record(key)
    assert (key.user, key.name, key.scopes) == (ada, "laptop", ("payments:read",))
    assert (key.expires_at, list(key.projects.all())) == (expires_at, [engine])
    assert verify(token).credential_id == made["id"]
    assert response["Cache-Control"] == "no-store"
    again = caller("GET", f"tokens/{made['id']}/")
    assert again.json() == made | {
        "used_after_end": None,
        "used_after_denial": [],
        "awaits_approval_in": [],
    }
    assert token.rsplit("_", 1)[1] not in again.content.decode()


def test_null_means_no_expiry_and_all_projects(caller):
    made = caller("POST", "tokens/", BODY | {"expires_at": None, "projects": None}).json()

    assert (made["expires_at"], made["projects"]) == (None, None)


def test_a_time_without_offset_is_utc(caller, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    made = caller("POST", "tokens/", BODY | {"expires_at": "2999-01-01T00:00:00"}).json()

    assert made["expires_at"] == "2999-01-01T00:00:00+00:00"


@pytest.mark.parametrize(
    ("changes", "code", "field"),
    [
        ({"scope": ["payments:read"]}, "unknown_field", "scope"),
        ({"\ud800": 1}, "unknown_field", "\\ud800"),
        ({"name": ""}, "name_required", "name"),
        ({"name": "   "}, "name_required", "name"),
        ({"name": "x" * 101}, "name_too_long", "name"),
        ({"name": 7}, "invalid", "name"),
        ({"name": None}, "null", "name"),
        ({"name": "a\0b"}, "null_characters_not_allowed", "name"),
        ({"name": "\ud800"}, "surrogate_characters_not_allowed", "name"),
        ({"scopes": []}, "scope_required", "scopes"),
        ({"scopes": "payments:read"}, "not_a_list", "scopes"),
        ({"scopes": ["payments:all"]}, "unknown_scope", "scopes"),
        ({"scopes": ["payments:read", None]}, "null", "scopes.1"),
        ({"scopes": None}, "null", "scopes"),
        ({"expires_at": "2001-01-01T00:00:00Z"}, "expiry_in_the_past", "expires_at"),
        ({"expires_at": "soon"}, "invalid", "expires_at"),
        ({"expires_at": 7}, "invalid", "expires_at"),
        ({"expires_at": "9999-12-31T23:59:59-23:00"}, "overflow", "expires_at"),
        ({"projects": []}, "project_required", "projects"),
        ({"projects": ["no-such"]}, "unknown_project", "projects"),
        ({"projects": ["a\0b"]}, "null_characters_not_allowed", "projects.0"),
        ({"projects": "analytical-engine"}, "not_a_list", "projects"),
        ({"projects": [["analytical-engine"]]}, "invalid", "projects.0"),
    ],
)
def test_invalid_token_is_refused_with_code_and_field(caller, changes, code, field):
    response = caller("POST", "tokens/", BODY | changes)

    assert problem(response) == (400, code, field)
    assert response.json()["detail"]
    assert not PersonalAccessToken.objects.exists()


def test_all_errors_are_returned_at_once(caller):
    errors = caller("POST", "tokens/", {"name": 7, "projects": 7}).json()["errors"]

    assert [(e["field"], e["code"]) for e in errors] == [
        ("name", "invalid"),
        ("scopes", "required"),
        ("projects", "not_a_list"),
    ]


@pytest.mark.parametrize(
    ("data", "content_type", "status", "code"),
    [
        (b"{", "application/json", 400, "parse_error"),
        (b"\xff", "application/json", 400, "parse_error"),
        (b"[" * 50_000, "application/json", 400, "parse_error"),
        (b'{"name": NaN}', "application/json", 400, "parse_error"),
        (b'{"name": ' + b"9" * 5000 + b"}", "application/json", 400, "parse_error"),
        (b"[]", "application/json", 400, "invalid"),
        (b"null", "application/json", 400, "null"),
        (b'"text"', "application/json", 400, "invalid"),
        (b" " * 70_000, "application/json", 413, "body_too_large"),
        (json.dumps(BODY).encode(), "application/json; charset=zlib", 201, None),
        (b"name=x", "application/x-www-form-urlencoded", 415, "unsupported_media_type"),
        (b"<x/>", "text/xml", 415, "unsupported_media_type"),
    ],
)
def test_malformed_body_is_refused(caller, data, content_type, status, code):
    response = caller.client.generic("POST", "/api/tokens/", data, content_type)

    assert (response.status_code, response.json().get("code")) == (status, code)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("PUT", "tokens/", 405, "method_not_allowed"),
        ("OPTIONS", "tokens/", 405, "method_not_allowed"),
        ("GET", "tokens/?page_size=0", 400, "min_value"),
        ("GET", "tokens/?page_size=101", 400, "max_value"),
        ("GET", "tokens/?state=asleep", 400, "invalid_choice"),
        ("GET", "tokens/?cursor=cD1mb28=", 400, "invalid_cursor"),
        ("GET", "tokens/?cursor=%00", 400, "null_characters_not_allowed"),
        ("GET", "tokens/?cursor=x", 400, "invalid_cursor"),
        ("GET", "tokens/?format=html", 404, "not_found"),
        ("GET", "tokens/%00/", 404, "not_found"),
        ("GET", "tokens/AAAAAAAAAAAAAAAA/", 404, "not_found"),
        ("GET", "tokens/%F0%9F%94%91/", 404, "not_found"),
        ("GET", "projects/%00/keys/", 404, "not_found"),
        ("GET", "projects/no-such/keys/", 404, "not_found"),
        ("GET", "projects/ANALYTICAL-ENGINE/keys/", 404, "not_found"),
    ],
)
def test_malformed_url_is_refused(caller, method, path, status, code):
    response = caller(method, path)

    assert (response.status_code, response.json()["code"]) == (status, code)


def test_list_is_paged_newest_first_without_gaps(caller, ada):
    ids = [mint_pat(ada).key.public_id for _ in range(5)][::-1]
    mint_pat()  # somebody else's

    page = caller("GET", "tokens/?page_size=2").json()
    assert [key["id"] for key in page["results"]] == ids[:2]
    newer = mint_pat(ada).key.public_id  # while somebody pages
    found = [key["id"] for key in page["results"]]
    while page["next"]:
        page = caller("GET", page["next"].removeprefix("http://testserver/api/")).json()
        found += [key["id"] for key in page["results"]]
    assert found == ids
    while page["previous"]:
        page = caller("GET", page["previous"].removeprefix("http://testserver/api/")).json()
    assert page["results"][0]["id"] == newer


def test_list_is_filtered_by_state(caller, ada, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": "tests.api.test_approval.Careful"}
    live, pending = mint_pat(ada).key, mint_pat(ada, scopes=["payments:write"]).key
    expired, revoked = mint_pat(ada).key, mint_pat(ada).key
    PersonalAccessToken.objects.filter(pk=expired.pk).update(expires_at=in_days(-1))
    lifecycle.revoke(revoked)

    for state, key in [
        ("live", live),
        ("pending", pending),
        ("expired", expired),
        ("revoked", revoked),
    ]:
        (found,) = caller("GET", f"tokens/?state={state}").json()["results"]
        assert (found["id"], found["state"]) == (key.public_id, state)


@pytest.mark.parametrize("number", [1, 4])
def test_number_of_queries_does_not_grow_with_the_list(
    ada, engine, number, django_assert_num_queries
):
    caller = Caller(mint_pat(ada, scopes=["keys:read"]).token)
    for _ in range(number):
        lifecycle.rotate(mint_pat(ada, projects=[engine]).key)

    with django_assert_num_queries(4):  # caller, tokens, their users, their projects
        caller("GET", "tokens/")


@pytest.mark.slow
def test_edit_changes_only_the_given_fields(caller, ada, engine, compiler):
    key = mint_pat(ada, expires_at=in_days(5)).key

    response = caller("PATCH", f"tokens/{key.public_id}/", {"name": "desk"})
    assert response.status_code == 200
    more = {
        "name": "desk",
        "used_after_end": None,
        "used_after_denial": [],
        "awaits_approval_in": [],
    }
    assert response.json() == record(key) | more

    later = in_days(90)
    body = {"scopes": ["reports:read"], "projects": ["compiler"], "expires_at": later.isoformat()}
    edited = caller("PATCH", f"tokens/{key.public_id}/", body).json()
    assert edited == record(key) | more | body
    assert caller("PATCH", f"tokens/{key.public_id}/", {}).json() == edited
    edited = caller(
        "PATCH", f"tokens/{key.public_id}/", {"projects": None, "expires_at": None}
    ).json()
    assert (edited["projects"], edited["expires_at"]) == (None, None)


def test_edit_can_keep_a_project_that_the_user_left(caller, ada, engine, compiler):
    key = mint_pat(ada, projects=[engine, compiler]).key
    compiler.memberships.all().delete()

    body = {"name": "desk", "projects": ["compiler", "analytical-engine"]}
    assert caller("PATCH", f"tokens/{key.public_id}/", body).status_code == 200


def test_a_typo_in_an_edit_changes_nothing(caller, ada):
    key = mint_pat(ada).key

    response = caller("PATCH", f"tokens/{key.public_id}/", {"name": "desk", "scope": []})

    assert problem(response) == (400, "unknown_field", "scope")
    key.refresh_from_db()
    assert key.name == "ci"


def test_rotating_creates_a_successor(caller, ada):
    old = mint_pat(ada)

    path = f"tokens/{old.key.public_id}/rotate/"
    response = caller("POST", path, {"overlap_seconds": 3600})

    assert response.status_code == 201
    new = response.json()
    assert new["replaces"] == old.key.public_id
    assert verify(new["token"]).credential_id == new["id"]
    verify(old.token)
    old.key.refresh_from_db()
    assert (old.key.expires_at - old.key.rotated_at).total_seconds() == 3600
    again = caller("POST", path)
    assert problem(again) == (409, "already_rotated", None)


def test_rotating_without_a_body_uses_the_default_overlap(caller, ada):
    old = mint_pat(ada).key

    assert caller("POST", f"tokens/{old.public_id}/rotate/").status_code == 201

    old.refresh_from_db()
    assert (old.expires_at - old.rotated_at).days == 1


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({"overlap_seconds": -1}, "overlap_out_of_range"),
        ({"overlap_seconds": 604801}, "overlap_out_of_range"),
        ({"overlap_seconds": 10**100}, "overlap_out_of_range"),
        ({"overlap_seconds": "60"}, "invalid"),
        ({"overlap_seconds": 1.5}, "invalid"),
        ({"overlap_seconds": True}, "invalid"),
        ({"overlap_seconds": None}, "null"),
        ({"overlap": 60}, "unknown_field"),
    ],
)
def test_invalid_overlap_is_refused(caller, ada, body, code):
    key = mint_pat(ada).key

    response = caller("POST", f"tokens/{key.public_id}/rotate/", body)

    assert response.status_code == 400
    assert response.json()["code"] == code
    key.refresh_from_db()
    assert key.rotated_at is None


@pytest.mark.parametrize("way", ["query", "body"])
def test_deleting_revokes_and_keeps_the_facts(caller, ada, way):
    key = mint_pat(ada).key
    path = f"tokens/{key.public_id}/"

    if way == "query":
        response = caller("DELETE", f"{path}?reason=The+laptop+was+lost.")
    else:
        response = caller("DELETE", path, {"reason": "The laptop was lost."})

    assert (response.status_code, response.content) == (204, b"")
    told = caller("GET", path).json()
    assert (told["state"], told["revoked_by"]) == ("revoked", "ada")
    assert told["revoked_reason"] == "The laptop was lost."
    assert caller("DELETE", path).status_code == 204  # the first one counts
    assert caller("GET", path).json() == told
    assert problem(caller("PATCH", path, {"name": "x"})) == (409, "revoked_key", None)
    assert problem(caller("POST", f"{path}rotate/")) == (409, "revoked_key", None)


@pytest.mark.parametrize(
    ("query", "code"),
    [("reason=" + "x" * 201, "reason_too_long"), ("raeson=lost", "unknown_field")],
)
def test_invalid_reason_revokes_nothing(caller, ada, query, code):
    key = mint_pat(ada).key

    response = caller("DELETE", f"tokens/{key.public_id}/?{query}")

    assert (response.status_code, response.json()["code"]) == (400, code)
    key.refresh_from_db()
    assert key.revoked_at is None


def test_expired_key_cannot_be_edited_or_rotated(caller, ada):
    key = mint_pat(ada).key
    PersonalAccessToken.objects.update(expires_at=in_days(-1))

    for method, path in [("PATCH", ""), ("POST", "rotate/")]:
        response = caller(method, f"tokens/{key.public_id}/{path}", {})
        assert problem(response) == (409, "expired_key", None)


def test_creating_too_many_keys_is_refused(caller, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": "tests.api.test_approval.OneKey"}
    assert caller("POST", "tokens/", BODY).status_code == 201

    assert problem(caller("POST", "tokens/", BODY)) == (409, "too_many_keys", None)


def test_anonymous_request_is_asked_for_a_credential(db):
    response = Caller()("GET", "tokens/")

    assert problem(response) == (401, "not_authenticated", None)
    assert response["WWW-Authenticate"] == (
        'Bearer realm="api", scope="keys:read", '
        'resource_metadata="http://testserver/.well-known/oauth-protected-resource"'
    )


def test_a_session_needs_the_csrf_token(ada, client):
    client.handler.enforce_csrf_checks = True
    client.force_login(ada)

    response = client.post("/api/tokens/", BODY, content_type="application/json")

    assert problem(response) == (403, "csrf_failed", None)
    assert not PersonalAccessToken.objects.exists()


@pytest.mark.slow
def test_session_needs_a_recent_log_in_to_widen_but_not_to_narrow(caller, ada, engine):
    key = mint_pat(ada, projects=[engine], expires_at=in_days(5)).key
    path = f"tokens/{key.public_id}/"
    session = caller.client.session
    session["apikeys_logged_in_at"] -= 16 * 60  # SUDO_MAX_AGE is 15 minutes
    session.save()

    for method, url, body in [
        ("POST", "tokens/", BODY),
        ("POST", f"{path}rotate/", {}),
        ("POST", f"{path}approve/", {}),
        ("PATCH", path, {"scopes": ["payments:write"]}),
        ("PATCH", path, {"projects": None}),
        ("PATCH", path, {"expires_at": None}),
    ]:
        response = caller(method, url, body)
        assert problem(response) == (403, "recent_login_required", None), (method, url, body)
    assert PersonalAccessToken.objects.count() == 1
    narrower = {"name": "x", "expires_at": in_days(4).isoformat()}
    assert caller("PATCH", path, narrower).status_code == 200
    assert caller("DELETE", path).status_code == 204


def test_error_page_does_not_show_the_secret(caller, ada, settings, monkeypatch):
    settings.DEBUG = True  # the error page with the most details
    minted = []

    def fail(key):
        raise RuntimeError("after minting")

    original = lifecycle.mint
    monkeypatch.setattr(
        lifecycle, "mint", lambda **kwargs: minted.append(original(**kwargs)) or minted[-1]
    )
    monkeypatch.setattr("apikeys.api.key_views.record", fail)

    response = caller("POST", "tokens/", BODY)

    assert response.status_code == 500
    assert minted[0].token.rsplit("_", 1)[1] not in response.content.decode()


def test_key_without_direct_use_is_refused_until_changed(caller, client):
    made = caller("POST", "tokens/", BODY | {"direct_use": False}).json()

    assert made["direct_use"] is False
    refused = client.get("/api/payments/", headers={"Authorization": f"Bearer {made['token']}"})
    assert (refused.status_code, refused.json()["code"]) == (401, "exchange_required")
    caller("PATCH", f"tokens/{made['id']}/", {"direct_use": True})
    allowed = client.get("/api/payments/", headers={"Authorization": f"Bearer {made['token']}"})
    assert allowed.status_code == 200


def test_weaker_credential_cannot_allow_direct_use(ada, engine):
    strong = mint_pat(ada, scopes=["payments:write"], direct_use=False).key
    weak = Caller(mint_pat(ada, scopes=["keys:write", "payments:read"]).token)

    assert problem(weak("PATCH", f"tokens/{strong.public_id}/", {"direct_use": True})) == (
        403,
        "scope_not_grantable",
        "scopes",
    )
    strong.refresh_from_db()
    assert not strong.direct_use
