"""The pictures of the documentation are taken of the real pages, while their tests run.

`UPDATE_DOCS=1` puts them into docs/images; otherwise they are taken, and nothing is kept.
"""

from tests.documents import ROOT

from .reader import UPDATE

IMAGES = ROOT / "docs" / "images"


def take(page, name: str, *, whole: bool = False) -> None:
    """A picture of what the page shows: one that is there already, and not blank."""
    path = IMAGES / f"{name}.png"
    page.evaluate("document.activeElement.blur()")
    taken = page.screenshot(animations="disabled", full_page=whole, path=path if UPDATE else None)
    assert path.is_file(), f"{path.name} was never taken: run this with UPDATE_DOCS=1."
    assert len(taken) > 2_000


def browse(chromium, reader, url: str):
    """The page at ``url`` of what the reader serves, for ada, who has just logged in."""
    reader.start()
    context = chromium.new_context(
        base_url=f"http://127.0.0.1:{reader.ports['8000']}",
        locale="en",
        viewport={"width": 1000, "height": 520},
    )
    context.set_default_timeout(60_000)
    page = context.new_page()
    page.goto(url)
    page.get_by_label("Username").fill("ada")
    page.get_by_label("Password").fill("analytical")
    page.get_by_role("button", name="Log in").click()
    page.wait_for_load_state()
    return page
