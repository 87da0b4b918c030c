"""Privilege escalation: a credential cannot create or change keys beyond its own limits."""

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from apikeys.grants import Extent
from apikeys.lifecycle import sealing
from apikeys.models import KEY_MODELS, Membership, PersonalAccessToken, ProjectKey
from apikeys.oauth.scopes import Scopes
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

from .conftest import Caller, in_days

MANAGE = ["keys:write", "payments:read"]


def assert_refused(response, status, code):
    __tracebackhide__ = True
    assert (response.status_code, response.json()["code"]) == (status, code), response.json()


def body(**changes):
    return {"name": "child", "scopes": ["payments:read"]} | changes


def is_dead(token):
    with pytest.raises(Refused, match="revoked_key"):
        verify(token)
    return True


@pytest.fixture
def parent(ada):
    return mint_pat(ada, scopes=MANAGE)


@pytest.fixture
def caller(parent):
    return Caller(parent.token)


class TestMinting:
    def test_new_token_has_the_scopes_of_its_parent_at_most(self, caller, parent):
        made = caller("POST", "tokens/", body(scopes=MANAGE)).json()

        assert made["minted_with"] == parent.key.public_id
        assert verify(made["token"]).scopes == verify(parent.token).scopes

    def test_scope_outside_the_credential_is_refused(self, caller):
        for scopes in (["payments:write"], ["payments:read", "reports:read"]):
            assert_refused(
                caller("POST", "tokens/", body(scopes=scopes)), 403, "scope_not_grantable"
            )

    def test_expiry_after_the_credential_is_refused(self, ada):
        parent = mint_pat(ada, scopes=MANAGE, expires_at=in_days(7))
        caller = Caller(parent.token)

        for ends in (None, in_days(7.001).isoformat(), "9998-12-31T23:59:59Z"):
            response = caller("POST", "tokens/", body(expires_at=ends))
            assert_refused(response, 403, "outlives_credential")
        # Without an expiry, the new token ends with its parent.
        made = caller("POST", "tokens/", body()).json()
        assert made["expires_at"] == parent.key.expires_at.isoformat()
        inside = body(expires_at=in_days(6).isoformat())
        assert caller("POST", "tokens/", inside).status_code == 201

    def test_project_outside_the_credential_is_refused(self, ada, engine, compiler, stranger):
        caller = Caller(mint_pat(ada, scopes=MANAGE, projects=[engine]).token)

        for projects in (
            None,
            ["compiler"],
            ["analytical-engine", "compiler"],
            ["eavesdropping"],
            ["no-such"],
        ):
            response = caller("POST", "tokens/", body(projects=projects))
            assert_refused(response, 403, "project_not_grantable")
        assert_refused(caller("POST", "tokens/", body()), 403, "project_not_grantable")
        assert caller("POST", "tokens/", body(projects=["analytical-engine"])).status_code == 201

    def test_foreign_and_unknown_project_get_the_same_response(self, ada, stranger):
        for caller in (Caller(user=ada), Caller(mint_pat(ada, scopes=MANAGE).token)):
            answers = [
                caller("POST", "tokens/", body(projects=[slug])).content.replace(slug.encode(), b"")
                for slug in ("eavesdropping", "no-such")
            ]
            assert answers[0] == answers[1]

    def test_token_created_by_a_new_token_cannot_exceed_it(self, ada, engine, compiler):
        parent = mint_pat(ada, scopes=MANAGE, projects=[engine], expires_at=in_days(9))
        ends = in_days(3).isoformat()
        narrow = {"scopes": ["keys:write"], "projects": [engine.slug], "expires_at": ends}
        child = Caller(parent.token)("POST", "tokens/", body(**narrow)).json()
        caller = Caller(child["token"])

        for changes, code in [
            ({"scopes": ["payments:read"]}, "scope_not_grantable"),
            ({"projects": None}, "project_not_grantable"),
            ({"expires_at": in_days(9).isoformat()}, "outlives_credential"),
        ]:
            assert_refused(caller("POST", "tokens/", body(**narrow | changes)), 403, code)
        grandchild = caller("POST", "tokens/", body(**narrow)).json()
        assert grandchild["minted_with"] == child["id"]

    def test_token_for_another_user_is_refused(self, caller, stranger):
        assert_refused(caller("POST", "tokens/", body(user="eve")), 400, "unknown_field")

    def test_read_only_fields_are_refused(self, caller):
        for name in ("minted_with", "is_pending", "state", "created_by", "id", "token", "kind"):
            assert_refused(caller("POST", "tokens/", body(**{name: ""})), 400, "unknown_field")


