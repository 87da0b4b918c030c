"""The admin in a real Chromium: Django's own, and django-unfold's.

``ADMIN_SCREENSHOTS`` names a folder for pictures of the pages, light and dark, narrow and wide.
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

from apikeys import lifecycle, usage
from apikeys.models import PersonalAccessToken, ProjectKey, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.admin.conftest import KEYS, TOKENS
from tests.documents import ROOT
from tests.factories import MembershipFactory, mint_key, mint_pat

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

UNFOLD = apps.is_installed("unfold")
PICTURES = os.environ.get("ADMIN_SCREENSHOTS")
WIDTHS = [375, 1280]


@pytest.fixture
def engine(root):
    ada = MembershipFactory(
        user__username="ada", project__slug="engine", project__name="Analytical Engine"
    )
    return ada.project


@pytest.fixture
def open_page(chromium, live_server, client, engine):
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


def button(page, name):
    """The button of this name; django-unfold folds those of a page away on a narrow one."""
    found = page.get_by_role("button", name=name, exact=True)
    if not found.is_visible() and (more := page.get_by_text("more_horiz")).is_visible():
        more.click()
    return found


def test_a_token_is_minted_and_revoked(open_page):
    page = open_page()

    page.goto(f"{TOKENS}add/")
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("payments:write").check()
    user = page.locator("select[name=user]")
    if user.count():  # an autocomplete: its list is one of users that it asks for
        page.locator(".field-user .select2-selection").click()
        page.locator(".select2-search__field").last.fill("ada")
        page.locator(".select2-results__option", has_text="ada").click()
    else:
        page.locator("[name=user]").fill(str(MembershipFactory._meta.model.objects.get().user_id))
    page.locator("[name=_save]").click()
    text = page.locator("#token").inner_text()

    assert verify(text).scope == "payments:write"
    assert verify(text).user.username == "ada"

    page.get_by_role("link", name=re.compile("Go on to laptop")).click()
    expect(page.locator("body")).not_to_contain_text(text)
    button(page, "Revoke").click()
    expect(page.locator("#content-main")).to_contain_text("laptop")
    page.get_by_label("Reason").fill("The laptop was lost.")
    button(page, "Revoke").click()
    expect(page.locator("body")).to_contain_text("Done, for 1 key.")

    with pytest.raises(Refused, match="revoked_key"):
        verify(text)


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

    expect(page.locator("body")).to_contain_text("Done, for 1 key.")
    assert ProjectKey.objects.get().state() == State.LIVE


def test_selected_keys_are_revoked_from_the_list(open_page):
    page = open_page()
    minted = [mint_pat(name=f"key {n}") for n in range(3)]

    page.goto(TOKENS)
    for each in minted[:2]:
        row = page.get_by_role("row", name=re.compile(each.key.public_id))
        row.locator(".action-select").check()
    page.locator("select[name=action]").select_option("revoke_selected")
    page.locator("button[name=index]").click()
    page.get_by_label("Reason").fill("Not needed.")
    button(page, "Revoke").click()

    expect(page.locator("body")).to_contain_text("Done, for 2 keys.")
    states = [each.key.state() for each in minted if each.key.refresh_from_db() is None]
    assert states == [State.REVOKED, State.REVOKED, State.LIVE]


@pytest.fixture
def life(engine):
    """Keys that have something to show."""
    ada = engine.memberships.get().user
    soon = timezone.now() + timedelta(days=20)
    laptop = mint_pat(
        ada, name="laptop", scopes=["payments:write", "reports:read"], expires_at=soon,
        allowed_networks=["203.0.113.0/24", "2001:db8::/32"], rate_limits=["1000/hour"],
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


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", WIDTHS)
def test_the_pages_look_right(open_page, life, width, scheme):
    """Nothing sticks out, all can be read, and every control has a name."""
    token, pending = life
    page = open_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    change = f"{TOKENS}{token.pk}/change/"
    wrong = []

    def look(name):
        page.wait_for_load_state()
        if PICTURES:
            theme = "unfold" if UNFOLD else "plain"
            path = Path(PICTURES) / f"{theme}-{scheme}-{width}-{name}.png"
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


@pytest.mark.skipif(UNFOLD, reason="this is it")
def test_all_of_that_under_unfold():
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-n0", "--ds=tests.admin.unfold_settings", __file__],
        cwd=ROOT,
        env={k: v for k, v in os.environ.items() if not k.startswith(("PYTEST_", "TEST_SQLITE"))}
        | {"TEST_SQLITE_FILE": "apikeys-test-unfold.sqlite3", "TEST_DATABASE": "sqlite"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout
