"""Every page with the keyboard alone, without JavaScript, and with no rows and many."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from tests.factories import MembershipFactory
from tests.web.browsing import PAGES, faults_of, log_in, unreached

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

#: Lists that stay short enough to scroll through on a phone.
LISTS = {"", "activity/", "projects/", "projects/analytical-engine/"}


def test_tab_reaches_every_control_and_shows_where_it_is(open_page, some_keys):
    page = open_page(viewport={"width": 1280, "height": 800})
    log_in(page)
    found = {}
    for path in PAGES:
        page.goto("/settings/keys/" + path.format(**some_keys))
        if faults := unreached(page):
            found[path] = faults
    assert found == {}


def test_every_page_works_without_javascript(open_page, some_keys):
    """No page shows a button that only a script would answer."""
    page = open_page(java_script_enabled=False)
    log_in(page)
    for path in PAGES:
        response = page.goto("/settings/keys/" + path.format(**some_keys))
        # Who may only see the keys of a project is told so.
        assert response.status == (403 if path == "projects/difference-engine/new/" else 200), path
        assert page.locator('button[type="button"]:visible').count() == 0, path


def test_every_task_can_be_done_without_javascript(open_page, some_keys, ada):
    page = open_page(java_script_enabled=False)
    log_in(page)
    main = page.get_by_role("main")

    # Find a token, and narrow it
    page.get_by_text("Filter and sort").click()
    page.get_by_label("Sort by").select_option("expires")
    page.get_by_role("button", name="Apply").click()
    page.get_by_placeholder("Name, description or ID").fill("laptop")
    page.get_by_role("button", name="Search").click()
    page.get_by_role("link", name="Edit laptop").first.click()
    page.get_by_label("Name").fill("desk")
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Changes to “desk” apply")

    # Read what happened to it
    page.get_by_role("link", name="What happened to this token").click()
    expect(main).to_contain_text("Renamed from laptop to desk")
    page.get_by_text("Filter", exact=True).click()
    page.get_by_label("Event").select_option("edited")
    page.get_by_role("button", name="Apply").click()
    expect(main.get_by_role("listitem")).to_have_count(1)

    # Replace a revoked token
    page.goto("/settings/keys/?state=ended")
    page.get_by_role("link", name="Create a replacement gone").click()
    expect(page.get_by_label("Name")).to_have_value("gone")
    page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Create token").click()
    field = page.get_by_label("Personal access token", exact=True)
    assert field.input_value().startswith("acme_pat_")

    # Approve a key, and reject another
    page.goto("/settings/keys/approvals/")
    page.get_by_role("button", name="Approve server").click()
    expect(page.get_by_role("status")).to_contain_text("Approved “server”. It works now.")
    ProjectKey.objects.update(is_pending=True)
    page.goto("/settings/keys/approvals/")
    page.get_by_text("Reject…").first.click()
    page.get_by_label("Reason").fill("Too much.")
    page.get_by_role("button", name="Reject server").click()
    expect(page.get_by_role("status")).to_contain_text("Rejected “server”.")
    assert ProjectKey.objects.get().revoked_reason == "Too much."


def many(ada, engine, number):
    """Tokens and keys in every state, and more projects, approvals and events."""
    soon = timezone.now() + timedelta(days=3)
    for n in range(number):
        name = f"nightly job {n} of the department" if n % 2 else f"job {n}"
        told = {"name": name, "scopes": ["payments:read", "reports:read"], "by": ada}
        expires_at = soon if n < 9 else soon + timedelta(days=n)
        token = lifecycle.mint(user=ada, expires_at=expires_at, **told).key
        key = lifecycle.mint(project=engine, **told).key
        if n % 3 == 0:
            lifecycle.edit(token, by=ada, name=f"renamed {name}", scopes=["payments:write"])
        if n % 5 == 0:
            lifecycle.revoke(key, by=ada, reason="The server was shut down.")
        if n % 4 == 0:
            type(key).objects.filter(pk=key.pk).update(is_pending=True)
        MembershipFactory(user=ada, project__name=f"Project {n}", role="developer")


@pytest.mark.long
@pytest.mark.parametrize("rows", [0, 300])
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_with_no_rows_and_with_many(open_page, ada, engine, scheme, width, rows):
    """axe-core finds nothing, and no list is wider than the screen or longer than 3,000 px."""
    many(ada, engine, rows)
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    log_in(page)
    found = {}
    for path in (
        *(path for path in PAGES if "{" not in path),
        "projects/analytical-engine/activity/",
    ):
        page.goto("/settings/keys/" + path)
        faults = faults_of(page, width)
        height = page.evaluate("document.documentElement.scrollHeight")
        if height > 3000 and path in LISTS:
            faults.append(f"{height} px high")
        if faults:
            found[path] = faults
    assert found == {}
    assert PersonalAccessToken.objects.count() == rows
