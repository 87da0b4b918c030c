"""What more than one folder of tests uses."""

import os
import shutil

import pytest
from django.db import connection
from django.utils import translation

from apikeys import hashing
from tests.services import require

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)

REAL_ARGON2 = hashing._argon2
pytest_plugins = ["apikeys.testing.pytest"]


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Modules that take long come first: at the end, all would wait for one of them."""
    names = {"browser", "long", "packaging"}
    long = {
        item.path for item in items if not names.isdisjoint(m.name for m in item.iter_markers())
    }
    items.sort(key=lambda item: item.path not in long)


@pytest.fixture(scope="session")
def real_argon2():
    """The hasher as a site has it."""
    return REAL_ARGON2


@pytest.fixture(autouse=True)
def language():
    """The language of a response, which the thread keeps, is not the next test's."""
    with translation.override("en"):
        yield


@pytest.fixture(scope="session", autouse=True)
def database_before_server(django_db_setup, django_db_blocker):
    """A server that starts before it would take the database for one in memory, and share it.

    And what its threads left open would keep PostgreSQL from dropping it.
    """
    yield
    if connection.vendor == "postgresql":
        with django_db_blocker.unblock(), connection.cursor() as cursor:
            cursor.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )


@pytest.fixture(scope="module")
def chromium():
    """Ends with the module: while Playwright runs, its thread counts as an event loop's."""
    require("Chromium", CHROMIUM is not None, "Install it, or name it in CHROMIUM.")
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=60_000)
    with pytest.MonkeyPatch.context() as patch, sync_playwright() as playwright:
        # Nothing asynchronous touches the database.
        patch.setenv("DJANGO_ALLOW_ASYNC_UNSAFE", "1")
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield browser
        browser.close()
