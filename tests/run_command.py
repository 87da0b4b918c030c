"""A process for tests: runs a management command when it is sent a line, and shows its output.

``python -m tests.run_command COMMAND ARGUMENT…``. So several of them begin at the same moment.
"""

import os
import sys

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.server_settings"
    django.setup()
    from django.core.management import call_command
    from django.db import connection

    connection.ensure_connection()
    print("ready", flush=True)
    sys.stdin.readline()
    call_command(*sys.argv[1:])


if __name__ == "__main__":
    main()
