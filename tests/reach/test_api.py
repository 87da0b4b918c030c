"""The list of what reaches a project over the API, and its decisions."""

from datetime import timedelta

import pytest
from django.urls import reverse
from django.utils import timezone

from apikeys import lifecycle, reach
from apikeys.models import PersonalAccessToken, ProjectAccess, ProjectKey, ScopeUse
from apikeys.verify import verify
from apikeys.web import sudo
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
)

pytestmark = pytest.mark.django_db
URL = "/api/projects/analytical-engine/access/"
READ, WRITE = "keys:read", "keys:write"
FIELDS = {
    "kind", "id", "name", "user", "client", "scopes", "last_used_at", "last_used_across_at",
    "expires_at", "state", "denied", "denied_at", "denied_by", "denied_reason", "uses_after_denial",
    "last_used_after_denial_at", "awaits_approval",
}  # fmt: skip


@pytest.fixture
def bob(engine):
    user = UserFactory(username="bob", email="bob@example.com")
    MembershipFactory(user=user, project=engine, role="developer")
    return user


@pytest.fixture
def eve(db):
    """An outsider with a project of her own."""
    user = UserFactory(username="eve")
    MembershipFactory(user=user, project=ProjectFactory(slug="moriarty", name="Reichenbach"))
    return user


@pytest.fixture
def as_(client):
    def as_(user):
        client.force_login(user)
        return client

    return as_


def listed(client, **params):
    response = client.get(URL, params)
    assert response.status_code == 200, response.content
    return response.json()["results"]


def post(client, public_id, verb, data=None, **headers):
    url = f"{URL}{public_id}/{verb}/"
    return client.post(url, data or {}, content_type="application/json", headers=headers or None)


def test_an_owner_sees_every_credential_and_no_secret(as_, ada, bob, eve, engine):
    other = ProjectFactory(slug="secret-project")
    MembershipFactory(user=bob, project=other, role="owner")
    mint_pat(eve)
    own = mint_pat(ada, name="mine")
    theirs = mint_pat(bob, name="laptop", scopes=["payments:write"], projects=[engine, other])
    key = mint_key(engine, name="server")
    client = as_(ada)

    found = {each["id"]: each for each in listed(client)}

    assert set(found) == {own.key.public_id, theirs.key.public_id, key.key.public_id}
    assert all(set(each) == FIELDS for each in found.values())
    of_bob = found[theirs.key.public_id]
    assert (of_bob["kind"], of_bob["user"], of_bob["name"]) == (
        "personal_access_token", "bob", "laptop",
    )  # fmt: skip
    assert of_bob["denied"] is False
    assert of_bob["scopes"] == ["payments:write"]
    assert found[key.key.public_id]["kind"] == "project_key"
    text = client.get(URL).content.decode()
    assert "secret-project" not in text
    assert "acme_" not in text


def test_scopes_are_those_that_the_role_allows(as_, ada, engine):
    viewer = MembershipFactory(project=engine, role="viewer").user
    minted = mint_pat(viewer, scopes=["payments:write", "reports:read"])
    (found,) = [each for each in listed(as_(ada)) if each["id"] == minted.key.public_id]
    assert found["scopes"] == ["payments:read", "reports:read"]


def test_a_member_sees_own_tokens_only(as_, ada, bob, engine):
    mint_pat(ada)
    mint_key(engine)
    own = mint_pat(bob)
    assert [each["id"] for each in listed(as_(bob))] == [own.key.public_id]


def test_an_outsider_finds_nothing(as_, ada, eve, engine):
    minted = mint_pat(ada)
    client = as_(eve)
    assert client.get(URL).status_code == 404
    assert post(client, minted.key.public_id, "deny").status_code == 404
    assert client.get("/api/projects/none/access/").status_code == 404
    assert not ProjectAccess.objects.exists()


