"""What more than one folder of tests uses."""

import gc
import io
import json
import os
import re
import shutil
from collections import Counter
from pathlib import Path

import pytest
from django.contrib.auth.hashers import make_password
from django.contrib.auth.models import Permission
from django.contrib.contenttypes.models import ContentType
from django.core.cache import cache
from django.core.management import CommandError, call_command
from django.db import DEFAULT_DB_ALIAS, connection
from django.test import override_settings
from django.utils import translation

from apikeys import hashing, usage
from apikeys.hashing import lost_peppers
from apikeys.limits import attempts as tries
from apikeys.usage import scope_uses
from tests.factories import PASSWORD, MembershipFactory, ProjectFactory, UserFactory
from tests.services import require

CHROMIUM = (
    os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
)

REAL_ARGON2 = hashing._argon2
pytest_plugins = ["apikeys.testing.pytest"]


# What the default run leaves out, and what `--all` leaves out too: `markers` in pyproject.toml.
ALL = {"browser", "packaging", "process", "slow"}
LONG = {"long"}


def pytest_addoption(parser):
    parser.addoption("--all", action="store_true", help="Run every test but the long ones.")
    parser.addoption("--long", action="store_true", help="Run the long tests alone.")
    parser.addoption(
        "--database-only",
        action="store_true",
        help="For a second database: skip tests that use none, and most parameters of a test.",
    )


def pytest_configure(config):
    if config.getoption("--all"):
        config.option.nomigrations = False
    if _is_quick(config) and not config.getoption("numprocesses", 0):
        from hypothesis import settings  # takes a third of a second, and the controller needs none

        settings.register_profile("quick", max_examples=20)
        settings.load_profile("quick")
    gc.disable()


def pytest_collection_finish(session):
    """Keep the garbage collector from looking at the millions of objects of the collection.

    It takes a quarter of the time of a run otherwise.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 10, 10)
    gc.enable()


def pytest_ignore_collect(collection_path, config):
    """Do not even import a module whose tests are all left out: this takes seconds."""
    if collection_path.suffix != ".py" or not _is_quick(config):
        return None
    found = re.search(
        r"^pytestmark = (?:\[\n[^]]*^]|.+)$", collection_path.read_text(), re.MULTILINE
    )
    marks = re.findall(r"\bmark\.(\w+)", found[0]) if found else []
    return True if set(marks) & (ALL | LONG) else None


def pytest_xdist_auto_num_workers(config):
    """Run a few modules in this process: starting workers takes longer than the tests."""
    return 0 if 0 < len(_named(config)) == len(config.args) <= 3 else None


def pytest_collection_modifyitems(config, items):
    """Keep the tier that was requested, and modules named on the command line; slow ones first.

    At the end, all workers would wait for a module with many slow tests.
    """
    named = _named(config)
    kept = []
    for item in items:
        in_tier = bool(config.option.markexpr) or _in_tier(config, item)
        if item.path in named or (in_tier and _fits_database(config, item)):
            kept.append(item)
    if _is_quick(config):
        kept = _with_few_parameters(kept, 1)
    elif config.getoption("--database-only"):
        kept = _with_few_parameters(kept, 2)
    left = set(items) - set(kept)
    if left:
        config.hook.pytest_deselected(items=list(left))
    marked = Counter(item.path for item in kept if not ALL.isdisjoint(_marks(item)))
    sizes = Counter(item.path for item in kept)
    items[:] = sorted(kept, key=lambda item: 2 * marked[item.path] < sizes[item.path])


def _in_tier(config, item) -> bool:
    if config.getoption("--long"):
        return not LONG.isdisjoint(_marks(item))
    hidden = LONG if config.getoption("--all") else ALL | LONG
    return hidden.isdisjoint(_marks(item))


def _is_quick(config) -> bool:
    """Whether this is the run without arguments, which a developer waits for."""
    options = config.option
    paths = {(config.invocation_params.dir / each).resolve() for each in config.args}
    asked = options.all or options.long or options.keyword or options.markexpr
    asked = asked or getattr(options, "lf", False)  # an option of a plugin that can be off
    return not asked and paths == {config.rootpath / "tests"}


def _fits_database(config, item) -> bool:
    if not config.getoption("--database-only"):
        return True
    # A test that starts processes may give them the database unseen by pytest-django.
    used = {"django_db", "process"} & _marks(item)
    return bool(used) or not {"db", "transactional_db"}.isdisjoint(item.fixturenames)


def _with_few_parameters(items, most):
    """Keep ``most`` parameters of each test. `--all` runs it with all of them, on SQLite."""
    tests = {}
    for item in items:
        tests.setdefault(item.nodeid.partition("[")[0], []).append(item)
    kept = []
    for found in tests.values():
        last = len(found) - 1
        kept += (
            found[:most]
            if last < most
            else [found[last * n // max(1, most - 1)] for n in range(most)]
        )
    return kept


def _marks(item) -> set[str]:
    return {mark.name for mark in item.iter_markers()}


def _named(config) -> set[Path]:
    paths = {config.invocation_params.dir / argument.split("::")[0] for argument in config.args}
    return {path for path in paths if path.suffix == ".py"}


@pytest.fixture(autouse=True)
def empty_cache():
    """Start without numbers of the test before: users of two tests may have the same key."""
    cache.clear()


@pytest.fixture(scope="session")
def real_argon2():
    """The hasher as a site has it."""
    return REAL_ARGON2


@pytest.fixture(autouse=True)
def language():
    """The language of a response, which the thread keeps, is not the next test's."""
    with translation.override("en"):
        yield


