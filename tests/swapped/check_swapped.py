"""What ``tests.test_swapped`` runs in a process whose settings swap the project model."""

import io
import json

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection
from django.test import Client

from apikeys import lifecycle
from apikeys.access import ProjectUser
from apikeys.models import Membership, Project, get_project_model
from apikeys.verify import verify
from tests.factories import UserFactory, bearer, mint_key, mint_pat
from tests.swapped.teams.models import Team

pytestmark = pytest.mark.django_db


@pytest.fixture
def team():
    return Team.objects.create(slug="engine")


@pytest.fixture
def member(team):
    return Membership.objects.create(
        project=team, user=UserFactory(username="ada"), role=Membership.Role.DEVELOPER
    )


def command(*words):
    out = io.StringIO()
    call_command("apikeys", *words, stdout=out)
    return out.getvalue()


def test_the_model_is_swapped_and_has_no_table_of_ours():
    assert get_project_model() is Team
    assert Project._meta.swapped == "teams.Team"
    assert "apikeys_project" not in connection.introspection.table_names()
    assert "apikeys_projectkey" in connection.introspection.table_names()


def test_no_migration_is_missing():
    call_command("makemigrations", "--check", "--dry-run", verbosity=0)
    call_command("check", verbosity=0)


def test_every_relation_leads_to_the_teams():
    for name, field in [
        ("projectkey", "project"),
        ("membership", "project"),
        ("personalaccesstoken", "projects"),
    ]:
        assert apps.get_model("apikeys", name)._meta.get_field(field).related_model is Team


def test_a_team_has_a_key(team, django_assert_num_queries):
    minted = mint_key(team)
    verify(minted.token)
    with django_assert_num_queries(1):
        access = verify(minted.token)
    assert access.project == team
    assert access.principal == ProjectUser(team)
    assert list(access.projects()) == [team]
    assert access.allows("payments:read", project=team)
    assert not access.allows("payments:read", project=Team.objects.create(slug="other"))


def test_a_member_has_a_token(member, team):
    other = Team.objects.create(slug="other")
    everywhere, here = mint_pat(member.user), mint_pat(member.user, projects=[team])
    for minted in (everywhere, here, lifecycle.rotate(here.key)):
        access = verify(minted.token)
        assert list(access.projects()) == [team]
        assert not access.allows("payments:read", project=other)

    with pytest.raises(lifecycle.LifecycleError) as error:
        mint_pat(member.user, projects=[other])
    assert error.value.code == "unknown_project"
    Membership.objects.create(project=other, user=member.user)
    assert verify(everywhere.token).allows("payments:read", project=other)
    assert not verify(here.token).allows("payments:read", project=other)


def test_a_team_that_is_deleted_takes_its_keys_along(team, member):
    minted, token = mint_key(team), mint_pat(member.user, projects=[team])
    team.delete()
    with pytest.raises(Exception, match="invalid_key"):
        verify(minted.token)
    assert list(verify(token.token).projects()) == []


def test_the_commands_know_teams(team, member):
    minted = json.loads(
        command("mint", "--project", "engine", "--name", "s", "--scope", "payments:read", "--json")
    )
    assert verify(minted["token"]).project == team
    words = ["mint", "--user", "ada", "--name", "n", "--scope", "payments:read"]
    restricted = json.loads(command(*words, "--project", "engine", "--json"))
    assert list(verify(restricted["token"]).projects()) == [team]

    assert minted["id"] in command("list")
    assert "engine" in command("show", minted["id"])
    rotated = json.loads(command("rotate", minted["id"], "--json"))
    assert verify(rotated["token"]).project == team
    command("revoke", rotated["id"], "--reason", "lost")
    with pytest.raises(Exception, match="revoked_key"):
        verify(rotated["token"])


def test_the_api_tells_the_team(team):
    response = Client().get("/token/", headers=bearer(mint_key(team).token))
    assert response.status_code == 200
    assert (response.json()["project"], response.json()["projects"]) == ("engine", ["engine"])
