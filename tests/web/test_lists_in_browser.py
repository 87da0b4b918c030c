"""How the lists look and behave in a real Chromium: buttons stay in place and are large enough."""

import pytest

from tests.factories import mint_key, mint_pat
from tests.web.browsing import log_in
from tests.web.conftest import KEYS, TOKENS

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


@pytest.fixture(params=[1280, 375])
def width(request):
    return request.param


@pytest.mark.parametrize("script", [True, False], ids=["script", "no script"])
def test_opening_the_rejection_moves_no_button(open_page, live_server, engine, width, script):
    for name in ("server", "worker"):
        key = mint_key(engine, name=name).key
        type(key).objects.filter(pk=key.pk).update(is_pending=True)
    page = open_page(viewport={"width": width, "height": 900}, java_script_enabled=script)
    log_in(page)
    page.goto(f"{live_server.url}{TOKENS}approvals/")
    approve = page.get_by_role("button", name="Approve server", exact=True)
    summary = page.locator("summary").first
    before = approve.bounding_box(), summary.bounding_box()

    page.get_by_text("Reject… server").click()

    assert (approve.bounding_box(), summary.bounding_box()) == before
    reason = page.get_by_label("Reason").first
    row = page.locator(".ak-row").first.bounding_box()
    assert reason.bounding_box()["y"] > before[0]["y"] + before[0]["height"]
    assert reason.bounding_box()["x"] < row["x"] + row["width"] / 4
    page.get_by_text("Cancel server").click()
    assert not reason.is_visible()
    assert page.get_by_text("Reject… server").is_visible()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_names_have_the_colour_of_links(open_page, live_server, ada, engine, scheme):
    mint_pat(ada, name="laptop")
    mint_key(engine, name="server")
    page = open_page(color_scheme=scheme)
    log_in(page)
    for path in (TOKENS, f"{TOKENS}activity/", f"{TOKENS}projects/", KEYS):
        page.goto(live_server.url + path)
        of_link, of_name = page.evaluate(
            """() => {
                const probe = document.createElement("a");
                document.querySelector(".ak-main").append(probe);
                const name = document.querySelector(".ak-row h2 a, .ak-event p > a strong");
                return [probe, name].map((each) => each && getComputedStyle(each).color);
            }"""
        )
        assert of_name == of_link, path


def test_small_targets_are_large_enough_on_a_phone(open_page, live_server, ada):
    mint_pat(ada, name="laptop")
    page = open_page(viewport={"width": 375, "height": 800})
    log_in(page)
    places = {
        TOKENS: [".ak-actions a", ".ak-bulk button", ".ak-search summary"],
        f"{TOKENS}activity/": [".ak-event .ak-muted a"],
    }
    for path, selectors in places.items():
        page.goto(live_server.url + path)
        for selector in selectors:
            boxes = [each.bounding_box() for each in page.locator(selector).all()]
            assert boxes, selector
            assert min(box["height"] for box in boxes) >= 24, selector


def test_first_and_last_tinted_rows_follow_the_corners(open_page, live_server, ada, engine):
    for name in ("server", "worker"):
        key = mint_key(engine, name=name).key
        type(key).objects.filter(pk=key.pk).update(is_pending=True)
    page = open_page()
    log_in(page)
    page.goto(f"{live_server.url}{TOKENS}approvals/")
    corner = page.locator(".ak-box > .ak-bar").evaluate(
        "each => getComputedStyle(each).borderTopLeftRadius"
    )
    assert corner != "0px"
