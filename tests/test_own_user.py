"""A site with a user model of its own, in a process of its own: settings are read once."""

import pytest

from tests.test_swapped import run

pytestmark = pytest.mark.long


def test_a_user_model_with_few_fields():
    settings = "tests.own_user.settings"
    out = run(
        *("-m", "pytest", "-q", "-p", "no:cacheprovider", f"--ds={settings}"),
        "tests/own_user/check_own_user.py",
        DJANGO_SETTINGS_MODULE=settings,
    )
    assert " passed" in out
    assert "skipped" not in out
