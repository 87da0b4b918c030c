"""A recent log-in by django-allauth's own reauthentication."""

import json
import os
import subprocess
import sys

from tests.documents import ROOT

# A process of its own: allauth takes models, middleware and URLs that the example has not.
LIFE = """
import json, time
import django; django.setup()
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
call_command("migrate", verbosity=0)
get_user_model().objects.create_user("ada", password="a-password-of-adas")
client, seen = Client(), []

def see(response):
    seen.append([response.status_code, response.get("Location")])

def age():
    session = client.session
    session["apikeys_logged_in_at"] -= 3600
    session.save()

see(client.get("/keys/new/"))
password = {"password": "a-password-of-adas"}
see(client.post("/accounts/login/?next=/keys/new/", {"login": "ada"} | password))
see(client.get("/keys/new/"))
age()
see(client.get("/keys/new/"))
see(client.post("/keys/new/", {"name": "typed with care"}))
see(client.post("/accounts/reauthenticate/?next=/keys/new/", {"password": "wrong"}))
see(client.get("/keys/new/"))
see(client.post("/accounts/reauthenticate/?next=/keys/new/", password))
again = client.get("/keys/new/")
see(again)
seen.append("typed with care" in again.content.decode())
session = client.session
for record in session["account_authentication_methods"]:
    record["at"] -= 3600
session.save()
see(client.get("/keys/new/"))
print(json.dumps(seen))
"""


def test_reauthentication_is_allauths():
    done = subprocess.run(
        [sys.executable, "-c", LIFE],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.web.allauth_site"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    reauthenticate = "/accounts/reauthenticate/?next=%2Fkeys%2Fnew%2F"
    assert json.loads(done.stdout.splitlines()[-1]) == [
        [302, "/accounts/login/?next=/keys/new/"],
        [302, "/keys/new/"],
        [200, None],
        [302, reauthenticate],
        [302, reauthenticate],
        [200, None],  # a wrong password: its form again
        [302, reauthenticate],
        [302, "/keys/new/"],
        [200, None],
        True,  # and nothing was lost
        [302, reauthenticate],
    ]
