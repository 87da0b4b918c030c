"""Every place that shows an imported key also shows its scheme."""

import html
import re

import pytest
from django.utils import formats, translation

from apikeys import lifecycle
from apikeys.models import LegacyKey, PersonalAccessToken
from tests.factories import UserFactory, mint_key, mint_pat
from tests.legacy.conftest import TOMORROW, YESTERDAY, api_key, authtoken_of

pytestmark = pytest.mark.django_db

SCOPE = ["--scope", "payments:read"]
TOKENS, KEYS = "/settings/keys/", "/settings/keys/projects/analytical-engine/"


@pytest.fixture(params=["token", "project key"])
def key(request, apikeys, ada, takes):
    """Create an imported key and another key."""
    if request.param == "token":
        takes(authtoken=TOMORROW)
        authtoken_of(ada)
        apikeys("import", "--from", "authtoken", *SCOPE)
        mint_pat(ada)
    else:
        takes(drf_api_key=TOMORROW)
        api_key()
        apikeys("import", "--from", "drf-api-key", "--project", "analytical-engine", *SCOPE)
        mint_key(ada.project_memberships.get().project)
    legacy = LegacyKey.objects.get()
    return legacy.token or legacy.key


@pytest.fixture
def scheme(key):
    return key.former.scheme


@pytest.fixture
def header(scheme):
    return {"authtoken": "Authorization: Token", "drf-api-key": "Authorization: Api-Key"}[scheme]


@pytest.fixture
def badges(client, ada, key):
    """Return a function that reads the badges of the list and of the key's page."""
    url = TOKENS if isinstance(key, PersonalAccessToken) else KEYS
    client.force_login(ada)

    def badges():
        found = []
        for where in (url, f"{url}{key.public_id}/"):
            page = client.get(where).content.decode()
            spans = re.findall(r'<span class="ak-badge[^>]*>(.*?)</span>', page, re.DOTALL)
            found.append([html.unescape(span) for span in spans if "eader" in span or ":" in span])
        return found

    return badges


def test_the_pages_show_header_and_last_day(badges, header):
    told = f"{header}, until {formats.date_format(TOMORROW, 'DATE_FORMAT')}"
    assert badges() == [[told], [told]]  # the other key has no badge


@pytest.mark.slow
def test_the_pages_show_that_the_header_has_ended(badges, scheme, takes):
    told = "old header, no longer accepted"
    takes(**{scheme.replace("-", "_"): YESTERDAY})
    assert badges() == [[told], [told]]
    takes()
    assert badges() == [[told], [told]]


def test_the_badge_is_translated(badges, header, client):
    client.cookies["django_language"] = "de"
    with translation.override("de"):
        told = f"{header}, bis {formats.date_format(TOMORROW, 'DATE_FORMAT')}"
    assert badges() == [[told], [told]]


@pytest.mark.slow
def test_the_page_of_the_key_explains_how_to_replace_it(client, ada, key):
    url = TOKENS if isinstance(key, PersonalAccessToken) else KEYS
    client.force_login(ada)
    page = " ".join(client.get(f"{url}{key.public_id}/").content.decode().split())
    assert "Rotate it to get one that is sent as a bearer token." in page
    successor = lifecycle.rotate(key).key
    assert "Rotate it for" not in client.get(f"{url}{successor.public_id}/").content.decode()


def test_the_api_names_the_scheme(client, ada, key, scheme):
    client.force_login(ada)
    path = "tokens" if isinstance(key, PersonalAccessToken) else "projects/analytical-engine/keys"
    rows = client.get(f"/api/{path}/").json()["results"]
    assert {row["legacy"]: row["id"] == key.public_id for row in rows} == {
        None: False,
        scheme: True,
    }
    assert client.get(f"/api/{path}/{key.public_id}/").json()["legacy"] == scheme


@pytest.mark.slow
def test_the_admin_names_the_scheme(client, key, scheme):
    client.force_login(UserFactory(is_staff=True, is_superuser=True))
    model = type(key)
    other = model.objects.exclude(pk=key.pk).get()
    found = [
        re.search(
            r'field-former.*?<label>(.*?)</label>.*?<div class="readonly">(.*?)</div>',
            client.get(f"/admin/apikeys/{model._meta.model_name}/{pk}/change/").content.decode(),
            re.DOTALL,
        )
        for pk in (key.pk, other.pk)
    ]
    assert found[0].groups() == ("Imported from:", scheme)
    assert found[1] is None


def test_the_command_names_the_scheme(apikeys, key, scheme):
    listed = apikeys("list").out.splitlines()
    assert [key.public_id in line for line in listed if "(legacy)" in line] == [True]
    rows = apikeys("list", "--json").json
    assert {row["legacy"]: row["id"] == key.public_id for row in rows} == {
        None: False,
        scheme: True,
    }
    assert scheme in apikeys("show", key.public_id).out
