"""The methods of the policy that are called at every request."""

import pytest

from apikeys.models import Membership
from apikeys.policy import Policy
from apikeys.verify import verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

Role = Membership.Role
WRITE = ["payments:write"]


class Auditors(Policy):
    """A policy in which developers cannot write payments and a project can be frozen."""

    def role_allows(self, role, scope):
        if role == Role.DEVELOPER and scope == "payments:write":
            return False
        return super().role_allows(role, scope)

    def project_allows(self, project, required):
        return project.slug != "frozen" or "payments:write" not in required


@pytest.mark.parametrize("role", Role.values)
def test_all_roles_read_and_all_but_viewers_write(db, role):
    member = MembershipFactory(role=role)
    policy = Policy()

    assert list(policy.projects(member.user)) == [member.project]
    assert list(policy.projects(member.user, ["payments:read", "reports:read"])) == [member.project]
    writes = list(policy.projects(member.user, WRITE))
    assert writes == ([] if role == Role.VIEWER else [member.project])


@pytest.mark.parametrize("scope", ["payments:refund", "payments", "write", "read", "readonly"])
def test_a_viewer_has_only_read_scopes(scope):
    assert not Policy().role_allows(Role.VIEWER, scope)


def test_one_missing_scope_excludes_the_project(db):
    member = MembershipFactory(role=Role.VIEWER)
    assert not Policy().projects(member.user, ["payments:read", "payments:write"]).exists()


def test_projects_of_other_users_are_excluded(db):
    MembershipFactory()
    assert not Policy().projects(UserFactory()).exists()


def test_an_unknown_role_has_no_rights(db):
    member = MembershipFactory(role="root")
    assert not Policy().projects(member.user).exists()


def test_a_deactivated_project_is_excluded(db):
    member = MembershipFactory(project__is_active=False)
    assert not Policy().projects(member.user).exists()
    assert not Policy().active_projects().exists()


def test_projects_is_one_subquery(db, django_assert_num_queries):
    members = [MembershipFactory(user=user) for user in [UserFactory()] for _ in range(3)]
    with django_assert_num_queries(1):
        found = list(Policy().projects(members[0].user, WRITE))
    assert found == sorted((member.project for member in members), key=lambda p: p.slug)


def test_losing_a_role_takes_effect_at_the_next_request(db):
    member = MembershipFactory(role=Role.OWNER)
    minted = mint_pat(member.user, scopes=WRITE)
    assert verify(minted.token).allows(*WRITE, project=member.project)

    Membership.objects.update(role=Role.VIEWER)
    access = verify(minted.token)
    assert not access.allows(*WRITE, project=member.project)
    assert access.allows("payments:read", project=member.project)
    Membership.objects.all().delete()
    assert not verify(minted.token).allows("payments:read", project=member.project)


def test_a_site_can_set_its_policy(db, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Auditors}
    member = MembershipFactory(role=Role.DEVELOPER)
    access = verify(mint_pat(member.user, scopes=WRITE).token)
    assert not access.projects(*WRITE).exists()
    assert list(access.projects("payments:read")) == [member.project]

    frozen = verify(mint_key(ProjectFactory(slug="frozen"), scopes=WRITE).token)
    assert not frozen.allows(*WRITE)
    assert not frozen.projects(*WRITE).exists()
    assert frozen.allows("payments:read")
    assert verify(mint_key(scopes=WRITE).token).allows(*WRITE)


def test_a_membership_is_unique(db):
    member = MembershipFactory()
    with pytest.raises(Exception, match=r"(?i)unique|duplicate"):
        MembershipFactory(user=member.user, project=member.project)
