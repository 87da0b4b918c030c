import re
from datetime import timedelta
from html import unescape
from types import SimpleNamespace

import pytest
from django.utils import timezone

from apikeys import lifecycle, usage
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


#: A description that is hard to show: one word.
LONGEST = "W" * 500


@pytest.fixture
def some_keys(ada, engine):
    MembershipFactory(user=ada, project__slug="difference-engine", role="viewer")
    soon = timezone.now() + timedelta(days=3)
    told = {"scopes": ["payments:read"], "description": LONGEST}
    token = lifecycle.mint(user=ada, name="laptop", expires_at=soon, **told).key
    new = lifecycle.rotate(token, by=ada).key
    gone = lifecycle.mint(user=ada, name="gone", scopes=["payments:read"]).key
    lifecycle.revoke(gone, by=ada, reason="It was lost.")
    told = {"scopes": ["payments:write"], "description": "Asks the bank every hour. " * 19}
    key = lifecycle.mint(project=engine, name="server", by=ada, **told).key
    type(key).objects.update(is_pending=True)
    paused = lifecycle.mint(user=ada, name="nightly export", scopes=["payments:read"]).key
    lifecycle.pause(paused, by=ada, reason="The export moves to another server.")
    usage.note_use(PersonalAccessToken, token.pk, "203.0.113.7")
    usage.flush()
    ids = {"old": token, "new": new, "paused": paused, "key": key}
    return {name: each.public_id for name, each in ids.items()}
