"""What the explanations claim is so: their code runs, and their pictures can be read by all."""

from types import SimpleNamespace
from xml.etree import ElementTree

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, set_token_value

from apikeys import lifecycle
from apikeys.access import Access
from apikeys.grants import for_project
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.documents import ROOT, blocks, read, table

PAGES = sorted(
    f"docs/explanation/{path.name}"
    for path in (ROOT / "docs/explanation").glob("*.md")
    if path.name != "performance.md"
)
PICTURES = sorted(path for path in (ROOT / "docs/images").glob("*.svg") if path.stem != "header")
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture
def oauth_token(ada):
    row = AccessToken(user=ada, scope="payments:read", expires=timezone.now().replace(year=2100))
    set_token_value(row, "a-token-of-ada")
    row.save()
    return "a-token-of-ada"


@pytest.mark.parametrize("page", PAGES)
def test_its_code_runs(page, ada, engine, client, settings, oauth_token):
    scope = {
        "ada": ada,
        "client": client,
        "engine": engine,
        "oauth_token": oauth_token,
        "settings": settings,
    }
    code = blocks(page, "python")
    assert code
    for block in code:
        exec(compile(block, page, "exec"), scope)


@pytest.mark.parametrize("page", [each for each in PAGES if not each.endswith("architecture.md")])
def test_it_answers_before_it_explains(page):
    text = read(page)
    title, answer, *_ = text.split("\n\n")

    assert title.startswith("# ")
    assert title.endswith("?")
    assert not answer.startswith(("#", "!", "|"))
    assert "## When the answer differs" in text
    assert text.count("](../images/") == 1


@pytest.mark.parametrize("picture", PICTURES, ids=lambda path: path.stem)
def test_a_picture_can_be_read_by_all(picture):
    root = ElementTree.parse(picture).getroot()

    assert root.get("role") == "img"
    named = {root.find(f"{SVG}title").get("id"), root.find(f"{SVG}desc").get("id")}
    assert set(root.get("aria-labelledby").split()) == named
    assert len(root.findtext(f"{SVG}desc")) > len(root.findtext(f"{SVG}title")) > 0
    assert "prefers-color-scheme: dark" in root.findtext(f"{SVG}style")


def states(engine, on_the_pages, with_the_token, token):
    """What each of the three credentials is now, in the words of the table."""

    def say(minted):
        if not type(minted.key).objects.filter(pk=minted.key.pk).exists():
            return "deleted"
        try:
            access = verify(minted.token)
        except Refused:
            return "refused"
        reached = access.allows("payments:read", project=engine) if engine.pk else False
        return "works" if reached else "loses the project"

    return [say(token), say(on_the_pages), say(with_the_token)]


def leave(it):
    it.ada.project_memberships.all().delete()


def deactivate(it):
    it.ada.is_active = False
    it.ada.save()


def delete(it):
    it.ada.delete()


def revoke(it):
    lifecycle.revoke(it.token.key)


def deactivate_project(it):
    it.engine.is_active = False
    it.engine.save()


def delete_project(it):
    it.engine.delete()


@pytest.mark.parametrize(
    ("what", "happens"),
    [
        ("the user is demoted, or leaves the project", leave),
        ("the account is deactivated", deactivate),
        ("the account is deleted", delete),
        ("the token is revoked", revoke),
        ("the project is deactivated", deactivate_project),
        ("the project is deleted", delete_project),
    ],
)
def test_what_becomes_of_a_key(what, happens, ada, engine):
    asked = {"name": "server", "scopes": ["payments:read"]}
    token = lifecycle.mint(user=ada, **asked)
    access = verify(token.token)
    assert isinstance(access, Access)
    on_the_pages = lifecycle.mint(project=engine, by=ada, **asked)
    within = for_project(engine, user=ada, using=access)
    with_the_token = lifecycle.mint(project=engine, by=ada, within=within, **asked)

    happens(SimpleNamespace(ada=ada, engine=engine, token=token))

    rows = table("docs/explanation/owner-of-a-key.md", "what happens")
    (told,) = [cells for name, *cells in rows if name == what]
    now = states(engine, on_the_pages, with_the_token, token)
    for said, seen in zip(told, now, strict=True):
        if said == "fewer rights there, or none":
            said = "loses the project"
        assert said.partition(",")[0] == seen
