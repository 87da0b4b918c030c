"""Project keys that trust a workload, over the JSON API."""

import pytest

from apikeys import lifecycle
from apikeys.models import AuditEvent, ProjectKey
from apikeys.policy import Policy
from tests.api.conftest import Caller
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.workloads.conftest import workloads  # noqa: F401 - a fixture
from tests.workloads.issuer import CLUSTER, SITE, TRUST, URL

pytestmark = pytest.mark.usefixtures("workloads")

PATH = "projects/analytical-engine/keys/"
BODY = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST}
CLAIMS = {"environment": "production", "repository_id": "123456789"}
NARROW = {"issuer": "github", "claims": TRUST["claims"] | {"ref": "refs/heads/main"}}
OTHER = {"issuer": "github", "claims": {"repository_id": 2}}
SUBJECT = "system:serviceaccount:production:deploy"


class Careful(Policy):
    def needs_approval(self, owner, scope):
        return scope == "payments:write"


@pytest.fixture
def caller(ada):
    return Caller(user=ada)


@pytest.fixture
def key(engine):
    return lifecycle.mint(project=engine, **BODY).key


@pytest.fixture
def old_session(caller):
    """A session whose log-in is not recent."""
    session = caller.client.session
    session["apikeys_logged_in_at"] -= 16 * 60
    session.save()
    return caller


def one(key):
    return f"{PATH}{key.public_id}/"


def problem(response):
    return response.status_code, response.json().get("code")


def field(response):
    return response.json().get("field")


class TestCreate:
    def test_key_has_rules_and_no_secret(self, caller, engine):
        response = caller("POST", PATH, BODY)
        told = response.json()
        assert response.status_code == 201
        assert told["token"] is None
        assert told["trust"] == {"issuer": URL, "audience": SITE, "claims": CLAIMS}
        assert told["direct_use"] is False
        assert caller("GET", f"{PATH}{told['id']}/").json()["trust"] == told["trust"]

    def test_key_with_a_secret_has_no_rules(self, caller, engine):
        for body in ({**BODY, "trust": None}, {k: v for k, v in BODY.items() if k != "trust"}):
            told = caller("POST", PATH, body).json()
            assert told["token"].startswith("acme_key_")
            assert told["trust"] is None

    @pytest.mark.parametrize(
        ("trust", "code"),
        [
            ("github", "invalid_trust"),
            ([], "invalid_trust"),
            (7, "invalid_trust"),
            ({}, "issuer_not_trusted"),
            ({"issuer": ["github"]}, "issuer_not_trusted"),
            ({"issuer": "https://evil.example", "claims": {"sub": "x"}}, "issuer_not_trusted"),
            ({"issuer": "github", "jwks_uri": "https://evil.example"}, "invalid_trust"),
            ({"issuer": "github"}, "trust_too_broad"),
            ({"issuer": "github", "claims": []}, "trust_too_broad"),
            ({"issuer": "github", "claims": "repository_id=1"}, "invalid_trust"),
            ({"issuer": "github", "claims": {"environment": "production"}}, "trust_too_broad"),
            ({"issuer": "github", "claims": {"repository_id": "*"}}, "glob_not_allowed"),
            ({"issuer": "github", "claims": {"repository_id": {"not": 1}}}, "invalid_claim"),
            ({"issuer": "github", "claims": {"repository_id": None}}, "invalid_claim"),
            ({"issuer": "github", "claims": {"repository_id": 10**400}}, "invalid_claim"),
            ({"issuer": "github", "claims": {"repository": "acme/app"}}, "claim_not_allowed"),
            ({**TRUST, "audience": "https://github.com/acme"}, "audience_not_allowed"),
            ({**TRUST, "audience": [SITE]}, "audience_not_allowed"),
        ],
    )
    def test_unsafe_rules_are_refused_at_their_field(self, caller, engine, trust, code):
        response = caller("POST", PATH, {**BODY, "trust": trust})
        assert problem(response) == (400, code)
        assert field(response) == "trust"
        assert not ProjectKey.objects.exists()

    def test_two_proofs_are_refused(self, caller, engine):
        response = caller("POST", PATH, {**BODY, "public_key": "x"})
        assert problem(response) == (400, "contradictory_proofs")

    def test_direct_use_needs_an_issuer_that_allows_it(self, caller, engine):
        assert problem(caller("POST", PATH, {**BODY, "direct_use": True})) == (
            400, "direct_use_not_allowed",
        )  # fmt: skip
        trust = {"issuer": "kubernetes", "claims": {"sub": SUBJECT}}
        told = caller("POST", PATH, {**BODY, "trust": trust, "direct_use": True}).json()
        assert (told["direct_use"], told["trust"]["issuer"]) == (True, CLUSTER)

    def test_tokens_of_users_refuse_the_field(self, caller):
        body = {"name": "x", "scopes": ["payments:read"], "trust": TRUST}
        assert caller("POST", "tokens/", body).status_code == 400

    def test_site_without_issuers_refuses(self, caller, engine, settings):
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
        assert problem(caller("POST", PATH, BODY)) == (400, "workloads_disabled")

    def test_recent_login_is_required(self, old_session, engine):
        assert problem(old_session("POST", PATH, BODY)) == (403, "recent_login_required")

    @pytest.mark.parametrize("role", ["viewer", None])
    def test_others_cannot_create(self, engine, role):
        member = MembershipFactory(role=role or "owner", **({"project": engine} if role else {}))
        response = Caller(user=member.user)("POST", PATH, BODY)
        assert response.status_code == (403 if role else 404)
        assert not ProjectKey.objects.exists()

    def test_repeated_request_creates_one_key(self, caller, engine):
        answers = [caller("POST", PATH, BODY, Idempotency_Key="a") for _ in range(2)]
        assert [each.status_code for each in answers] == [201, 201]
        assert len({each.json()["id"] for each in answers}) == 1


