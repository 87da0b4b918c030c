"""Databases that cannot work together are named by a check."""

import pytest

from apikeys.checks.relations import check_relations
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey


class Router:
    """Send each app to the database that ``places`` names."""

    places: dict[str, str] = {}

    def db_for_write(self, model, **hints):
        return self.places.get(model._meta.app_label, "default")

    db_for_read = db_for_write


@pytest.fixture
def route(settings, monkeypatch):
    def route(**places):
        monkeypatch.setattr(Router, "places", places)
        settings.DATABASE_ROUTERS = ["tests.checks.test_relations.Router"]
        return check_relations()

    return route


def test_one_database_is_fine(settings):
    settings.DATABASE_ROUTERS = []
    assert check_relations() == []


def test_other_apps_may_be_elsewhere(route):
    assert route(sessions="other", payments="other") == []


def test_keys_away_from_their_users_are_an_error(route):
    found = route(apikeys="keys")
    assert {each.id for each in found} == {"apikeys.E085"}
    told = [each.msg for each in found if each.obj is PersonalAccessToken]
    assert any(
        "'keys'" in text and "user refers to auth.User in 'default'" in text for text in told
    )
    assert any(each.obj is ProjectKey and "created_by" in each.msg for each in found)
    assert not any(each.obj is AuditEvent for each in found)  # it stores names
    assert "'apikeys'" in found[0].hint


def test_users_away_from_all_else_are_an_error(route):
    assert {each.id for each in route(auth="people")} == {"apikeys.E085"}