@pytest.mark.parametrize("role", ["developer", "viewer"])
def test_only_managers_decide(as_, ada, engine, role):
    member = MembershipFactory(project=engine, role=role).user
    own, minted = mint_pat(member), mint_pat(ada)
    for public_id in (own.key.public_id, minted.key.public_id, "0" * 16):
        for verb in ("deny", "allow"):
            refused = post(as_(member), public_id, verb)
            assert (refused.status_code, refused.json()["code"]) == (403, "may_not_deny")
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_deny_and_allow(as_, ada, bob, engine, mailoutbox, django_capture_on_commit_callbacks):
    minted, client = mint_pat(bob), as_(ada)
    with django_capture_on_commit_callbacks(execute=True):
        denied = post(client, minted.key.public_id, "deny", {"reason": "Unknown <laptop>."})
    assert denied.status_code == 200, denied.content
    found = denied.json()
    assert (found["denied"], found["denied_by"]) == (True, "ada")
    assert found["denied_reason"] == "Unknown <laptop>."
    assert not verify(minted.token).allows(project=engine)
    (mail,) = mailoutbox
    assert mail.to == ["bob@example.com"]
    assert "ada denied" in mail.body
    assert "Unknown <laptop>." in mail.body

    with django_capture_on_commit_callbacks(execute=True):
        allowed = post(client, minted.key.public_id, "allow")
    assert allowed.json()["denied"] is False
    assert verify(minted.token).allows(project=engine)
    assert mailoutbox[1].to == ["bob@example.com"]


def test_ids_of_other_projects_are_unknown(as_, ada, eve, engine):
    client = as_(ada)
    known = [mint_pat(eve).key, mint_key().key]
    answers = [post(client, key.public_id, "deny") for key in known]
    answers += [post(client, "0" * 16, "deny"), post(client, "nonsense", "deny")]
    assert {(each.status_code, each.content) for each in answers} == {(404, answers[0].content)}


@pytest.mark.slow
def test_unknown_parameters_and_bodies_are_refused(as_, ada):
    client, minted = as_(ada), mint_pat(ada)
    for params in ({"kind": "x"}, {"used": "not-x"}, {"sort": "id"}, {"page_size": 101}):
        assert client.get(URL, params).status_code == 400
    for cursor in ("x", "-1", "9" * 12):
        refused = client.get(URL, {"cursor": cursor})
        assert (refused.status_code, refused.json()["code"]) == (400, "invalid_cursor")
    for body in ({"why": "x"}, {"reason": "x" * 201}, {"reason": 1}):
        assert post(client, minted.key.public_id, "deny", body).status_code == 400
    assert post(client, minted.key.public_id, "allow", {"reason": "x"}).status_code == 400


@pytest.mark.slow
def test_filters_and_pages(as_, ada, bob, engine):
    first, second = mint_pat(bob, name="alpha"), mint_pat(ada, name="beta")
    key = mint_key(engine, name="gamma")
    reach.deny(engine, reach.find(engine, second.key.public_id))
    client = as_(ada)

    def ids(**params):
        return [each["id"] for each in listed(client, **params)]

    assert ids() == [each.key.public_id for each in (first, second, key)]
    assert ids(kind="project_key") == ids(q="GAMM") == [key.key.public_id]
    assert ids(q="bob") == [first.key.public_id]
    assert ids(q=first.key.public_id[:5])[:1] == [first.key.public_id]
    assert ids(denied="yes") == [second.key.public_id]
    assert ids(state="paused") == ids(denied="awaiting") == ids(used="30") == []
    assert len(ids(used="never")) == 3
    assert ids(used="not-30") == [], "they are younger than that"
    for model in (PersonalAccessToken, ProjectKey):
        model.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert len(ids(used="not-30")) == 3
    assert ids(used="not-90") == []
    reach.require_approval(engine, True)
    assert ids(denied="awaiting") == [first.key.public_id]

    page = client.get(URL, {"page_size": 2}).json()
    assert page["previous"] is None
    rest = client.get(page["next"]).json()
    assert [each["id"] for each in rest["results"]] == [key.key.public_id]
    assert rest["next"] is None
    assert client.get(rest["previous"]).json()["results"] == page["results"]