class TestEdit:
    def test_rules_are_replaced(self, caller, key):
        response = caller("PATCH", one(key), {"trust": OTHER})
        assert response.status_code == 200
        assert response.json()["trust"]["claims"] == {"repository_id": "2"}
        change = AuditEvent.objects.filter(event="edited").get().changes["trust"]
        assert (change["before"]["claims"], change["after"]["claims"]) == (
            CLAIMS, {"repository_id": "2"},
        )  # fmt: skip

    def test_other_fields_leave_the_rules(self, caller, key):
        told = caller("PATCH", one(key), {"name": "other"}).json()
        assert (told["name"], told["trust"]["claims"]) == ("other", CLAIMS)

    @pytest.mark.parametrize(
        ("trust", "code"),
        [
            (None, "invalid_trust"),
            ({}, "issuer_not_trusted"),
            ("github", "invalid_trust"),
            ({"issuer": "github", "claims": {"ref": "refs/heads/*"}}, "trust_too_broad"),
            ({"issuer": "github", "claims": {"actor": "ada"}}, "claim_not_allowed"),
            ({**OTHER, "audience": "https://other.example"}, "audience_not_allowed"),
        ],
    )
    def test_unsafe_rules_change_nothing(self, caller, key, trust, code):
        before = key.trust
        response = caller("PATCH", one(key), {"trust": trust})
        assert problem(response) == (400, code)
        assert field(response) == "trust"
        key.refresh_from_db()
        assert key.trust == before

    def test_key_with_a_secret_must_be_converted(self, caller, engine):
        key = mint_key(engine).key
        assert problem(caller("PATCH", one(key), {"trust": TRUST}))[1] == "conversion_required"
        assert caller("PATCH", one(key), {"trust": None}).status_code == 200

    def test_recent_login_is_required_for_other_workloads_only(self, old_session, key):
        assert problem(old_session("PATCH", one(key), {"trust": OTHER})) == (
            403, "recent_login_required",
        )  # fmt: skip
        assert old_session("PATCH", one(key), {"trust": NARROW}).status_code == 200

    def test_credential_gives_no_scope_that_it_lacks_to_a_workload(self, engine, ada):
        key = lifecycle.mint(project=engine, **BODY | {"scopes": ["reports:read"]}).key
        weak = Caller(mint_pat(ada, scopes=["keys:write", "payments:read"]).token)
        assert problem(weak("PATCH", one(key), {"trust": OTHER})) == (403, "scope_not_grantable")
        assert weak("PATCH", one(key), {"trust": NARROW}).status_code == 200
        key.refresh_from_db()
        assert '"repository_id":"123456789"' in key.trust

    def test_key_ends_with_the_credential_that_handed_it_over(self, engine, ada, key):
        manager = mint_pat(ada, scopes=["keys:write", "payments:read"])
        assert Caller(manager.token)("PATCH", one(key), {"trust": OTHER}).status_code == 200
        lifecycle.revoke(manager.key)
        key.refresh_from_db()
        assert key.state() == "revoked"

    def test_ended_key_is_not_edited(self, caller, key):
        lifecycle.revoke(key)
        assert problem(caller("PATCH", one(key), {"trust": OTHER})) == (409, "revoked_key")

    def test_member_who_may_not_manage_keys_is_refused(self, engine, key):
        viewer = MembershipFactory(project=engine, role="viewer").user
        assert Caller(user=viewer)("PATCH", one(key), {"trust": OTHER}).status_code == 403


