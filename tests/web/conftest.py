import re
from html import unescape
from types import SimpleNamespace

import pytest

from apikeys.models import PersonalAccessToken, ProjectKey
from example_project.payments.demo import PASSWORD
from tests.factories import MembershipFactory, ProjectFactory, UserFactory

TOKENS = "/settings/keys/"
KEYS = "/settings/keys/projects/analytical-engine/"


def text_of(response):
    """What a reader gets to see of a page, in one line."""
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(unescape(body).split())


def secret_of(response):
    return re.search(
        r"\bacme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}\b", response.content.decode()
    )[0]


@pytest.fixture
def engine(db):
    return ProjectFactory(slug="analytical-engine", name="Analytical Engine")


@pytest.fixture
def ada(engine, settings):
    """Owner of the analytical engine, with the demo's password."""
    settings.DEMO = True
    user = UserFactory(username="ada")
    user.set_password(PASSWORD)
    user.save()
    MembershipFactory(user=user, project=engine, role="owner")
    return user


@pytest.fixture
def viewer(engine):
    return MembershipFactory(user__username="vera", project=engine, role="viewer").user


@pytest.fixture
def page(client, ada):
    """Django's client, in which ada has just logged in."""
    client.force_login(ada)
    return client


@pytest.fixture(params=[TOKENS, KEYS], ids=["token", "project-key"])
def place(request):
    """Where keys of either kind are managed: ``url``, ``model``, and what is entered."""
    form = {"name": "laptop", "expiry": "30", "scopes:payments": "payments:read"}
    if request.param == TOKENS:
        return SimpleNamespace(url=TOKENS, model=PersonalAccessToken, form=form | {"reach": "all"})
    return SimpleNamespace(url=KEYS, model=ProjectKey, form=form)


def open_form(page, url):
    """What the form of minting carries to make one key only."""
    response = page.get(f"{url}new/")
    assert response.status_code == 200
    return {"once": re.search(r'name="once" value="([^"]+)"', response.content.decode())[1]}


def mint(page, place, **changes):
    return page.post(f"{place.url}new/", place.form | open_form(page, place.url) | changes)
