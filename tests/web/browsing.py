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
    "unused/",
    "approvals/",
    "confirm/",
    "new/",
    "{old}/",
    "{new}/edit/",
    "{new}/rotate/",
    "{new}/pause/",
    "{new}/revoke/",
    "{paused}/",
    "{paused}/resume/",
    "?state=paused",
]

#: Notes the visible controls, and which of them get the focus without a visible mark of it.
_WATCH = """() => {
  const controls = [...document.querySelectorAll(
    'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"]'
  )].filter((each) => !each.disabled && each.tabIndex >= 0 && each.checkVisibility()
    && each.getClientRects().length);
  const group = (each) => (each.type === 'radio' ? each.name : each); // Tab stops once in a group
  window.unreached = new Map(controls.map((each) => [group(each), each]));
  window.unmarked = [];
  document.addEventListener('focusin', ({ target }) => {
    window.unreached.delete(group(target));
    const { outlineStyle, outlineWidth } = getComputedStyle(target);
    const isMarked = outlineStyle !== 'none' && parseFloat(outlineWidth) > 0;
    if (!isMarked || !target.getClientRects().length) window.unmarked.push(target);
  });
  return controls.length;
}"""
_FOUND = """() => [...window.unreached.values(), ...window.unmarked]
  .map((each) => each.outerHTML.slice(0, 120))"""


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


def unreached(page):
    """Press Tab through the page. Return what it does not reach, or reaches without a mark."""
    page.evaluate("document.activeElement.blur()")
    number = page.evaluate(_WATCH)
    assert number > 3, page.url
    # A date has a stop for each of its parts.
    for _ in range(number + 10):
        page.keyboard.press("Tab")
    return page.evaluate(_FOUND)
