"""The check of the project model's tables. ``tests.test_swapped`` tests wrong models."""

import pytest
from django.core.checks import run_checks
from django.db import OperationalError, connection

from apikeys.checks import projects
from apikeys.checks.projects import check_members
from apikeys.models import get_project_model
from apikeys.policy import Policy


def found():
    ids = [message.id for message in run_checks(databases=["default"])]
    return [id_ for id_ in ids if id_ in ("apikeys.E082", "apikeys.E083")]


def test_the_table_of_projects_is_found_on_every_database(db):
    assert projects._project_table("default") == get_project_model()._meta.db_table
    assert found() == []


@pytest.mark.parametrize(
    "table", ["apikeys_project", '"shop"."apikeys_project"', "APIKEYS_PROJECT"]
)
def test_a_schema_and_the_case_of_a_name_make_no_difference(table):
    assert projects._plain(table) == "apikeys_project"


def test_an_unavailable_database_is_not_reported(db, monkeypatch):
    def fail(*args):
        raise OperationalError("away")

    monkeypatch.setattr(connection.introspection, "get_relations", fail)
    assert found() == []


def test_a_database_without_tables_is_not_reported(db, monkeypatch):
    monkeypatch.setattr(connection.introspection, "get_relations", lambda *args: {})
    assert found() == []


class TestMembers:
    @pytest.fixture
    def ids(self, settings):
        def ids(policy):
            settings.APIKEYS = {**settings.APIKEYS, "POLICY": policy}
            return [message.id for message in check_members()]

        return ids

    def test_own_projects_without_own_members_are_reported(self, ids):
        class Wider(Policy):
            def projects(self, user, required=()):
                return self.active_projects()

        assert ids(Wider) == ["apikeys.W086"]

    def test_own_members_belong_to_own_projects(self, ids):
        class Whole(Policy):
            def projects(self, user, required=()):
                return self.active_projects()

            def members(self, project):
                return super().members(project)

        assert ids(Whole) == []
        assert ids("apikeys.policy.Policy") == []
        assert ids("no.such.Policy") == []
