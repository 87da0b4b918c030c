"""Settings are read once, and again when they change."""

from datetime import timedelta

from apikeys.conf import app_settings
from apikeys.policy import Policy


class OwnPolicy(Policy):
    pass


def test_a_value_is_computed_once(settings):
    assert app_settings.PEPPERS is app_settings.PEPPERS
    assert app_settings.POLICY is app_settings.POLICY


def test_a_change_applies_at_once(settings):
    before = app_settings.PEPPERS
    settings.APIKEYS = {**settings.APIKEYS, "PREFIX": "other", "ROTATION_OVERLAP": timedelta(0)}
    assert app_settings.PREFIX == "other"
    assert app_settings.ROTATION_OVERLAP.total_seconds() == 0
    settings.SECRET_KEY = "another" * 10
    assert list(app_settings.PEPPERS) != list(before)


def test_peppers_may_be_text_or_bytes(settings):
    settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": ["ä" * 32, b"b" * 32]}
    assert list(app_settings.PEPPERS) == [("ä" * 32).encode(), b"b" * 32]


def test_peppers_are_derived_from_all_secret_keys(settings):
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "a" * 50, ["b" * 50, "c" * 50]
    peppers = list(app_settings.PEPPERS)
    assert len(set(peppers)) == 3
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "b" * 50, []
    assert list(app_settings.PEPPERS) == peppers[1:2]
    assert all(len(pepper) == 32 for pepper in peppers)


def test_a_policy_is_a_path_or_a_class(settings):
    for policy in (f"{__name__}.OwnPolicy", OwnPolicy):
        settings.APIKEYS = {**settings.APIKEYS, "POLICY": policy}
        assert type(app_settings.POLICY) is OwnPolicy


def test_the_default_project_model_is_in_the_settings(settings):
    assert settings.APIKEYS_PROJECT_MODEL == "apikeys.Project"