class TestEditing:
    def test_widening_outside_the_credential_is_refused(self, ada, engine, compiler):
        parent = mint_pat(ada, scopes=MANAGE, projects=[engine], expires_at=in_days(7))
        key = mint_pat(ada, projects=[engine], expires_at=in_days(5)).key
        before = str(Extent.of(key))
        caller, path = Caller(parent.token), f"tokens/{key.public_id}/"

        for changes, code in [
            ({"scopes": ["payments:write"]}, "scope_not_grantable"),
            ({"scopes": ["payments:read", "reports:read"]}, "scope_not_grantable"),
            ({"projects": None}, "project_not_grantable"),
            ({"projects": ["analytical-engine", "compiler"]}, "project_not_grantable"),
            ({"expires_at": None}, "outlives_credential"),
            ({"expires_at": in_days(8).isoformat()}, "outlives_credential"),
        ]:
            assert_refused(caller("PATCH", path, changes), 403, code)
        assert str(Extent.of(PersonalAccessToken.objects.get(pk=key.pk))) == before

    @pytest.mark.parametrize("field", ["scopes", "projects", "expires_at"])
    def test_key_cannot_widen_itself(self, ada, engine, compiler, field):
        key = mint_pat(ada, scopes=MANAGE, projects=[engine], expires_at=in_days(7))
        changes = {
            "scopes": [*MANAGE, "payments:write"],
            "projects": None,
            "expires_at": in_days(8).isoformat(),
        }
        response = Caller(key.token)(
            "PATCH", f"tokens/{key.key.public_id}/", {field: changes[field]}
        )

        assert response.status_code == 403
        assert response.json()["field"] == field

    def test_key_can_narrow_itself_but_not_undo_it(self, ada):
        key = mint_pat(ada, scopes=[*MANAGE, "reports:read"])
        caller, path = Caller(key.token), f"tokens/{key.key.public_id}/"

        assert caller("PATCH", path, {"scopes": MANAGE}).status_code == 200
        assert_refused(
            caller("PATCH", path, {"scopes": [*MANAGE, "reports:read"]}),
            403,
            "scope_not_grantable",
        )

    def test_adding_a_project_to_scopes_outside_the_credential_is_refused(
        self, ada, engine, compiler
    ):
        """The credential has the project, but not the scope payments:write."""
        strong_in_one = mint_pat(ada, scopes=["payments:write"], projects=[engine])
        caller = Caller(mint_pat(ada, scopes=MANAGE).token)
        path = f"tokens/{strong_in_one.key.public_id}/"

        for projects in (None, ["analytical-engine", "compiler"]):
            assert_refused(
                caller("PATCH", path, {"projects": projects}), 403, "scope_not_grantable"
            )
        assert not verify(strong_in_one.token).allows("payments:read", project=compiler)

    def test_adding_a_scope_to_a_key_that_outlives_the_credential_is_refused(self, ada):
        for_good = mint_pat(ada, scopes=["reports:read"])
        caller = Caller(mint_pat(ada, scopes=MANAGE, expires_at=in_days(1)).token)
        path = f"tokens/{for_good.key.public_id}/"

        wider = {"scopes": ["reports:read", "payments:read"]}
        assert_refused(caller("PATCH", path, wider), 403, "scope_not_grantable")
        swapped = {"scopes": ["payments:read"]}
        assert_refused(caller("PATCH", path, swapped), 403, "outlives_credential")

    def test_extending_the_expiry_of_a_stronger_key_is_refused(self, ada):
        strong = mint_pat(ada, scopes=["payments:write"], expires_at=in_days(1)).key
        caller = Caller(mint_pat(ada, scopes=MANAGE).token)

        response = caller(
            "PATCH", f"tokens/{strong.public_id}/", {"expires_at": in_days(30).isoformat()}
        )
        assert_refused(response, 403, "scope_not_grantable")

    def test_stronger_key_can_be_renamed_and_narrowed(self, ada):
        strong = mint_pat(ada, scopes=["payments:write", "reports:read"]).key
        caller = Caller(mint_pat(ada, scopes=MANAGE).token)

        changes = {"name": "weak", "scopes": ["reports:read"]}
        assert caller("PATCH", f"tokens/{strong.public_id}/", changes).status_code == 200


