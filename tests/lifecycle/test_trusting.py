"""Keys that trust a workload: create, edit, rotate, approve and convert them."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import grants, hashing, lifecycle, token, verify
from apikeys.conf import app_settings
from apikeys.errors import LifecycleError
from apikeys.models import AuditEvent, ProjectKey, endings
from apikeys.policy import Policy
from apikeys.refusals import Refused
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    mint_key,
    mint_pat,
    with_wrong_secret,
)
from tests.workloads.issuer import SITE, TRUST, URL

pytestmark = pytest.mark.usefixtures("workloads")

NARROW = {"issuer": "github", "claims": TRUST["claims"] | {"ref": "refs/heads/main"}}
OTHER = {"issuer": "github", "claims": {"repository_id": 2}}


class Approving(Policy):
    def needs_approval(self, owner, scope):
        return scope == "payments:write"


def mint(project, **kwargs):
    kwargs = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST} | kwargs
    return lifecycle.mint(project=project, **kwargs)


def refusal(function, *args, **kwargs):
    with pytest.raises(LifecycleError) as caught:
        function(*args, **kwargs)
    return caught.value.code


def refused(text):
    with pytest.raises(Refused) as caught:
        verify.verify(text)
    return str(caught.value)


@pytest.fixture
def project(db):
    return ProjectFactory(slug="analytical-engine")


@pytest.fixture
def owner(project):
    return MembershipFactory(project=project, role="owner").user


def using(user, **kwargs):
    """Return the grant of a token of ``user`` that may manage keys."""
    minted = mint_pat(user, scopes=["keys:write", "payments:write", "reports:read"], **kwargs)
    return minted.key, verify.verify(minted.token)


class TestMint:
    def test_key_has_no_secret_and_is_exchanged_only(self, project):
        minted = mint(project)
        assert minted.token == ""
        key = ProjectKey.objects.get(pk=minted.key.pk)
        assert (key.digest, key.root, key.direct_use) == ("", "", False)

    def test_no_secret_matches_it(self, project):
        key = mint(project).key
        text = token.compose(app_settings.PREFIX, "key", key.public_id, token.generate_secret())
        assert refused(text) == "invalid_key"

    def test_audit_shows_the_rules(self, project):
        mint(project)
        event = AuditEvent.objects.get()
        claims = {"environment": "production", "repository_id": "123456789"}
        assert event.changes["trust"] == {"issuer": URL, "audience": SITE, "claims": claims}

    def test_two_proofs_are_refused(self, project):
        assert refusal(mint, project, public_key="x") == "contradictory_proofs"

    def test_tokens_of_users_have_a_secret(self, owner):
        with pytest.raises(TypeError):
            lifecycle.mint(user=owner, name="x", scopes=["payments:read"], trust=TRUST)


class TestEdit:
    def test_rules_are_replaced(self, project):
        key = mint(project).key
        changes = lifecycle.edit(key, trust=NARROW)
        assert set(changes) == {"trust"}
        assert changes["trust"][1]["claims"]["ref"] == "refs/heads/main"
        key.refresh_from_db()
        assert '"ref"' in key.trust

    def test_key_with_a_secret_must_be_converted(self, project):
        key = mint_key(project).key
        assert refusal(lifecycle.edit, key, trust=TRUST) == "conversion_required"
        key.refresh_from_db()
        assert key.trust == ""

    def test_rules_cannot_be_removed(self, project):
        assert refusal(lifecycle.edit, mint(project).key, trust=None) == "invalid_trust"

    def test_other_workloads_get_all_of_the_key(self, project, owner):
        """A credential without a scope of the key cannot hand the key to a workload."""
        key = mint(project, scopes=["reports:read"]).key
        _, access = using(owner)
        weak = mint_pat(owner, scopes=["keys:write", "payments:read"])
        within = grants.for_project(project, owner, verify.verify(weak.token))
        assert refusal(lifecycle.edit, key, trust=OTHER, within=within) == "scope_not_grantable"
        lifecycle.edit(key, trust=NARROW, within=within)  # this lets no other workload in
        lifecycle.edit(key, trust=OTHER, within=grants.for_project(project, owner, access))

    def test_member_without_a_scope_cannot_hand_it_to_a_workload(self, project):
        """The limits of a session apply as well."""
        key = mint(project, scopes=["reports:read"]).key
        within = grants.Grant(frozenset({"payments:read"}), type(project)._default_manager.all())
        assert refusal(lifecycle.edit, key, trust=OTHER, within=within) == "scope_not_grantable"

    def test_key_ends_with_the_credential_that_handed_it_over(self, project, owner):
        key = mint(project).key
        pat, access = using(owner)
        lifecycle.edit(key, trust=OTHER, within=grants.for_project(project, owner, access))
        lifecycle.revoke(pat)
        key.refresh_from_db()
        assert key.state() == "revoked"

    def test_key_of_another_credential_is_rotated_instead(self, project, owner):
        _, access = using(owner)
        within = grants.for_project(project, owner, access)
        key = mint(project, within=within).key
        _, other = using(owner)
        within = grants.for_project(project, owner, other)
        assert refusal(lifecycle.edit, key, trust=OTHER, within=within) == "rotate_instead"

    def test_approved_key_is_not_handed_to_another_workload(self, project, owner, settings):
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": Approving}
        key = mint(project, scopes=["payments:write"]).key
        assert key.is_pending
        lifecycle.approve(key, by=owner)
        lifecycle.edit(key, trust=NARROW)
        assert refusal(lifecycle.edit, key, trust=OTHER) == "approval_required"


class TestRotate:
    def test_successor_has_the_new_rules(self, project):
        key = mint(project).key
        new = lifecycle.rotate(key, trust=OTHER).key
        assert '"2"' in new.trust
        assert new.direct_use is False
        key.refresh_from_db()
        assert key.state() == "live"
        assert key.rotated_at is not None

    def test_rules_are_required(self, project):
        assert refusal(lifecycle.rotate, mint(project).key) == "trust_required"
        assert refusal(lifecycle.rotate, mint(project).key, public_key="x") == "trust_required"

    def test_secret_is_replaced_by_a_workload(self, project):
        minted = mint_key(project)
        new = lifecycle.rotate(minted.key, trust=TRUST)
        assert (new.token, new.key.direct_use) == ("", False)
        verify.verify(minted.token)

    def test_other_workloads_wait_for_approval(self, project, owner, settings):
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": Approving}
        key = mint(project, scopes=["payments:write"]).key
        lifecycle.approve(key, by=owner)
        same = lifecycle.rotate(key, trust=NARROW).key
        assert not same.is_pending
        assert lifecycle.rotate(same, trust=OTHER).key.is_pending


class TestConvert:
    def test_key_keeps_its_id_and_scopes_and_its_secret_for_a_while(self, project):
        minted = mint_key(project, scopes=["payments:write"])
        lifecycle.convert(minted.key, trust=TRUST, overlap=timedelta(hours=1))
        key = ProjectKey.objects.get(pk=minted.key.pk)
        assert (key.public_id, key.scope) == (minted.key.public_id, "payments:write")
        assert verify.verify(minted.token).credential_id == key.public_id
        assert timedelta(minutes=59) < key.secret_ends_at - timezone.now() <= timedelta(hours=1)

    def test_secret_stops_after_the_overlap(self, project):
        minted = mint_key(project)
        lifecycle.convert(minted.key, trust=TRUST, overlap=timedelta(hours=1))
        past = endings.mark(timezone.now() - timedelta(seconds=1))
        ProjectKey.objects.filter(pk=minted.key.pk).update(pepper_id=past)
        for _ in range(2):  # a right secret does not renew itself
            assert refused(minted.token) == "secret_ended"
        assert refused(with_wrong_secret(minted.token)) == "invalid_key"

    def test_use_during_the_overlap_does_not_prolong_it(self, project):
        minted = mint_key(project)
        lifecycle.convert(minted.key, trust=TRUST, overlap=timedelta(hours=1))
        before = ProjectKey.objects.get(pk=minted.key.pk)
        verify.verify(minted.token)
        after = ProjectKey.objects.get(pk=minted.key.pk)
        assert (after.pepper_id, after.root) == (before.pepper_id, "")

    def test_wrong_secret_is_refused_during_the_overlap(self, project):
        minted = mint_key(project)
        lifecycle.convert(minted.key, trust=TRUST)
        assert refused(with_wrong_secret(minted.token)) == "invalid_key"

    def test_secret_stops_at_once_without_overlap(self, project):
        minted = mint_key(project)
        lifecycle.convert(minted.key, trust=TRUST, overlap=timedelta(0))
        assert refused(minted.token) == "invalid_key"

    def test_version_1_refuses_the_secret(self, project):
        """It knows no pepper with this ID, and finds no root."""
        minted = mint_key(project)
        lifecycle.convert(minted.key, trust=TRUST)
        key = ProjectKey.objects.get(pk=minted.key.pk)
        secret = minted.token.rpartition("_")[2][:-6]
        assert hashing.check_digest(secret, key.digest, key.pepper_id) is None
        assert key.root == ""

    def test_new_pepper_keeps_the_secret(self, project, settings):
        minted = mint_key(project)
        lifecycle.convert(minted.key, trust=TRUST)
        settings.SECRET_KEY, old = "n" * 50, settings.SECRET_KEY
        settings.SECRET_KEY_FALLBACKS = [old]
        verify.verify(minted.token)

    def test_audit_shows_what_changed(self, project):
        key = mint_key(project).key
        lifecycle.convert(key, trust=TRUST)
        event = AuditEvent.objects.filter(event="edited").get()
        assert event.changes["trust"]["before"] is None
        assert event.changes["trust"]["after"]["issuer"] == URL
        assert event.changes["secret_ends_at"]["after"]

    def test_other_keys_cannot_be_converted(self, project, owner):
        assert refusal(lifecycle.convert, mint(project).key, trust=TRUST) == "not_convertible"
        assert refusal(lifecycle.convert, mint_pat(owner).key, trust=TRUST) == "not_convertible"
        key = mint_key(project).key
        lifecycle.revoke(key)
        assert refusal(lifecycle.convert, key, trust=TRUST) == "revoked_key"

    def test_a_key_whose_pepper_was_replaced_is_used_once_and_then_converted(
        self, project, settings
    ):
        """Only its root could renew the digest, and a converted key has none."""
        minted = mint_key(project)
        settings.SECRET_KEY = "n" * 50
        key = ProjectKey.objects.get(pk=minted.key.pk)
        hour = timedelta(hours=1)
        code = refusal(lifecycle.convert, key, trust=TRUST, overlap=hour)
        assert code == "not_convertible"
        verify.verify(minted.token)
        lifecycle.convert(ProjectKey.objects.get(pk=key.pk), trust=TRUST, overlap=hour)
        verify.verify(minted.token)

    def test_caller_must_cover_the_whole_key(self, project, owner):
        key = mint_key(project, scopes=["payments:read", "reports:read"]).key
        weak = mint_pat(owner, scopes=["keys:write", "payments:read"])
        within = grants.for_project(project, owner, verify.verify(weak.token))
        code = refusal(lifecycle.convert, key, trust=TRUST, within=within)
        assert code == "scope_not_grantable"
        key.refresh_from_db()
        assert key.trust == ""

    @pytest.mark.parametrize("overlap", [timedelta(days=8), timedelta(seconds=-1)])
    def test_overlap_is_limited(self, project, overlap):
        key = mint_key(project).key
        code = refusal(lifecycle.convert, key, trust=TRUST, overlap=overlap)
        assert code == "overlap_out_of_range"
