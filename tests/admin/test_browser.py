"""The admin in a real Chromium, with Django's theme and with django-unfold.

Set ``ADMIN_SCREENSHOTS`` to a folder to save screenshots in each color scheme and width.
"""

import os
import re
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.apps import apps
from django.utils import timezone
from playwright.sync_api import expect

from apikeys import lifecycle, reach, usage
from apikeys.models import PersonalAccessToken, ProjectKey, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.admin.conftest import KEYS, TOKENS
from tests.documents import ROOT
from tests.factories import MembershipFactory, mint_key, mint_pat

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

EVENTS = "/admin/apikeys/auditevent/"
UNFOLD = apps.is_installed("unfold")
PICTURES = os.environ.get("ADMIN_SCREENSHOTS")
#: Every color scheme and every width once. The long tests also look at the other pairs.
SCREENS = pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 375),
        pytest.param("dark", 1280, marks=pytest.mark.long),
        pytest.param("light", 375, marks=pytest.mark.long),
    ],
)


@pytest.fixture
def open_page(chromium, live_server, client, root, ada):
    contexts = []

    def open_page(**options):
        context = chromium.new_context(base_url=live_server.url, locale="en", **options)
        context.set_default_timeout(60_000)
        contexts.append(context)
        cookie = {"name": "sessionid", "value": client.cookies["sessionid"].value}
        context.add_cookies([cookie | {"url": live_server.url}])
        return context.new_page()

    yield open_page
    for context in contexts:
        context.close()


def button(page, name, role="button"):
    """Return the button with this name. django-unfold puts buttons into a menu on small screens."""
    found = page.get_by_role(role, name=name, exact=True)
    if not found.is_visible() and (more := page.get_by_text("more_horiz")).is_visible():
        more.click()
    return found


def test_token_is_created_and_revoked(open_page):
    page = open_page(permissions=["clipboard-read", "clipboard-write"])

    page.goto(f"{TOKENS}add/")
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("payments:write").check()
    user = page.locator("select[name=user]")
    if user.count():  # an autocomplete field fetches the list of users
        page.locator(".field-user .select2-selection").click()
        page.locator(".select2-search__field").last.fill("ada")
        page.locator(".select2-results__option", has_text="ada").click()
    else:
        page.locator("[name=user]").fill(str(MembershipFactory._meta.model.objects.get().user_id))
    page.locator("[name=_save]").click()
    text = page.locator("#token").inner_text()

    assert verify(text).scope == "payments:write"
    assert verify(text).user.username == "ada"
    page.get_by_role("button", name="Copy").click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert page.evaluate("navigator.clipboard.readText()") == text

    page.get_by_role("link", name=re.compile("Continue to laptop")).click()
    expect(page.locator("body")).not_to_contain_text(text)
    button(page, "Revoke").click()
    expect(page.locator("#content-main")).to_contain_text("laptop")
    page.get_by_label("Reason").fill("The laptop was lost.")
    expect(page.locator("#content-main")).to_contain_text("last used: never")
    button(page, "Revoke").click()
    expect(page.locator("body")).to_contain_text("Revoked laptop (")

    with pytest.raises(Refused, match="revoked_key"):
        verify(text)


@pytest.mark.parametrize("url", [TOKENS, KEYS, EVENTS])
def test_all_columns_fit_beside_the_filters(open_page, engine, root, url):
    """With names of 100 characters, many scopes and long usernames."""
    ada = engine.memberships.get().user
    ada.username = "ada.of.the.subsidiary@research.example.com"
    ada.save()
    type(engine).objects.update(name="W" * 100)
    scopes = ["payments:read", "payments:write", "reports:read", "keys:read"]
    ends = timezone.now() + timedelta(days=300)
    for name in ("W" * 100, "Deployment of the production cluster " * 2 + "x" * 26):
        minted = mint_pat(ada, name=name, scopes=scopes, expires_at=ends)
        verify(minted.token)
        lifecycle.rotate(minted.key)
        mint_key(engine, name=name, scopes=scopes, by=ada, expires_at=ends)
    usage.flush()
    page = open_page(viewport={"width": 1280, "height": 800})
    page.goto(url)
    table = page.locator("#result_list")
    box, room = table.bounding_box(), table.locator("xpath=..").bounding_box()
    assert box["x"] + box["width"] <= room["x"] + room["width"]

    page.set_viewport_size({"width": 375, "height": 800})
    assert not page.evaluate("document.documentElement.scrollWidth > innerWidth")