class TestRotate:
    def test_successor_has_the_new_rules(self, caller, key):
        response = caller("POST", f"{one(key)}rotate/", {"trust": OTHER, "overlap_seconds": 3600})
        told = response.json()
        assert (response.status_code, told["token"]) == (201, None)
        assert told["trust"]["claims"] == {"repository_id": "2"}
        assert told["replaces"] == key.public_id
        assert caller("GET", one(key)).json()["state"] == "live"

    def test_secret_is_replaced_by_a_workload(self, caller, engine):
        key = mint_key(engine).key
        told = caller("POST", f"{one(key)}rotate/", {"trust": TRUST}).json()
        assert (told["token"], told["direct_use"]) == (None, False)

    @pytest.mark.parametrize(
        ("body", "code"),
        [
            ({}, "trust_required"),
            ({"trust": None}, "trust_required"),
            ({"trust": {}}, "issuer_not_trusted"),
            ({"trust": {"issuer": "github", "claims": {}}}, "trust_too_broad"),
            ({"trust": TRUST, "public_key": "x"}, "contradictory_proofs"),
        ],
    )
    def test_unsafe_rules_change_nothing(self, caller, key, body, code):
        assert problem(caller("POST", f"{one(key)}rotate/", body)) == (400, code)
        assert ProjectKey.objects.get().rotated_at is None

    def test_recent_login_is_required(self, old_session, key):
        response = old_session("POST", f"{one(key)}rotate/", {"trust": TRUST})
        assert problem(response) == (403, "recent_login_required")

    def test_second_rotation_is_a_conflict(self, caller, key):
        path = f"{one(key)}rotate/"
        assert caller("POST", path, {"trust": TRUST}).status_code == 201
        assert problem(caller("POST", path, {"trust": TRUST})) == (409, "already_rotated")


class TestApproval:
    @pytest.fixture(autouse=True)
    def _careful(self, settings):
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": f"{__name__}.Careful"}

    @pytest.fixture
    def pending(self, engine):
        return lifecycle.mint(project=engine, **BODY | {"scopes": ["payments:write"]}).key

    def test_admin_sees_the_rules_and_approves(self, caller, pending):
        (waiting,) = caller("GET", "approvals/keys/").json()["results"]
        assert waiting["trust"]["claims"] == CLAIMS
        assert caller("POST", f"{one(pending)}approve/").json()["state"] == "live"

    def test_developer_cannot_approve(self, engine, pending):
        grace = MembershipFactory(project=engine, role="developer").user
        response = Caller(user=grace)("POST", f"{one(pending)}approve/")
        assert response.status_code == 403
        pending.refresh_from_db()
        assert pending.is_pending

    def test_rejected_key_is_revoked(self, caller, pending):
        assert caller("POST", f"{one(pending)}reject/").json()["state"] == "revoked"

    def test_approved_key_is_not_handed_to_another_workload(self, caller, pending, ada):
        lifecycle.approve(pending, by=ada)
        response = caller("PATCH", one(pending), {"trust": OTHER})
        assert problem(response) == (403, "approval_required")
        assert caller("PATCH", one(pending), {"trust": NARROW}).status_code == 200

    def test_pending_key_is_not_handed_to_another_workload(self, caller, pending):
        """The admin approves the rules that the admin has seen."""
        response = caller("PATCH", one(pending), {"trust": OTHER})
        assert problem(response) == (403, "approval_required")

    def test_successor_for_another_workload_waits(self, caller, pending, ada):
        lifecycle.approve(pending, by=ada)
        told = caller("POST", f"{one(pending)}rotate/", {"trust": OTHER}).json()
        assert told["state"] == "pending"
        assert caller("POST", f"{PATH}{told['id']}/approve/").json()["state"] == "live"