class TestRotating:
    @pytest.mark.slow
    def test_rotating_a_broader_key_is_refused(self, ada, engine):
        parent = mint_pat(ada, scopes=MANAGE, projects=[engine], expires_at=in_days(5))
        fits = {"projects": [engine], "expires_at": in_days(4)}
        broader = [
            ({"scopes": ["payments:write"]}, "scope_not_grantable"),
            ({"expires_at": in_days(6)}, "outlives_credential"),
            ({"expires_at": None}, "outlives_credential"),
        ]
        caller = Caller(parent.token)

        for changes, code in broader:
            key = mint_pat(ada, **fits | changes).key
            assert_refused(caller("POST", f"tokens/{key.public_id}/rotate/"), 403, code)
            key.refresh_from_db()
            assert key.rotated_at is None
        key = mint_pat(ada, **fits).key
        assert caller("POST", f"tokens/{key.public_id}/rotate/").status_code == 201

    def test_successor_is_revoked_with_the_credential_that_rotated(self, ada, caller, parent):
        other = mint_pat(ada).key
        successor = caller("POST", f"tokens/{other.public_id}/rotate/").json()
        assert successor["minted_with"] == parent.key.public_id

        lifecycle.revoke(parent.key)

        assert is_dead(successor["token"])

    def test_successor_keeps_working_when_the_old_key_is_revoked(self, caller, parent):
        path = f"tokens/{parent.key.public_id}/"
        successor = caller("POST", f"{path}rotate/").json()

        assert Caller(successor["token"])("DELETE", path).status_code == 204

        assert is_dead(parent.token)
        assert verify(successor["token"]).scopes == frozenset(
            ["keys:write", "keys:read", "payments:read"]
        )


class TestRevocation:
    @pytest.mark.slow
    def test_revoking_a_token_revokes_all_descendants(self, ada, caller, parent):
        child = caller("POST", "tokens/", body(scopes=MANAGE)).json()
        below = Caller(child["token"])
        grandchildren = [
            below("POST", path, body()).json()
            for path in ("tokens/", "projects/analytical-engine/keys/")
        ]

        assert Caller(user=ada)("DELETE", f"tokens/{parent.key.public_id}/").status_code == 204

        for key in (child, *grandchildren):
            assert is_dead(key["token"])
        told = Caller(user=ada)("GET", f"tokens/{child['id']}/").json()
        assert parent.key.public_id in told["revoked_reason"]

    def test_child_that_rotated_itself_is_revoked_with_its_parent(self, caller, parent):
        child = caller("POST", "tokens/", body(scopes=MANAGE)).json()
        grandchild = Caller(child["token"])("POST", "tokens/", body()).json()
        now = {"overlap_seconds": 0}
        successor = Caller(child["token"])("POST", f"tokens/{child['id']}/rotate/", now).json()

        lifecycle.revoke(parent.key)

        assert is_dead(successor["token"])
        assert is_dead(grandchild["token"])

    def test_revoking_a_successor_revokes_keys_created_by_its_predecessor(
        self, ada, caller, parent
    ):
        child = caller("POST", "tokens/", body()).json()
        successor = lifecycle.rotate(parent.key)

        lifecycle.revoke(successor.key)

        assert is_dead(child["token"])

    @pytest.mark.long
    def test_chain_longer_than_the_recursion_limit_is_revoked(self, ada, parent):
        """An attacker could create such a chain to make revocation fail."""
        template = parent.key
        line = [template.public_id]
        keys = []
        for number in range(1200):
            keys.append(PersonalAccessToken(user=ada, name=f"{number}", minted_with=line[-1]))
            line.append(keys[-1].public_id)
        PersonalAccessToken.objects.bulk_create(keys)

        assert lifecycle.revoke(parent.key)

        assert not PersonalAccessToken.objects.filter(revoked_at=None).exists()

    def test_credential_revoked_during_the_request_creates_nothing(
        self, ada, caller, parent, monkeypatch
    ):
        """The revocation happens after the check of the credential, before the key is saved."""
        seal = sealing.seal

        def revoked_first(key):
            text = seal(key)
            lifecycle.revoke(PersonalAccessToken.objects.get(pk=parent.key.pk))
            return text

        other = mint_pat(ada).key
        monkeypatch.setattr(sealing, "seal", revoked_first)

        assert_refused(caller("POST", "tokens/", body()), 409, "credential_changed")

        monkeypatch.undo()
        PersonalAccessToken.objects.filter(pk=parent.key.pk).update(revoked_at=None)
        monkeypatch.setattr(sealing, "seal", revoked_first)
        assert_refused(
            caller("POST", f"tokens/{other.public_id}/rotate/"), 409, "credential_changed"
        )
        assert PersonalAccessToken.objects.count() == 2

    def test_credential_narrowed_during_the_request_changes_nothing(self, ada, parent, monkeypatch):
        access, key = verify(parent.token), mint_pat(ada).key
        lifecycle.edit(parent.key, scopes=["keys:write"])

        with pytest.raises(lifecycle.LifecycleError, match="has just changed"):
            lifecycle.edit(key, expires_at=in_days(1), within=lifecycle_grant(ada, access))