@pytest.fixture(autouse=True)
def attempts(monkeypatch):
    """Attempts that a rolled-back test has counted in memory are not the next test's.

    The minute in which attempts at Argon2 are counted does not end in the middle of a test.
    """
    tries._held.clear()
    monkeypatch.setattr(lost_peppers, "_TRIES_WINDOW", 10**9)


@pytest.fixture(autouse=True)
def noted_uses():
    """Uses that a rolled-back test has noted in memory are not the next test's."""
    with usage._lock:
        usage._pending.clear()
    with scope_uses.lock:
        scope_uses.pending.clear()


@pytest.fixture
def flush(django_capture_on_commit_callbacks):
    """Write the noted uses, and run what waits for the commit."""

    def flush():
        with django_capture_on_commit_callbacks(execute=True):
            usage.flush()

    return flush


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


@pytest.fixture(scope="session", autouse=True)
def quick_flush(django_db_setup, django_db_blocker):
    """Make the flush after a test with ``transaction=True`` fast.

    Django looks for the content type and the permissions of each model again, which takes longer
    than most of these tests. Here they are inserted as they were at the beginning. And PostgreSQL
    empties a table with few rows faster than it creates its files anew.
    """
    models = (ContentType, Permission)
    with django_db_blocker.unblock():
        # pytest-django creates no tables if no test uses the database, and each tenant has its own.
        tables = connection.introspection.table_names()
        is_shared = {model._meta.db_table for model in models} <= set(tables)
        saved = [_rows_of(model) for model in models] if is_shared else []
        if not is_shared:
            connection.close()
    if not is_shared:
        yield
        return

    def insert(verbosity, interactive, db, **kwargs):
        assert db == DEFAULT_DB_ALIAS
        with connection.cursor() as cursor:
            for statement, rows in saved:
                cursor.executemany(statement, rows)

    def delete(style, tables, **kwargs):
        return ["; ".join(f"DELETE FROM {connection.ops.quote_name(each)}" for each in tables)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("django.core.management.commands.flush.emit_post_migrate_signal", insert)
        if connection.vendor == "postgresql":
            patch.setattr(connection.ops, "sql_flush", delete)
        yield


def _rows_of(model):
    """Return a statement and the rows that it is to insert."""
    fields = model._meta.concrete_fields
    names = ", ".join(connection.ops.quote_name(field.column) for field in fields)
    values = ", ".join(["%s"] * len(fields))
    table = connection.ops.quote_name(model._meta.db_table)
    rows = list(model.objects.order_by("pk").values_list(*(field.attname for field in fields)))
    return f"INSERT INTO {table} ({names}) VALUES ({values})", rows


@pytest.fixture
def engine(db):
    """A project."""
    return ProjectFactory(slug="analytical-engine", name="Analytical Engine")


@pytest.fixture
def ada(engine):
    """The owner of the project. She has a password and an email address."""
    user = UserFactory(username="ada", email="ada@example.com", password=make_password(PASSWORD))
    MembershipFactory(user=user, project=engine, role="owner")
    return user


@pytest.fixture
def notify_twice(caplog):
    """Return a function that sends notices twice, the first time without a mail server.

    It returns what the second run reports.
    """

    def notify_twice():
        with (
            override_settings(EMAIL_BACKEND="tests.test_mail.Broken"),
            pytest.raises(CommandError, match="1 mail could not be sent"),
        ):
            call_command("apikeys", "notify", stdout=io.StringIO())
        out = io.StringIO()
        call_command("apikeys", "notify", "--json", stdout=out)
        return json.loads(out.getvalue())

    return notify_twice


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


@pytest.fixture
def open_page(chromium, live_server, ada):
    """Open pages. Fail if a page violates the Content-Security-Policy or its script fails."""
    contexts, complaints = [], []

    def open_page(*, watched=True, **options):
        context = chromium.new_context(base_url=live_server.url, locale="en", **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        if watched:
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("console", lambda message: complaints.append(message.text))
        return page

    yield open_page
    for context in contexts:
        context.close()
    # The browser also logs every status above 399. That is not a failure.
    assert [c for c in complaints if not c.startswith("Failed to load resource")] == []
