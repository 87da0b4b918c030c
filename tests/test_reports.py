"""Old paths keep working, with a warning that names the new one."""

import pytest
from django.utils.module_loading import import_string

import apikeys
from apikeys import error_reports


@pytest.mark.parametrize("name", error_reports.__all__)
def test_a_name_at_the_old_path_is_the_same_and_names_the_new_path(name):
    with pytest.warns(DeprecationWarning, match=f"use apikeys.error_reports.{name}"):
        found = import_string(f"apikeys.reports.{name}")
    assert found is getattr(error_reports, name)


def test_another_name_is_not_there():
    with pytest.raises(ImportError):
        import_string("apikeys.reports.Nothing")


@pytest.mark.parametrize("name", apikeys._MOVED)
def test_a_module_that_has_moved_is_found_at_the_root(name):
    with pytest.warns(DeprecationWarning, match=f"use {apikeys._MOVED[name]}"):
        module = getattr(apikeys, name)
    assert module.__name__ == apikeys._MOVED[name]


def test_a_module_that_never_was_is_not_there():
    with pytest.raises(AttributeError):
        _ = apikeys.nothing
