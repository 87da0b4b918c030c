"""A database for a benchmark alone."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

import django
from django.test.runner import DiscoverRunner


@contextmanager
def own_database(settings: str, *, keep: bool = False) -> Iterator[str]:
    """Django set up with ``settings`` and an empty database, which is gone afterwards: its name.

    ``keep`` leaves it there for the next run, with all that is in it.
    """
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", settings)
    django.setup()
    from django.db import connection

    from apikeys import usage

    runner = DiscoverRunner(verbosity=0, interactive=False, keepdb=keep)
    databases = runner.setup_databases(serialized_aliases=[])
    try:
        yield str(connection.settings_dict["NAME"])
    finally:
        usage.flush()  # while there is a database to write to
        connection.close()
        runner.teardown_databases(databases)
