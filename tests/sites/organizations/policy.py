from django.contrib.auth import get_user_model
from organizations.models import OrganizationUser

from apikeys.policy import Policy


class OrganizationPolicy(Policy):
    managing_roles = ["admin"]
    read_only_roles = []

    def projects(self, user, required=()):
        return self.active_projects().filter(organization_users__user=user)

    def members(self, project):
        users = get_user_model().objects.filter(is_active=True)
        return users.filter(organizations_organizationuser__organization=project)

    def roles(self, user, project=None):
        members = OrganizationUser.objects.filter(user=user)
        if project is not None:
            members = members.filter(organization=project)
        return {"admin" if member.is_admin else "member" for member in members}

    def key_managers(self, project):
        return get_user_model().objects.filter(
            organizations_organizationuser__organization=project,
            organizations_organizationuser__is_admin=True,
        )
