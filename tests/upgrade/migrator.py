"""Applies one missing migration for each line that it reads, and prints its name as JSON.

After the last one it prints ``null``.
"""

import json
import sys

if __name__ == "__main__":
    import django

    django.setup()
    from django.core.management import call_command
    from django.db import connection
    from django.db.migrations.executor import MigrationExecutor

    executor = MigrationExecutor(connection)
    newest = executor.loader.graph.leaf_nodes()
    missing = [(step.app_label, step.name) for step, _ in executor.migration_plan(newest)]
    for _ in sys.stdin:
        if not missing:
            call_command("migrate", verbosity=0)  # also creates permissions and content types
            print("null", flush=True)
            continue
        app, name = missing.pop(0)
        call_command("migrate", app, name, verbosity=0, skip_checks=True)
        print(json.dumps(f"{app}.{name}"), flush=True)