@pytest.mark.slow
def test_credentials_need_the_scopes(client, ada, engine):
    target = mint_pat(ada, scopes=["payments:read"])
    reader, writer = mint_pat(ada, scopes=[READ]), mint_pat(ada, scopes=[WRITE])
    public_id = target.key.public_id

    for minted, verb in ((target, "deny"), (reader, "deny"), (reader, "allow")):
        refused = post(client, public_id, verb, **bearer(minted.token))
        assert refused.status_code == 403
    assert client.get(URL, headers=bearer(target.token)).status_code == 403
    assert client.get(URL, headers=bearer(reader.token)).status_code == 200
    assert post(client, public_id, "deny", **bearer(writer.token)).status_code == 200
    beyond = post(client, public_id, "allow", **bearer(writer.token))
    assert (beyond.status_code, beyond.json()["code"]) == (403, "scope_not_grantable")


def test_a_denied_credential_decides_nothing(client, ada, engine):
    denied = mint_pat(ada, scopes=[READ, WRITE])
    reach.deny(engine, reach.find(engine, denied.key.public_id))
    assert client.get(URL, headers=bearer(denied.token)).status_code == 404
    assert post(client, denied.key.public_id, "allow", **bearer(denied.token)).status_code == 404


def test_a_project_key_reads_its_project_and_decides_nothing(client, ada, engine):
    minted = mint_key(engine, scopes=[READ, WRITE])
    assert client.get(URL, headers=bearer(minted.token)).status_code == 200
    refused = post(client, minted.key.public_id, "deny", **bearer(minted.token))
    assert (refused.status_code, refused.json()["code"]) == (403, "user_required")
    elsewhere = mint_key(scopes=[READ])
    assert client.get(URL, headers=bearer(elsewhere.token)).status_code == 404


def test_only_to_allow_needs_a_recent_login(as_, ada, engine):
    minted, client = mint_pat(ada), as_(ada)
    session = client.session
    session[sudo._STAMP] = 0
    session.save()
    assert post(client, minted.key.public_id, "deny").status_code == 200
    refused = post(client, minted.key.public_id, "allow")
    assert (refused.status_code, refused.json()["code"]) == (403, "recent_login_required")


def test_a_held_key_is_not_allowed(as_, ada, engine):
    minted, client = mint_key(engine), as_(ada)
    reach.deny(engine, reach.find(engine, minted.key.public_id))
    lifecycle.pause(minted.key, held=True)
    refused = post(client, minted.key.public_id, "allow")
    assert (refused.status_code, refused.json()["code"]) == (403, "held_key")
    assert reach.find(engine, minted.key.public_id).is_denied


@pytest.mark.slow
def test_the_number_of_queries_is_constant(as_, ada, engine, django_assert_max_num_queries):
    client = as_(ada)
    for _ in range(30):
        mint_pat(MembershipFactory(project=engine).user)
        mint_key(engine)
    with django_assert_max_num_queries(20):
        assert len(listed(client)) == 50


def test_urls_have_names():
    assert reverse("apikeys-project-access", args=["analytical-engine"]) == URL


def test_a_use_that_was_not_in_one_project_is_told_apart(as_, ada, engine):
    """A token that lists the payments of all its projects is not unused here."""
    token, at = mint_pat(ada).key, timezone.now() - timedelta(hours=1)
    ScopeUse.objects.create(
        kind="personal_access_token", credential=token.public_id, project_pk="",
        scope="payments:read", first_used_at=at, last_used_at=at, count=1,
    )  # fmt: skip
    (entry,) = listed(as_(ada))
    assert entry["last_used_at"] is None
    assert entry["last_used_across_at"] == at.isoformat()
    assert listed(as_(ada), used="never") == listed(as_(ada), used="not-30") == []
    assert listed(as_(ada), used="30") == [entry]