def test_keys_are_approved_and_found(open_page):
    page = open_page()
    pending = mint_key(ProjectKey._meta.get_field("project").related_model.objects.get())
    ProjectKey.objects.update(is_pending=True)

    page.goto(KEYS)
    page.get_by_role("link", name="Find by whole key").click()
    page.locator("[name=key]").fill(pending.token)
    button(page, "Find").click()
    page.wait_for_url(f"**/{pending.key.pk}/change/")
    button(page, "Approve").click()
    button(page, "Approve").click()

    expect(page.locator("body")).to_contain_text(f"Approved {pending.key}.")
    assert ProjectKey.objects.get().state() == State.LIVE


def test_selected_keys_are_revoked_from_the_list(open_page):
    page = open_page()
    minted = [mint_pat(name=f"key {n}") for n in range(3)]

    page.goto(f"{TOKENS}?q=key")
    for each in minted[:2]:
        row = page.get_by_role("row", name=re.compile(each.key.public_id))
        row.locator(".action-select").check()
    page.locator("select[name=action]").select_option("revoke_selected")
    page.locator("button[name=index]").click()
    page.get_by_label("Reason").fill("Not needed.")
    button(page, "Revoke").click()

    expect(page.locator("body")).to_contain_text("Revoked 2 keys.")
    expect(page.locator("#searchbar")).to_have_value("key")
    states = [each.key.state() for each in minted if each.key.refresh_from_db() is None]
    assert states == [State.REVOKED, State.REVOKED, State.LIVE]


@pytest.fixture
def life(engine):
    """Keys in different states, with restrictions and usage."""
    ada = engine.memberships.get().user
    soon = timezone.now() + timedelta(days=20)
    laptop = mint_pat(
        ada, name="laptop", scopes=["payments:write", "reports:read"], expires_at=soon,
        allowed_networks=["203.0.113.0/24", "2001:db8::/32"], rate_limits=["1000/hour"],
        description="W" * 500,
    )  # fmt: skip
    for n in range(12):
        mint_pat(ada, name=f"script {n} of many that do a little of everything", expires_at=soon)
    verify(mint_pat(ada, name="notebook").token)
    usage.flush()
    lifecycle.revoke(mint_pat(ada, name="lost").key, reason="The laptop was lost.")
    pending = mint_key(engine, name="server")
    ProjectKey.objects.update(is_pending=True)
    successor = lifecycle.rotate(laptop.key)
    return successor.key, pending.key


def looker(page, names):
    """Return a list of faults, and a function that adds the faults of the current page."""
    wrong = []

    def look(name):
        page.wait_for_load_state()
        if PICTURES:
            theme = "unfold" if UNFOLD else "plain"
            path = Path(PICTURES) / f"{theme}-{names}-{name}.png"
            page.screenshot(path=path, full_page=True)
        if page.evaluate("document.documentElement.scrollWidth > innerWidth"):
            wrong.append(f"{name}: wider than the window")
        rules = {"runOnly": ["color-contrast", "label", "button-name", "link-name"]}
        found = Axe().run(page, context="main, #content", options=rules)
        wrong.extend(
            f"{name}: {v['id']} {node['html'][:200]}"
            for v in found.response["violations"]
            for node in v["nodes"]
            if "select2-search__field" not in node["html"]  # Django's
        )

    return wrong, look


