"""Makes a database on SQLite as ``startproject`` sets it up, and prints what a client needs.

``python -m tests.sqlite_site``, with ``SERVER_SQLITE`` as for ``tests.server_settings``.
"""

import json
import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.server_settings"
    django.setup()
    from django.contrib.sessions.backends.db import SessionStore
    from django.core.management import call_command
    from django.test import Client

    call_command("migrate", verbosity=0)
    from tests.factories import MembershipFactory, mint_pat

    root = MembershipFactory(user__is_staff=True, user__is_superuser=True, role="owner").user
    sessions = []
    for _ in range(4):
        client = Client()
        client.force_login(root)
        sessions.append(client.session.session_key)
    assert all(SessionStore(key).exists(key) for key in sessions)
    token = mint_pat(root, scopes=["keys:write", "payments:read"], expires_at=None)
    memberships = [MembershipFactory() for _ in range(4)]
    facts = {
        "token": token.token,
        "sessions": sessions,
        "memberships": [[each.pk, each.user_id, each.project_id] for each in memberships],
    }
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
