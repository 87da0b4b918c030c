"""A recent log-in by django-allauth's reauthentication."""

import json
import os
import subprocess
import sys

import pytest

from tests.documents import ROOT

pytestmark = pytest.mark.process

# Run in a separate process: allauth needs models, middleware and URLs that the example lacks.
LIFE = """
import json, time
import django; django.setup()
from django.contrib.auth import get_user_model
from django.test import Client
from tests.prepared import create_tables
create_tables()
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

CONSENT = (
    LIFE.partition('see(client.get("/keys/new/"))')[0]
    + """
import base64, hashlib
from datetime import timedelta
from urllib.parse import urlencode
from oauth2_provider.models import Application, DeviceGrant
from django.utils import timezone

Application.objects.create(
    client_id="app", client_type="confidential", client_secret="s",
    authorization_grant_type="authorization-code", redirect_uris="https://app.example/callback",
)
challenge = base64.urlsafe_b64encode(hashlib.sha256(b"v" * 64).digest()).rstrip(b"=").decode()
query = {
    "client_id": "app", "response_type": "code", "scope": "payments:read", "state": "xyz",
    "redirect_uri": "https://app.example/callback",
    "code_challenge": challenge, "code_challenge_method": "S256",
}
page = "/o/authorize/?" + urlencode(query)
form = query | {"allow": "Authorize", "reach": "all"}
password = {"password": "a-password-of-adas"}

def to(response):
    seen.append([response.status_code, response.get("Location") or ""])

client.post("/accounts/login/", {"login": "ada"} | password)
age()
session = client.session
for record in session["account_authentication_methods"]:
    record["at"] -= 3600
session.save()
asked = client.get(page)
to(asked)
to(client.post(page, form))
to(client.post(asked["Location"], {"password": "wrong"}))
to(client.get(page))
done = client.post(asked["Location"], password)
seen.append(done.status_code == 302 and done["Location"] == page)
to(client.get(page))
seen.append(client.post(page, form)["Location"].startswith("https://app.example/callback?code="))

DeviceGrant.objects.create(
    client_id="app", user_code="ABCDEFGH", device_code="d" * 40, scope="payments:read",
    expires=timezone.now() + timedelta(minutes=5),
)
from apikeys.oauth.models import Consent
Consent.objects.all().delete()
session = client.session
for record in session["account_authentication_methods"]:
    record["at"] -= 3600
session.save()
url = client.post("/o/device/", {"user_code": "ABCDEFGH"})["Location"]
to(client.get(url))
to(client.post(url, {"action": "accept", "reach": "all"}))
seen.append(Consent.objects.exists())
print(json.dumps(seen))
"""
)


def run(code):
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=ROOT,
        env=os.environ | {"DJANGO_SETTINGS_MODULE": "tests.web.allauth_site"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.long
def test_first_consent_requires_reauthentication_by_allauth():
    to_page = (
        "/accounts/reauthenticate/?next=%2Fo%2Fauthorize%2F%3Fclient_id%3Dapp%26response_type"
        "%3Dcode%26scope%3Dpayments%253Aread%26state%3Dxyz%26redirect_uri%3Dhttps%253A%252F%252F"
        "app.example%252Fcallback%26code_challenge%3D"
    )
    answers = run(CONSENT)
    for answer in answers:
        if isinstance(answer, list) and answer[1].startswith(to_page):
            answer[1] = "to the page"
    to_device = "/accounts/reauthenticate/?next=%2Fo%2Fdevice-confirm%2Fapp%2FABCDEFGH"
    assert answers == [
        [302, "to the page"],
        [302, "to the page"],
        [200, ""],  # a wrong password: its form again
        [302, "to the page"],
        True,  # back to the consent page
        [200, ""],
        True,  # and a code
        [302, to_device],
        [302, to_device],
        False,
    ]


def test_creating_a_token_requires_reauthentication_by_allauth():
    reauthenticate = "/accounts/reauthenticate/?next=%2Fkeys%2Fnew%2F"
    assert run(LIFE) == [
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
