import pytest

from apikeys import lifecycle
from tests.api.conftest import Caller
from tests.factories import MembershipFactory, mint_key, mint_pat


@pytest.fixture
def key(engine):
    return mint_key(engine).key


def events(answer):
    assert answer.status_code == 200, answer.content
    return [(e["event"], e["key"]) for e in answer.json()["results"]]


def test_user_lists_events_of_their_tokens(ada):
    caller = Caller(user=ada)
    made = caller("POST", "tokens/", {"name": "ci", "scopes": ["payments:read"]}).json()
    mint_pat()
    caller("DELETE", f"tokens/{made['id']}/?reason=Done.")
    answer = caller("GET", "tokens/audit/")

    assert events(answer) == [("revoked", made["id"]), ("minted", made["id"])]
    assert answer.json()["results"][0] | {"id": 0, "at": ""} == {
        "id": 0, "at": "", "event": "revoked", "kind": "personal_access_token", "key": made["id"],
        "name": "ci", "owner": "ada", "by": "ada", "using": None,
        "instance": None, "authorized_by": None, "ip": "127.0.0.1",
        "changes": {"reason": "Done."},
    }  # fmt: skip
    assert answer["Cache-Control"] == "no-store"


def test_events_are_filtered_by_event_and_key(ada):
    first, second = mint_pat(ada).key, mint_pat(ada).key
    lifecycle.revoke(first)
    caller = Caller(user=ada)

    assert events(caller("GET", "tokens/audit/?event=revoked")) == [("revoked", first.public_id)]
    assert events(caller("GET", f"tokens/audit/?key={second.public_id}")) == [
        ("minted", second.public_id)
    ]
    assert caller("GET", "tokens/audit/?event=nonsense").status_code == 400
    with_prefix = f"tokens/audit/?key=acme_pat_{second.public_id}"
    assert events(caller("GET", with_prefix)) == events(
        caller("GET", f"tokens/audit/?key={second.public_id}")
    )
    assert caller("GET", "tokens/audit/?key=x").status_code == 400


def test_restricted_token_sees_events_of_visible_tokens_only(ada, engine):
    narrow = mint_pat(ada, scopes=["keys:read"], projects=[engine])
    wide = mint_pat(ada)

    seen = {key for _event, key in events(Caller(narrow.token)("GET", "tokens/audit/"))}
    assert seen == {narrow.key.public_id}
    assert wide.key.public_id not in seen


def test_project_admin_and_project_key_list_events_of_the_project(ada, engine, key):
    own = mint_key(engine, scopes=["keys:read"])
    path = "projects/analytical-engine/keys/audit/"
    mint_key()

    for caller in (Caller(user=ada), Caller(own.token)):
        assert events(caller("GET", path)) == [
            ("minted", own.key.public_id),
            ("minted", key.public_id),
        ]


def test_events_of_a_project_are_refused_to_others(engine, key, stranger):
    path = "projects/analytical-engine/keys/audit/"
    viewer = MembershipFactory(project=engine, role="viewer").user

    assert Caller(user=viewer)("GET", path).json()["code"] == "may_not_manage_keys"
    assert Caller(user=stranger)("GET", path).status_code == 404
    assert Caller()("GET", path).status_code == 401
    assert Caller(mint_key().token)("GET", path).status_code in (403, 404)
    without_scope = mint_key(engine, scopes=["payments:read"])
    assert Caller(without_scope.token)("GET", path).json()["code"] == "insufficient_scope"
