"""The same walk through PgBouncer, with Django's pool and with other options of connections."""

import contextlib
import json
import os
import secrets
import subprocess
import sys
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import psycopg
import pytest
from django.db import OperationalError, connection

from apikeys.databases import unavailable
from tests.documents import ROOT, blocks
from tests.servers import PgBouncer, running
from tests.services import require
from tests.tiers import sampled

pytestmark = [
    pytest.mark.process,
    pytest.mark.skipif(connection.vendor != "postgresql", reason="connections to PostgreSQL"),
]

PAGE = "docs/how-to/many-workers.md"


@pytest.fixture(scope="module")
def server():
    """Run SQL on the server, outside of the test database."""
    given = connection.settings_dict
    address = psycopg.conninfo.make_conninfo(
        host=given["HOST"],
        port=given["PORT"] or 5432,
        user=given["USER"],
        password=given["PASSWORD"],
        dbname="postgres",
    )
    with closing(psycopg.connect(address, autocommit=True)) as server:
        yield server


@contextlib.contextmanager
def created(server, template="template0"):
    """Create a database, and delete it afterwards."""
    name = f"pooled_{secrets.token_hex(4)}"
    server.execute(f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    try:
        yield name
    finally:
        server.execute(f'DROP DATABASE "{name}" WITH (FORCE)')


@pytest.fixture(scope="module")
def migrated(server):
    """Migrate a database through PgBouncer in transaction mode, where connections change."""
    with (
        TemporaryDirectory() as directory,
        created(server) as name,
        running(pgbouncer(directory, default_pool_size=2)) as bouncer,
    ):
        settings = documented() | {"PORT": bouncer.port}
        run(name, settings, "-m", "django", "migrate", "--verbosity", "0")
        bouncer.kill()  # a database with connections cannot be a template
        yield name


@pytest.fixture
def database(server, migrated):
    with created(server, migrated) as name:
        yield name


def run(database, changes, *arguments):
    variables = {
        "DJANGO_SETTINGS_MODULE": "tests.databases.pooled_settings",
        "POOLED": json.dumps({"NAME": database} | changes),
    }
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env=os.environ | variables,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-8000:]
    return done.stdout


def walk(database, **changes):
    assert run(database, changes, "-m", "tests.databases.pooled_walk") == "done\n"


def pgbouncer(directory, **options):
    given = connection.settings_dict
    target = f"host={given['HOST']} port={given['PORT'] or 5432} user={given['USER']}"
    if given["PASSWORD"]:
        target += f" password={given['PASSWORD']}"
    (config,) = blocks(PAGE, "ini")
    for name, value in options.items():
        config += f"{name} = {value}\n"
    return PgBouncer(Path(directory), target, config)


def documented():
    """The settings of the page for PgBouncer in transaction mode."""
    (block,) = (each for each in blocks(PAGE, "python") if "6432" in each)
    databases = {"default": {}}
    exec(block, {"DATABASES": databases})
    return databases["default"]


#: Changes of the page's settings in each mode.
MODES = {
    "transaction": {"CONN_MAX_AGE": 60, "ATOMIC_REQUESTS": True},
    "session": {"CONN_MAX_AGE": 60},
}


@pytest.mark.parametrize("mode", sampled(MODES, 1))
def test_everything_works_through_pgbouncer_with_the_documented_settings(database, mode):
    # In transaction mode, all threads share a few connections.
    how = {"pool_mode": mode, "default_pool_size": 30 if mode == "session" else 3}
    settings = documented() | MODES[mode]
    with TemporaryDirectory() as directory, running(pgbouncer(directory, **how)) as bouncer:
        walk(database, **settings | {"PORT": bouncer.port})


#: Changes of the settings of a database that is asked directly.
DIRECT = {
    "pool, atomic": {
        "OPTIONS": {
            "pool": {"min_size": 1, "max_size": 4, "timeout": 20},
            "server_side_binding": True,
        },
        "ATOMIC_REQUESTS": True,
    },
    "prepared, kept": {
        "OPTIONS": {"server_side_binding": True, "prepare_threshold": 1},
        "CONN_MAX_AGE": 60,
    },
}


@pytest.mark.parametrize("how", sampled(DIRECT, 1))
def test_everything_works_with_a_pool_and_with_prepared_statements(database, how):
    if "pool" in how:
        require("psycopg_pool", bool(find_spec("psycopg_pool")), "Install psycopg[binary,pool].")
    walk(database, **DIRECT[how])


@pytest.fixture
def through():
    """Open connections to the test database through PgBouncer, which has one to the server."""
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(TemporaryDirectory())
        how = {"default_pool_size": 1, "query_wait_timeout": 1}
        bouncer = stack.enter_context(running(pgbouncer(directory, **how)))

        def through(**options):
            copy = connection.copy()
            settings = documented() | {"NAME": "postgres", "PORT": bouncer.port}
            copy.settings_dict = copy.settings_dict | settings
            copy.settings_dict["OPTIONS"] = settings["OPTIONS"] | options
            stack.callback(copy.close)
            return copy

        yield through


@pytest.mark.django_db
def test_a_wait_for_a_connection_of_pgbouncer_ends_with_503(through):
    first, second = through(), through()
    with transaction_of(first), pytest.raises(OperationalError) as caught:
        second.cursor().execute("SELECT 1")
    assert unavailable.refusal(caught.value).status == 503


@contextlib.contextmanager
def transaction_of(copy):
    copy.set_autocommit(False)
    copy.cursor().execute("SELECT 1")
    yield
    copy.rollback()


@pytest.mark.django_db
def test_pgbouncer_refuses_timeouts_in_options(through):
    with pytest.raises(OperationalError, match="unsupported startup parameter"):
        through(options="-c statement_timeout=5000").ensure_connection()
