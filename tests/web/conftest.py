import re
from html import unescape
from types import SimpleNamespace

import pytest

from apikeys.models import PersonalAccessToken, ProjectKey
from tests.factories import MembershipFactory

TOKENS = "/settings/keys/"
KEYS = "/settings/keys/projects/analytical-engine/"


def text_of(response):
    """Return the visible text of a page in one line."""
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(unescape(body).split())


def secret_of(response):
    return re.search(
        r"\bacme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}\b", response.content.decode()
    )[0]


@pytest.fixture
def viewer(engine):
    return MembershipFactory(user__username="vera", project=engine, role="viewer").user


@pytest.fixture
def page(client, ada):
    """Django's test client, logged in as ada just now."""
    client.force_login(ada)
    return client


@pytest.fixture(params=[TOKENS, KEYS], ids=["token", "project-key"])
def place(request):
    """The pages of each kind of key: their ``url`` and ``model``, and the data of the form."""
    form = {"name": "laptop", "expiry": "30", "scopes:payments": "payments:read"}
    if request.param == TOKENS:
        return SimpleNamespace(url=TOKENS, model=PersonalAccessToken, form=form | {"reach": "all"})
    return SimpleNamespace(url=KEYS, model=ProjectKey, form=form)


def open_form(page, url):
    """Return the hidden field with which the form creates one key only."""
    response = page.get(f"{url}new/")
    assert response.status_code == 200
    return {"once": re.search(r'name="once" value="([^"]+)"', response.content.decode())[1]}


def mint(page, place, **changes):
    return page.post(f"{place.url}new/", place.form | open_form(page, place.url) | changes)
