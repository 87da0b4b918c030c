"""Made first.sql and first.json: a database as the first version of the tables was written.

It runs in a checkout of that version, with that version's locked dependencies, and is kept to
tell how the files came to be:

    git worktree add ../first 5dce9b5
    cd ../first
    uv run --group django52 python …/tests/upgrade/make.py …/tests/upgrade
"""

import json
import os
import sqlite3
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

FAR = datetime(2125, 1, 1, tzinfo=UTC)


def main(out: Path) -> None:
    database = Path(tempfile.mkdtemp()) / "first.sqlite3"
    os.environ |= {
        "DJANGO_SETTINGS_MODULE": "example_project.settings",
        "DEMO_DATABASE": str(database),
        "SECRET_KEY": "lost",
    }
    sys.path.insert(0, os.getcwd())
    import django

    django.setup()
    from django.contrib.auth import get_user_model
    from django.core.management import call_command
    from django.test import Client, override_settings
    from oauth2_provider.models import AccessToken, Application

    from apikeys import lifecycle, usage
    from apikeys.models import Membership, Project
    from apikeys.verify import verify

    call_command("migrate", verbosity=0)
    users = get_user_model().objects
    ada = users.create_user("ada", password="demo-password")
    left = users.create_user("left")
    engine = Project.objects.create(slug="engine", name="Analytical Engine")
    compiler = Project.objects.create(slug="compiler", name="Compiler")
    closed = Project.objects.create(slug="closed", name="Closed")
    for user, project, role in [
        (ada, engine, "owner"),
        (ada, compiler, "viewer"),
        (left, engine, "admin"),
    ]:
        Membership.objects.create(user=user, project=project, role=role)
    read, write = ["payments:read"], ["payments:write", "reports:read"]
    soon = datetime.now(UTC) + timedelta(seconds=2)

    made = {"token whose pepper is lost": lifecycle.mint(user=ada, name="a", scopes=read)}
    made["key whose pepper is lost"] = lifecycle.mint(project=engine, name="b", scopes=write)
    with override_settings(SECRET_KEY="previous"):
        made["token of the previous pepper"] = lifecycle.mint(user=ada, name="c", scopes=write)
        made["key of the previous pepper"] = lifecycle.mint(
            project=engine, name="d", scopes=read, by=ada
        )
    with override_settings(SECRET_KEY="current", SECRET_KEY_FALLBACKS=["previous"], DEMO=True):
        made |= {
            "token": lifecycle.mint(user=ada, name="Büro 🗝", scopes=write),
            "token for one project": lifecycle.mint(
                user=ada, name="e", scopes=write, projects=[engine]
            ),
            "token with an end": lifecycle.mint(user=ada, name="f", scopes=read, expires_at=FAR),
            "key": lifecycle.mint(project=engine, name="g", scopes=write, by=left),
            "key with an end": lifecycle.mint(
                project=compiler, name="h", scopes=read, expires_at=FAR
            ),
            "expired token": lifecycle.mint(user=ada, name="i", scopes=read, expires_at=soon),
            "expired key": lifecycle.mint(project=engine, name="j", scopes=read, expires_at=soon),
            "revoked token": lifecycle.mint(user=ada, name="k", scopes=read),
            "revoked key": lifecycle.mint(project=engine, name="l", scopes=read),
            "rotated token": lifecycle.mint(user=ada, name="m", scopes=read, projects=[compiler]),
            "rotated key": lifecycle.mint(project=compiler, name="n", scopes=write),
            "token of who left": lifecycle.mint(user=left, name="o", scopes=read),
            "key of a closed project": lifecycle.mint(project=closed, name="p", scopes=read),
        }
        for name in ("token", "key"):
            verify(made[name].token)
            lifecycle.revoke(made[f"revoked {name}"].key, by=ada, reason="Lost.")
            made[f"successor of the {name}"] = lifecycle.rotate(
                made[f"rotated {name}"].key, overlap=timedelta(0), by=ada
            )
        usage.flush()
        Application.objects.create(
            client_id="webapp",
            name="Web app",
            client_type=Application.CLIENT_PUBLIC,
            authorization_grant_type=Application.GRANT_PASSWORD,
            client_secret="",
        )
        form = {"grant_type": "password", "client_id": "webapp", "scope": "payments:read"}
        form |= {"username": "ada", "password": "demo-password"}
        granted = Client(headers={"Host": "localhost"}).post("/o/token/", form).json()
        AccessToken.objects.update(expires=FAR)  # it would have ended long ago
        users.filter(pk=left.pk).update(is_active=False)
        Project.objects.filter(pk=closed.pk).update(is_active=False)

    texts = {name: minted.token for name, minted in made.items()}
    texts["OAuth token"] = granted["access_token"]
    time.sleep(max(0, (soon - datetime.now(UTC)).total_seconds()))
    with sqlite3.connect(database) as connection:
        dump = "\n".join(connection.iterdump()) + "\n"
    (out / "first.sql").write_text(dump, encoding="utf-8")
    (out / "first.json").write_text(json.dumps(texts, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
