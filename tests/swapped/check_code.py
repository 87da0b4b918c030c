"""What ``tests.test_swapped`` runs in a site whose projects have a code in place of a slug."""

import io
import json

import pytest
from django.core.checks import Error, run_checks
from django.core.management import call_command
from django.test import Client

from apikeys import lifecycle
from apikeys.models import AuditEvent, Membership, ProjectKey
from apikeys.verify import verify
from tests.factories import UserFactory, bearer, mint_key, mint_pat
from tests.swapped.teams.models import Customer

pytestmark = pytest.mark.django_db


@pytest.fixture
def customer():
    return Customer.objects.create(code="K-1001", title="Analytical Engines Ltd.")


@pytest.fixture
def owner(customer):
    user = UserFactory(username="owner", is_staff=True, is_superuser=True)
    Membership.objects.create(project=customer, user=user, role="owner")
    return user


def command(*words):
    out = io.StringIO()
    call_command("apikeys", *words, stdout=out)
    return out.getvalue()


def test_the_field_is_checked(settings):
    assert not [each for each in run_checks() if isinstance(each, Error)]
    for name in ("title", "slug", "id"):
        settings.APIKEYS_PROJECT_SLUG_FIELD = name
        assert "apikeys.E009" in [each.id for each in run_checks()]


def test_commands_name_a_project_by_its_code(customer):
    shown = json.loads(command("mint", "--project", "K-1001", "--scope", "payments:read",
                               "--name", "server", "--expires", "30d", "--json"))  # fmt: skip
    assert shown["project"] == "K-1001"
    key = ProjectKey.objects.get()
    assert key.project == customer
    assert AuditEvent.objects.get().owner == "K-1001"
    assert json.loads(command("show", key.public_id, "--json"))["project"] == "K-1001"


def test_the_api_names_a_project_by_its_code(customer, owner):
    minted = mint_pat(owner, scopes=["keys:read", "keys:write", "payments:read"])
    headers = bearer(minted.token)
    made = Client().post(
        "/api/projects/K-1001/keys/",
        {"name": "server", "scopes": ["payments:read"]},
        content_type="application/json",
        headers=headers,
    )
    assert (made.status_code, made.json()["project"]) == (201, "K-1001")
    assert verify(made.json()["token"]).facts()["project"] == "K-1001"
    assert Client().get("/api/projects/k-1001/keys/", headers=headers).status_code == 404
    narrow = Client().post(
        "/api/tokens/",
        {"name": "narrow", "scopes": ["payments:read"], "projects": ["K-1001"]},
        content_type="application/json",
        headers=headers,
    )
    assert (narrow.status_code, narrow.json()["projects"]) == (201, ["K-1001"])


def test_the_pages_name_a_project_by_its_code(customer, owner):
    client = Client()
    client.force_login(owner)
    mint_key(customer, name="till")
    listed = client.get("/keys/projects/")
    assert "/keys/projects/K-1001/" in listed.content.decode()
    page = client.get("/keys/projects/K-1001/")
    assert "till" in page.content.decode()
    assert client.get("/keys/new/").status_code == 200
    assert client.get("/keys/").status_code == 200
    assert client.get("/keys/projects/nothing/").status_code == 404


def test_the_admin_finds_keys_by_the_code(customer, owner):
    client = Client()
    client.force_login(owner)
    mint_key(customer, name="till")
    token = mint_pat(owner, projects=[customer])
    found = client.get("/admin/apikeys/projectkey/", {"q": "K-10"})
    assert found.context["cl"].result_count == 1
    found = client.get("/admin/apikeys/personalaccesstoken/", {"q": "K-1001"})
    assert [each.pk for each in found.context["cl"].result_list] == [token.key.pk]


def test_a_refusal_names_the_code(customer, owner):
    other = Customer.objects.create(code="K-2", title="Other")
    with pytest.raises(lifecycle.LifecycleError, match="K-2"):
        mint_pat(owner, projects=[other])


def test_the_admin_shows_what_reaches_a_project_by_its_code(customer, owner):
    key = mint_key(customer).key
    client = Client()
    client.force_login(owner)
    url = "/admin/apikeys/personalaccesstoken/access/"
    (shown,) = client.get(url, {"q": "k-10"}).context["projects"]
    assert (shown["slug"], shown["url"]) == ("K-1001", f"{url}{customer.pk}/")
    client.post(f"{shown['url']}{key.public_id}/deny/", {"reason": "Lost."})
    key.refresh_from_db()
    assert key.paused_by == owner
    assert "denied here" in client.get(shown["url"]).content.decode()
