"""What the tests in a real browser share: the pages, the login and what a page must not do."""

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from tests.factories import PASSWORD

PAGES = [
    "",
    "?state=ended",
    "?q=nowhere&used=never&sort=name",
    "activity/?event=edited",
    "new/?name=CI&scope=payments:read&scope=nonsense",
    "activity/",
    "projects/",
    "projects/analytical-engine/",
    "projects/analytical-engine/{key}/",
    "projects/analytical-engine/new/",
    "projects/difference-engine/new/",
    "approvals/",
    "confirm/",
    "new/",
    "{old}/",
    "{new}/edit/",
    "{new}/rotate/",
    "{new}/revoke/",
]


def log_in(page, url="/settings/keys/"):
    page.goto(url)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("main").get_by_role("button", name="Log in").click()
    expect(page.get_by_role("button", name="Log out")).to_be_visible()
    page.wait_for_load_state()


def faults_of(page, width):
    """Return the violations that axe-core finds, and whether the page is wider than the screen."""
    faults = [
        (each["id"], [node["html"] for node in each["nodes"]])
        for each in Axe().run(page).response["violations"]
    ]
    if page.evaluate("document.documentElement.scrollWidth") > width:
        faults.append("wider than the screen")
    return faults
