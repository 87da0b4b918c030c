"""What a view sees: scopes, the project restriction and the policy, and never more than all."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import AnonymousUser
from django.utils import timezone

from apikeys.access import OAUTH, Access, ProjectUser
from apikeys.models import Membership
from apikeys.policy import Policy
from apikeys.verify import verify
from example_project.payments.models import Payment
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

READ, WRITE = "payments:read", "payments:write"


@pytest.fixture
def member(db):
    return MembershipFactory()


@pytest.fixture
def project(member):
    return member.project


def pat(member, **kwargs):
    return verify(mint_pat(member.user, **kwargs).token)


def key(project, **kwargs):
    return verify(mint_key(project, **kwargs).token)


def test_scopes_alone_cost_no_query(member, project, django_assert_num_queries):
    for access in (pat(member, scopes=[WRITE]), key(project, scopes=[WRITE])):
        with django_assert_num_queries(0):
            assert access.allows()
            assert access.allows(READ)
            assert access.allows(READ, WRITE)
            assert not access.allows("reports:read")
            assert not access.allows(READ, "reports:read")


def test_a_right_is_scope_and_restriction_and_role_together(member, project):
    other = MembershipFactory(user=member.user, role="viewer").project
    everywhere = pat(member, scopes=[WRITE])
    assert everywhere.allows(WRITE, project=project)
    assert not everywhere.allows(WRITE, project=other), "the role"
    assert everywhere.allows(READ, project=other)

    here = pat(member, scopes=[WRITE], projects=[project])
    assert here.allows(WRITE, project=project)
    assert not here.allows(READ, project=other), "the restriction"

    reads = pat(member, scopes=[READ])
    assert not reads.allows(WRITE, project=project), "the scope"
    assert not reads.allows(READ, project=ProjectFactory()), "no member"


def test_projects_are_those_where_it_is_allowed(member, project):
    other = MembershipFactory(user=member.user, role="viewer").project
    access = pat(member, scopes=[WRITE])
    for required in ((), (READ,), (WRITE,), ("reports:read",)):
        assert set(access.projects(*required)) == {
            each for each in (project, other) if access.allows(*required, project=each)
        }


def test_projects_filter_in_the_views_own_query(member, project, django_assert_num_queries):
    mine = Payment.objects.create(project=project, amount=1)
    Payment.objects.create(project=ProjectFactory(), amount=1)
    for access in (pat(member, projects=[project]), key(project)):
        with django_assert_num_queries(1):
            assert list(Payment.objects.filter(project__in=access.projects(READ))) == [mine]


def test_a_project_key_reaches_its_project_alone(project, django_assert_num_queries):
    access = key(project)
    other = ProjectFactory()
    with django_assert_num_queries(0):
        assert access.allows(READ, project=project)
        assert not access.allows(READ, project=other)
        assert not access.allows(WRITE, project=project)
    assert list(access.projects()) == [project]
    assert list(access.projects(WRITE)) == []


def test_a_client_without_user_and_project_reaches_nothing(project):
    access = Access(kind=OAUTH, credential_id="x", name="x", scope=WRITE)
    assert access.allows(WRITE)
    assert not access.allows(READ, project=project)
    assert not access.projects().exists()


class Everything(Policy):
    """A policy that does not look at the user."""

    def projects(self, user, scopes=()):
        return self.active_projects()


def test_no_policy_is_asked_about_a_client_without_user(project, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Everything}
    access = Access(kind=OAUTH, credential_id="x", name="x", scope=WRITE)
    assert not access.projects().exists()
    assert not access.allows(READ, project=project)


def test_the_facts(member, project):
    end = timezone.now() + timedelta(days=1)
    access = pat(member, scopes=[WRITE, "reports:read"], projects=[project], expires_at=end)
    assert access.facts() == {
        "kind": "personal_access_token",
        "id": access.credential_id,
        "name": "ci",
        "user": member.user.username,
        "project": None,
        "client": None,
        "scopes": [WRITE, "reports:read"],
        "projects": [project.slug],
        "expires_at": access.expires_at.isoformat(),
    }
    facts = key(project).facts()
    assert (facts["kind"], facts["user"]) == ("project_key", None)
    assert (facts["project"], facts["projects"]) == (project.slug, [project.slug])
    assert facts["expires_at"] is None


def test_it_answers_as_djangos_oauth_toolkit_asks(project):
    access = key(project, scopes=[WRITE])
    assert access.scope == WRITE
    assert access.is_valid([READ])
    assert access.is_valid()
    assert access.allow_scopes([])
    assert access.allow_scopes(None)
    assert not access.is_valid(["reports:read"])
    assert not access.is_expired()

    access.expires_at = timezone.now()
    assert access.is_expired()
    assert not access.is_valid([READ])


def test_no_view_can_widen_it(project):
    access = key(project)
    with pytest.raises(AttributeError):
        access.scopes |= {WRITE}
    with pytest.raises(AttributeError):
        access.scopes.add(WRITE)
    with pytest.raises(AttributeError):
        access.anything = True


class TestProjectUser:
    def test_it_is_authenticated_and_nobody(self, project):
        user = ProjectUser(project)
        assert (user.is_authenticated, user.is_anonymous, user.is_active) == (True, False, True)
        assert (user.is_staff, user.is_superuser) == (False, False)
        assert user.pk is user.id is None
        assert str(user) == user.username == user.get_username() == f"project:{project.slug}"

    def test_it_has_no_permission(self, project):
        user = ProjectUser(project)
        assert not user.has_perm("payments.view_payment")
        assert not user.has_perm("payments.view_payment", project)
        assert not user.has_perms(["payments.view_payment"])
        assert not user.groups.all()
        assert not user.user_permissions.exists()
        assert not user.has_module_perms("payments")
        assert user.get_all_permissions() == user.get_group_permissions() == set()
        assert user.get_user_permissions() == set()

    def test_it_is_taken_for_no_person(self, project):
        user = ProjectUser(project)
        with pytest.raises((TypeError, ValueError)):
            list(Membership.objects.filter(user=user))
        with pytest.raises(ValueError, match="User"):
            Membership(user=user, project=project)

    def test_it_equals_its_like(self, project):
        other = ProjectFactory()
        same = type(project).objects.get(pk=project.pk)
        assert {ProjectUser(project), ProjectUser(same)} == {ProjectUser(project)}
        assert ProjectUser(project) != ProjectUser(other)
        for somebody in (UserFactory(), AnonymousUser(), project, None):
            assert ProjectUser(project) != somebody