def lifecycle_grant(user, access):
    from apikeys import grants

    return grants.for_tokens(user, access)


class TestScopesOfTheApi:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("scopes", "reads", "writes"),
        [
            (["payments:write", "reports:read"], False, False),
            (["keys:read"], True, False),
            (["keys:write"], True, True),  # write implies read
        ],
    )
    def test_scopes_are_required(self, ada, engine, scopes, reads, writes):
        key = mint_pat(ada, scopes=scopes)
        caller = Caller(key.token)
        project_key = mint_key(engine).key
        tokens, keys = f"tokens/{key.key.public_id}/", "projects/analytical-engine/keys/"
        one = f"{keys}{project_key.public_id}/"

        for path in ("tokens/", tokens, keys, one, "approvals/tokens/", "approvals/keys/"):
            assert caller("GET", path).status_code == (200 if reads else 403), path
        made = body(scopes=["keys:read"])
        for method, path, sent, done in [
            ("POST", "tokens/", made, 201),
            ("POST", keys, made, 201),
            ("PATCH", one, {"name": "x"}, 200),
            ("DELETE", one, None, 204),
            ("POST", f"{tokens}rotate/", {}, 201),
            ("PATCH", tokens, {"name": "x"}, 409),  # rotated
            ("POST", f"{tokens}approve/", {}, 403),
            ("POST", f"{tokens}reject/", {}, 403),
        ]:
            response = caller(method, path, sent)
            assert response.status_code == (done if writes else 403), (method, path)
            if not writes:
                assert response.json()["code"] == "insufficient_scope"

    def test_scopes_are_not_default_scopes_of_oauth(self, settings):
        assert Scopes().get_default_scopes() == ["payments:read", "payments:write", "reports:read"]
        assert "keys:write" in Scopes().get_available_scopes()

    def test_api_refuses_tokens_if_the_site_declares_no_key_scopes(self, ada, settings):
        key = mint_pat(ada)
        declared = {"payments:read": "See payments"}
        settings.APIKEYS = {**settings.APIKEYS, "SCOPES": declared}

        assert_refused(Caller(key.token)("GET", "tokens/"), 403, "insufficient_scope")
        caller = Caller(user=ada)
        assert caller("GET", "tokens/").status_code == 200
        assert_refused(caller("POST", "tokens/", body(scopes=["keys:write"])), 400, "unknown_scope")