@SCREENS
def test_pages_are_accessible_and_fit_the_screen(open_page, life, width, scheme):
    """Nothing overflows, the contrast is sufficient, and every control has a name."""
    token, pending = life
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    change = f"{TOKENS}{token.pk}/change/"
    wrong, look = looker(page, f"{scheme}-{width}")

    page.goto(TOKENS)
    look("list")
    page.goto(change)
    look("key")
    page.goto(f"{KEYS}{pending.pk}/change/")
    look("pending")
    button(page, "Approve").click()
    look("approve")
    page.goto(change)
    button(page, "Revoke").click()
    look("revoke")
    button(page, "Revoke").click()  # without the reason
    look("revoke-error")
    page.goto(f"{TOKENS}find/")
    look("find")
    page.goto(f"{KEYS}add/")
    look("mint")
    page.locator("[name=_save]").click()
    look("mint-error")
    page.goto(f"{TOKENS}add/?user={PersonalAccessToken.objects.first().user_id}")
    page.get_by_label("Name").fill("printed")
    page.get_by_label("payments:read").check()
    page.locator("[name=_save]").click()
    look("secret")

    assert wrong == []


@SCREENS
def test_pages_about_access_fit_the_screen(open_page, engine, root, width, scheme):
    """They have no entries, three, and 300, with the longest names and reasons."""
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    wrong, look = looker(page, f"{scheme}-{width}")
    projects = f"{TOKENS}access/"
    url = f"{projects}{engine.pk}/"
    page.goto(projects)
    look("access-projects")
    page.goto(url)
    look("access-0")

    ada = engine.memberships.get().user
    token = mint_pat(ada, name="laptop", scopes=["payments:write", "reports:read"]).key
    mint_pat(ada, name="W" * 100)
    key = mint_key(engine, name="server").key
    reach.deny(engine, reach.find(engine, token.public_id), by=root, reason="Unknown laptop. " * 12)
    reach.require_approval(engine, True)
    page.goto(url)
    look("access-3")
    page.goto(f"{KEYS}{key.pk}/change/")
    look("access-key")
    button(page, "Access to this project", "link").click()
    page.get_by_role("row", name=re.compile("server")).get_by_role("link", name="Deny").click()
    page.wait_for_url(f"**/{key.public_id}/deny/")
    look("access-deny")
    page.get_by_label("Reason").fill("Leaked?")
    button(page, "Deny").click()
    expect(page.locator("body")).to_contain_text("Denied “server” in this project.")
    page.get_by_role("row", name=re.compile("server")).get_by_role("link", name="Allow").click()
    button(page, "Allow").click()
    expect(page.locator("body")).to_contain_text("Allowed “server” in this project.")
    assert ProjectKey.objects.get().state() == State.LIVE

    PersonalAccessToken.objects.bulk_create(
        PersonalAccessToken(
            user=ada, name=f"script {n:03}", public_id=f"{n:016}", scope="payments:read",
            all_projects=True,
        )
        for n in range(297)
    )  # fmt: skip
    page.goto(f"{url}?kind=personal_access_token&sort=name")
    look("access-300")
    page.get_by_role("link", name="Next").click()
    page.wait_for_url("**page=2")
    look("access-300-next")
    page.goto("/admin/apikeys/")
    look("access-index")
    page.goto(f"{TOKENS}inventory/")
    look("access-inventory")

    assert wrong == []


#: Each page once: Django's theme has every test.
IN_CI = "created_and_revoked or (accessible and dark-375)"


@pytest.mark.skipif(UNFOLD, reason="this process already runs with django-unfold")
@pytest.mark.parametrize(
    "chosen", [["-k", IN_CI], pytest.param([], marks=pytest.mark.long)], ids=["each page", "all"]
)
def test_admin_works_with_unfold(chosen):
    """With django-unfold for its theme. Only the long tests run every test of this module."""
    options = ["-q", "-n0", "--ds=tests.admin.unfold_settings", *chosen]
    done = subprocess.run(
        [sys.executable, "-m", "pytest", *options, __file__],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TEST_SQLITE"))}
        | {"TEST_SQLITE_FILE": "apikeys-test-unfold.sqlite3", "TEST_DATABASE": "sqlite"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
