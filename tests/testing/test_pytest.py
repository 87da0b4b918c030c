"""The pytest plugin, in this suite and in a site that loads it before Django is set up."""

import os
import subprocess
import sys
from importlib.metadata import entry_points

import pytest

from apikeys import hashing, usage
from apikeys.testing import PersonalAccessTokenFactory, ProjectFactory
from apikeys.verify import verify
from tests.documents import ROOT
from tests.factories import MembershipFactory

pytestmark = pytest.mark.process


def test_a_client_with_a_users_key(key_client):
    member = MembershipFactory()

    client = key_client(user=member.user, scopes=["payments:read"])

    facts = client.get("/api/token/").json()
    assert (facts["user"], facts["projects"]) == (member.user.username, [member.project.slug])
    assert client.get("/api/payments/").status_code == 200
    assert client.post("/api/payments/", {}).json()["code"] == "insufficient_scope"


def test_a_client_with_a_projects_key(key_client):
    client = key_client(project=ProjectFactory(slug="engine"), scopes=["payments:read"])

    assert client.get("/api/token/").json()["project"] == "engine"


def test_clients_without_a_key(access_client, django_user_model):
    ada = django_user_model(username="ada")

    for client in (access_client(user=ada, scopes=[scope]) for scope in ("keys:read", "other")):
        # It has no scope for payments, so it is refused without a query.
        assert client.get("/api/payments/").json()["code"] == "insufficient_scope"


@pytest.mark.django_db
def test_the_hashing_is_fast_and_real():
    minted = PersonalAccessTokenFactory(scopes=["payments:read"])

    assert minted.key.root.startswith("$argon2id$v=19$m=8,")
    assert hashing.check_root(minted.token[-49:-6], minted.key.root)


@pytest.mark.django_db
@pytest.mark.parametrize("time", ["first", "second"])
def test_uses_of_other_tests_are_cleared(time):
    assert not usage._pending

    verify(PersonalAccessTokenFactory(scopes=["payments:read"]).token)


def test_the_plugin_loads_on_the_command_line(tmp_path):
    (tmp_path / "test_site.py").write_text(
        "def test_it(key_client, django_user_model):\n"
        "    ada = django_user_model.objects.create(username='ada')\n"
        "    client = key_client(user=ada, scopes=['payments:read'])\n"
        "    assert client.get('/api/token/').json()['user'] == 'ada'\n"
    )
    (tmp_path / "pytest.ini").write_text(
        "[pytest]\nDJANGO_SETTINGS_MODULE = example_project.settings\n"
        "addopts = -p apikeys.testing.pytest --nomigrations\n"
    )
    env = {k: v for k, v in os.environ.items() if not k.startswith(("DJANGO_", "PYTEST_"))}
    env |= {"PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:randomly", "-p", "no:cacheprovider"],
        cwd=tmp_path,
        env=env,
        capture_output=True,
        text=True,
    )
    assert "1 passed" in done.stdout, done.stdout + done.stderr


def test_the_plugin_does_not_load_by_itself():
    """Otherwise it would change the test suites of all sites."""
    assert not [e for e in entry_points(group="pytest11") if e.value.startswith("apikeys")]
