"""Projects and memberships in the admin."""

import pytest
from django.contrib.admin.models import LogEntry

from apikeys.models import Membership, Project, ProjectKey
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key

pytestmark = pytest.mark.django_db

PROJECTS = "/admin/apikeys/project/"
MEMBERSHIPS = "/admin/apikeys/membership/"


def test_project_and_members_are_created(client, root):
    form = {"slug": "loom", "name": "Loom", "is_active": "on"}
    assert client.post(f"{PROJECTS}add/", form).status_code == 302
    loom, user = Project.objects.get(), UserFactory()
    form = {"user": user.pk, "project": loom.pk, "role": "admin"}
    assert client.post(f"{MEMBERSHIPS}add/", form).status_code == 302
    assert Membership.objects.get().role == "admin"
    assert LogEntry.objects.count() == 2


@pytest.mark.slow
def test_projects_and_members_are_searched_by_prefix(client, root):
    MembershipFactory(user__username="ada", project__slug="engine")
    MembershipFactory(user__username="bob", project__slug="loom")

    def found(url, term):
        return {str(row) for row in client.get(url, {"q": term}).context["cl"].result_list}

    assert len(found(PROJECTS, "eng")) == 1
    for term in ("ad", "engine"):
        (one,) = found(MEMBERSHIPS, term)
        assert one.startswith("ada in ")
    assert client.get(MEMBERSHIPS, {"role__exact": "owner"}).context["cl"].result_count == 2
    assert client.get(MEMBERSHIPS, {"user__password__startswith": "x"}).status_code == 400
    assert client.get("/admin/autocomplete/", {
        "app_label": "apikeys", "model_name": "membership", "field_name": "project", "term": "lo",
    }).json()["results"][0]["text"].startswith("Project")  # fmt: skip


def test_pages_do_not_list_all_users_or_projects(client, root):
    people = [UserFactory() for _ in range(5)] + [ProjectFactory() for _ in range(5)]
    for url in ("personalaccesstoken", "projectkey", "membership"):
        page = client.get(f"/admin/apikeys/{url}/add/").content.decode()
        assert not [each for each in people if f'<option value="{each.pk}"' in page]


def test_deleting_a_project_with_keys_requires_the_permission_to_delete_keys(client, root, staff):
    from django.contrib.auth.models import Permission

    project = mint_key().key.project
    admin = staff("view")
    admin.user_permissions.add(Permission.objects.get(codename="delete_project"))
    client.force_login(admin)
    client.post(f"{PROJECTS}{project.pk}/delete/", {"post": "yes"})
    assert ProjectKey.objects.exists()

    client.force_login(root)
    client.post(f"{PROJECTS}{project.pk}/delete/", {"post": "yes"})
    assert not ProjectKey.objects.exists()