class TestPendingKeys:
    def test_pending_key_is_refused(self, ada, settings):
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": "tests.api.test_approval.Careful"}
        pending = mint_pat(ada, scopes=["keys:write", "payments:write"])

        for method, path in [("GET", "tokens/"), ("POST", "tokens/")]:
            assert_refused(Caller(pending.token)(method, path, body()), 401, "approval_required")

    def test_new_token_with_approval_scope_is_pending(self, ada, settings):
        parent = mint_pat(ada, scopes=["keys:write", "payments:write"])
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": "tests.api.test_approval.Careful"}

        made = Caller(parent.token)("POST", "tokens/", body(scopes=["payments:write"])).json()

        assert made["state"] == "pending"
        with pytest.raises(Refused, match="approval_required"):
            verify(made["token"])


class TestProjectKeys:
    @pytest.fixture
    def key(self, engine):
        return mint_key(engine, scopes=MANAGE, expires_at=in_days(7))

    @pytest.mark.slow
    def test_project_key_manages_keys_within_its_own_limits(self, key):
        caller, path = Caller(key.token), "projects/analytical-engine/keys/"
        fits = body(expires_at=in_days(6).isoformat())

        made = caller("POST", path, fits).json()
        assert (made["minted_with"], made["created_by"]) == (key.key.public_id, None)
        for changes, code in [
            ({"scopes": ["payments:write"]}, "scope_not_grantable"),
            ({"expires_at": None}, "outlives_credential"),
        ]:
            assert_refused(caller("POST", path, fits | changes), 403, code)
            assert_refused(caller("PATCH", f"{path}{made['id']}/", changes), 403, code)
        assert_refused(caller("POST", path, fits | {"projects": None}), 400, "unknown_field")
        own = f"{path}{key.key.public_id}/"
        assert_refused(caller("PATCH", own, {"expires_at": None}), 403, "outlives_credential")
        assert caller("DELETE", own).status_code == 204
        assert is_dead(made["token"])

    def test_project_key_cannot_manage_tokens_or_other_projects(self, ada, key, compiler):
        caller = Caller(key.token)
        token, other = mint_pat(ada).key, mint_key(compiler).key

        for method, path in [
            ("GET", ""),
            ("POST", ""),
            ("GET", f"{token.public_id}/"),
            ("PATCH", f"{token.public_id}/"),
            ("DELETE", f"{token.public_id}/"),
            ("POST", f"{token.public_id}/rotate/"),
        ]:
            assert_refused(caller(method, f"tokens/{path}", body()), 403, "user_required")
        for path in ("compiler", "analytical-engine"):
            for method, action in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "rotate/")]:
                url = f"projects/{path}/keys/{other.public_id}/{action}"
                assert_refused(caller(method, url, {}), 404, "not_found")
        assert_refused(caller("GET", "projects/compiler/keys/"), 404, "not_found")
        assert_refused(caller("POST", "projects/compiler/keys/", body()), 404, "not_found")
        assert_refused(caller("GET", "approvals/keys/"), 403, "user_required")

    def test_project_key_cannot_approve_or_reject(self, key, engine):
        made = mint_key(engine, scopes=["payments:read"]).key
        path = f"projects/analytical-engine/keys/{made.public_id}"
        for action in ("approve", "reject"):
            assert_refused(Caller(key.token)("POST", f"{path}/{action}/"), 403, "may_not_approve")

    def test_project_key_of_inactive_project_is_refused(self, key, engine):
        engine.is_active = False
        engine.save()

        response = Caller(key.token)("GET", "projects/analytical-engine/keys/")
        assert_refused(response, 401, "inactive_project")


