"""The site is built without a warning, and its links lead somewhere."""

import re
import subprocess
import sys
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

import pytest

from apikeys.conf.setting import all_names
from apikeys.refusals import REFUSALS
from tests.docs import system_checks
from tests.documents import DOCUMENTS, ROOT, headings, links
from tests.prepared import shared

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    def build(out):
        built = subprocess.run(
            [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "docs", str(out)],
            cwd=ROOT,
            capture_output=True,
            text=True,
        )
        assert built.returncode == 0, built.stderr

    return shared(tmp_path_factory, "documentation", build)


class Page(HTMLParser):
    """The targets of a page's links, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        told = dict(attributes)
        self.anchors |= {told[name] for name in ("id", "name") if told.get(name)}
        if tag == "a" and told.get("href"):
            self.links.append(told["href"])
        loaded = told.get("src") or (tag == "link" and told.get("href"))
        if loaded:
            self.loads.append(loaded)


@pytest.fixture(scope="module")
def pages(site):
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_every_link_of_the_site_leads_somewhere(pages):
    for path, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), (path, link)
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, (path, link)


def test_the_site_loads_nothing_from_elsewhere(pages):
    for page in pages.values():
        assert not [url for url in page.loads if urlsplit(url).netloc]


def test_every_page_is_in_the_navigation_once(site, pages):
    sidebar = re.search(
        r'<div class="sidebar-tree">.*?</div>', (site / "index.html").read_text("utf-8"), re.DOTALL
    )
    listed = [link.partition("#")[0] for link in Page(sidebar[0]).links]
    sources = {str(path.relative_to(site)) for path in pages} - {"search.html", "genindex.html"}
    assert sorted(listed) == sorted(sources - {"index.html"})


def test_each_setting_refusal_and_check_has_an_anchor(site, pages):
    ids = {each.id for each in [*system_checks.of_settings(), *system_checks.in_code()]}
    wanted = {
        "settings": {"apikeys_project_model", *map(str.lower, all_names())},
        "refusals": set(REFUSALS),
        "checks": {each.partition(".")[2].lower() for each in ids},
    }
    for name, anchors in wanted.items():
        assert anchors <= pages[site / f"reference/{name}.html"].anchors


def test_the_changelog_links_names_to_the_pages_that_explain_them(pages, site):
    linked = pages[site / "changelog.html"].links

    for target in (
        "reference/settings.html#consent_sudo",
        "reference/refusals.html#not_yet_valid",
        "reference/checks.html#w081",
        "reference/commands.html#apikeys-health",
    ):
        assert target in linked
    assert len([each for each in linked if each.startswith("reference/")]) > 40


def test_the_sidebar_has_four_groups(site):
    captions = re.findall(
        r'<p class="caption"[^>]*><span class="caption-text">(.*?)</span>',
        (site / "index.html").read_text("utf-8"),
    )
    assert captions == ["Tutorial", "How-to guides", "Explanation", "Reference"]


#: What is wider than the screen, or wider than the box that scrolls it.
TOO_WIDE = """() => [
    ...(document.documentElement.scrollWidth > innerWidth ? ["the page"] : []),
    ...[...document.querySelectorAll("article table")]
        .filter(table => table.getBoundingClientRect().right > innerWidth)
        .map(table => table.innerText.slice(0, 60)),
]"""


@pytest.mark.browser
def test_no_page_and_no_table_is_wider_than_a_phone(chromium, pages):
    context = chromium.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    wide = {}
    for path in pages:
        page.goto(path.as_uri())
        if found := page.evaluate(TOO_WIDE):
            wide[path.name] = found
    context.close()
    assert wide == {}


@pytest.mark.browser
def test_a_row_on_a_phone_names_its_columns(chromium, site):
    context = chromium.new_context(viewport={"width": 375, "height": 800})
    page = context.new_page()
    page.goto((site / "reference/refusals.html").as_uri())
    cell = page.locator("td", has_text=re.compile("^400$")).first
    label = cell.evaluate("cell => getComputedStyle(cell, '::before').content")
    assert label == '"status: "'
    assert cell.get_attribute("role") == "cell"
    context.close()


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_of_the_source_lead_somewhere(document):
    """On a forge the Markdown is read as it is."""
    here = (ROOT / document).parent
    for target in links(document):
        parts = urlsplit(target)
        if parts.scheme:
            assert re.fullmatch(r"https?|mailto", parts.scheme)
            assert parts.scheme == "mailto" or re.fullmatch(r"[\w.-]+(:\d+)?", parts.netloc), target
            continue
        linked = here / parts.path if parts.path else ROOT / document
        assert linked.exists(), target
        if parts.fragment:
            assert parts.fragment in headings(linked), target


def test_every_picture_is_shown():
    shown = {
        ((ROOT / document).parent / target).resolve()
        for document in DOCUMENTS
        for target in links(document)
        if not urlsplit(target).scheme
    }
    for picture in (ROOT / "docs").rglob("*"):
        if picture.suffix in {".png", ".svg"} and "_build" not in picture.parts:
            assert picture in shown, picture
