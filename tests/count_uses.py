"""A process for tests: notes uses of keys in threads, and says how many before each.

``python -m tests.count_uses THREADS USES PK…``: each thread notes so many uses of each key,
and then the process ends; with 0 it goes on until it is killed.
"""

import os
import sys
import threading
import time

import django


def main() -> None:
    threads, uses, *pks = map(int, sys.argv[1:])
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.server_settings"
    django.setup()
    from apikeys import usage
    from apikeys.models import PersonalAccessToken

    def note() -> None:
        for _ in range(uses):
            for pk in pks:
                usage.note_use(PersonalAccessToken, pk, "192.0.2.1")

    if uses:
        started = [threading.Thread(target=note) for _ in range(threads)]
        for thread in started:
            thread.start()
        for thread in started:
            thread.join()
        return
    while True:
        usage.note_use(PersonalAccessToken, pks[0], "192.0.2.1")
        print(time.time(), flush=True)
        time.sleep(0.005)


if __name__ == "__main__":
    main()