class TestMembers:
    """The role of a user also limits their credentials."""

    PATH = "projects/analytical-engine/keys/"

    @pytest.fixture
    def key(self, engine):
        return mint_key(engine).key

    @pytest.mark.parametrize("way", ["session", "token"])
    @pytest.mark.parametrize("role", ["viewer", "developer"])
    def test_demoted_member_can_view_but_not_manage(self, ada, engine, key, role, way):
        token = mint_pat(ada, scopes=MANAGE).token
        Membership.objects.filter(user=ada).update(role=role)
        caller = Caller(token) if way == "token" else Caller(user=ada)

        assert caller("GET", self.PATH).status_code == 200
        one = f"{self.PATH}{key.public_id}/"
        for method, path in [
            ("POST", self.PATH),
            ("PATCH", one),
            ("DELETE", one),
            ("POST", f"{one}rotate/"),
        ]:
            response = caller(method, path, body())
            viewer = way == "token" and role == "viewer"  # keys:write is not read-only
            assert_refused(response, 403, "insufficient_scope" if viewer else "may_not_manage_keys")
        key.refresh_from_db()
        assert (key.revoked_at, key.rotated_at, key.name) == (None, None, "server")

    @pytest.mark.parametrize("way", ["session", "token", "restricted"])
    def test_former_member_gets_404(self, ada, engine, key, way):
        restricted = {"projects": [engine]} if way == "restricted" else {}
        token = mint_pat(ada, scopes=MANAGE, **restricted).token
        Membership.objects.filter(user=ada).delete()
        caller = Caller(user=ada) if way == "session" else Caller(token)
        there, nowhere = self.PATH, "projects/no-such/keys/"

        for method, rest in [
            ("GET", ""),
            ("POST", ""),
            ("GET", f"{key.public_id}/"),
            ("PATCH", f"{key.public_id}/"),
            ("DELETE", f"{key.public_id}/"),
            ("POST", f"{key.public_id}/rotate/"),
            ("POST", f"{key.public_id}/approve/"),
            ("POST", f"{key.public_id}/reject/"),
        ]:
            responses = [caller(method, f"{start}{rest}", {}) for start in (there, nowhere)]
            assert [r.status_code for r in responses] == [404, 404], (method, rest)
            assert responses[0].content == responses[1].content

    def test_project_key_works_after_its_creator_is_deleted(self, ada, engine):
        path = self.PATH
        made = Caller(user=ada)("POST", path, body()).json()
        other = MembershipFactory(project=engine, role="admin").user
        ada.delete()

        assert verify(made["token"]).project == engine
        told = Caller(user=other)("GET", f"{path}{made['id']}/").json()
        assert (told["created_by"], told["state"]) == (None, "live")

    def test_project_key_created_with_a_token_expires_with_it(self, ada):
        parent = mint_pat(ada, scopes=MANAGE, expires_at=in_days(2))
        with_token = Caller(parent.token)

        assert_refused(
            with_token("POST", self.PATH, body(expires_at=None)), 403, "outlives_credential"
        )
        made = with_token("POST", self.PATH, body()).json()
        assert made["expires_at"] == parent.key.expires_at.isoformat()

    def test_inactive_user_is_refused(self, ada, parent):
        session = Caller(user=ada)
        ada.is_active = False
        ada.save()

        assert_refused(session("GET", "tokens/"), 401, "not_authenticated")
        assert_refused(Caller(parent.token)("GET", "tokens/"), 401, "inactive_user")


class TestStrangers:
    @pytest.mark.slow
    def test_foreign_and_unknown_id_get_the_same_response(self, ada, stranger):
        key = mint_pat(ada).key
        callers = [Caller(user=stranger), Caller(mint_pat(stranger, scopes=MANAGE).token)]

        for caller in callers:
            for method, rest in [
                ("GET", ""),
                ("PATCH", ""),
                ("DELETE", ""),
                ("POST", "rotate/"),
                ("POST", "approve/"),
                ("POST", "reject/"),
            ]:
                answers = [
                    caller(method, f"tokens/{public_id}/{rest}", {})
                    for public_id in (key.public_id, "0" * 16)
                ]
                assert [a.status_code for a in answers] == [404, 404]
                assert answers[0].content == answers[1].content
        key.refresh_from_db()
        assert (key.revoked_at, key.rotated_at) == (None, None)

    def test_list_contains_own_tokens_only(self, ada, stranger):
        mint_pat(ada)
        own = mint_pat(stranger).key

        (found,) = Caller(user=stranger)("GET", "tokens/").json()["results"]
        assert found["id"] == own.public_id


class TestRestrictedTokens:
    @pytest.mark.slow
    def test_tokens_with_other_projects_are_404(self, ada, engine, compiler):
        restricted = mint_pat(ada, scopes=MANAGE, projects=[engine])
        beyond = [
            mint_pat(ada),
            mint_pat(ada, projects=[compiler]),
            mint_pat(ada, projects=[engine, compiler]),
        ]
        inside = mint_pat(ada, projects=[engine]).key
        caller = Caller(restricted.token)

        for each in beyond:
            for method, rest in [("GET", ""), ("PATCH", ""), ("DELETE", ""), ("POST", "rotate/")]:
                path = f"tokens/{each.key.public_id}/{rest}"
                assert_refused(caller(method, path, {}), 404, "not_found")
        found = [key["id"] for key in caller("GET", "tokens/").json()["results"]]
        assert found == [inside.public_id, restricted.key.public_id]

    def test_other_project_of_the_same_user_is_404(self, ada, engine, compiler):
        caller = Caller(mint_pat(ada, scopes=MANAGE, projects=[engine]).token)

        assert caller("GET", "projects/analytical-engine/keys/").status_code == 200
        for method in ("GET", "POST"):
            assert_refused(caller(method, "projects/compiler/keys/", body()), 404, "not_found")


class TestOAuthTokens:
    def token(self, user, scope="keys:write payments:read", **changes):
        client = Application.objects.create(
            name="CLI",
            user=UserFactory() if user else None,
            client_type=Application.CLIENT_PUBLIC,
            authorization_grant_type=Application.GRANT_AUTHORIZATION_CODE,
        )
        return AccessToken.objects.create(
            user=user,
            application=client,
            token=f"oauth-{user}",
            expires=in_days(1),
            scope=scope,
        )

    @pytest.mark.slow
    def test_oauth_token_cannot_exceed_its_scopes_and_expiry(self, ada):
        token = self.token(ada)
        caller = Caller(token.token)
        fits = body(expires_at=in_days(0.5).isoformat())

        made = caller("POST", "tokens/", fits).json()
        assert made["minted_with"] == str(token.pk)
        for changes, code in [
            ({"scopes": ["payments:write"]}, "scope_not_grantable"),
            ({"expires_at": None}, "outlives_credential"),
            ({"expires_at": in_days(2).isoformat()}, "outlives_credential"),
        ]:
            assert_refused(caller("POST", "tokens/", fits | changes), 403, code)
            assert_refused(caller("PATCH", f"tokens/{made['id']}/", changes), 403, code)
        for_good = mint_pat(ada).key
        assert_refused(
            caller("POST", f"tokens/{for_good.public_id}/rotate/"), 403, "outlives_credential"
        )

    def test_oauth_token_without_the_scope_is_refused(self, ada):
        caller = Caller(self.token(ada, scope="payments:write reports:read").token)

        for method in ("GET", "POST"):
            assert_refused(caller(method, "tokens/", body()), 403, "insufficient_scope")

    def test_oauth_token_without_a_user_is_refused(self, ada, engine):
        caller = Caller(self.token(None).token)

        assert_refused(caller("GET", "tokens/"), 403, "user_required")
        assert_refused(caller("GET", "projects/analytical-engine/keys/"), 404, "not_found")

    def test_oauth_token_of_another_user_gets_404(self, ada, stranger, engine):
        key, project_key = mint_pat(ada).key, mint_key(engine).key
        caller = Caller(self.token(stranger).token)

        assert_refused(caller("DELETE", f"tokens/{key.public_id}/"), 404, "not_found")
        path = f"projects/analytical-engine/keys/{project_key.public_id}/"
        assert_refused(caller("DELETE", path), 404, "not_found")


def test_refused_requests_create_no_rows(ada, caller):
    """No refused request leaves a key in the database."""
    before = {model: model.objects.count() for model in KEY_MODELS.values()}
    for changes in ({"scopes": ["payments:write"]}, {"scopes": []}, {"projects": ["no-such"]}):
        assert caller("POST", "tokens/", body(**changes)).status_code in (400, 403)
        caller("POST", "projects/analytical-engine/keys/", body(**changes))
    assert {model: model.objects.count() for model in before} == before
    assert ProjectKey.objects.filter(created_at__lte=timezone.now()).count() == 0
