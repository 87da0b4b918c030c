"""A real browser that calls the gateway from a page of another origin, through a real nginx."""

import pytest

from tests.gateway.attacks import OWN
from tests.gateway.servers import BlackBox, Nginx, Site

pytestmark = [pytest.mark.process, pytest.mark.browser]

OFFERS = "/subscribers/{subscriber_id}/offers"

#: Calls the gateway, and returns what the page can read.
FETCH = """async ([url, method, token]) => {
    const headers = token ? {Authorization: `Bearer ${token}`, "X-Till": "7"} : {};
    try {
        const response = await fetch(url, {method, headers});
        const body = await response.text();
        return [response.status, body, response.headers.get("WWW-Authenticate")];
    } catch (error) {
        return ["blocked", error.name, null];
    }
}"""


@pytest.fixture(scope="module")
def pages():
    """Two servers of pages. The routes list the origin of the first."""
    with BlackBox(b"<!doctype html>") as ours, BlackBox(b"<!doctype html>") as others:
        for each in (ours, others):
            each.status = "200 OK\r\nContent-Type: text/html"
        yield [f"http://127.0.0.1:{each.port}" for each in (ours, others)]


@pytest.fixture(scope="module")
def front(django_db_setup, django_db_blocker, blackbox, pages, tmp_path_factory):
    listed = {"scopes": ["payments:read"], "cors": [pages[0]]}
    routes = [
        {"method": "GET PUT", "path": OFFERS, **listed},
        {"method": "DELETE", "path": OFFERS, "scopes": ["payments:write"], "cors": [pages[0]]},
        {"method": "GET", "path": "/subscribers/{subscriber_id}/closed", **listed, "cors": []},
    ]
    with (
        Site(GATEWAY_ROUTES=routes) as site,
        Nginx(tmp_path_factory.mktemp("nginx"), site.port, blackbox.port) as nginx,
    ):
        yield nginx.port


@pytest.fixture
def fetch(chromium, front, pages, blackbox, minted):
    """Return a function that lets a page call the gateway; it returns what the page reads."""
    context = chromium.new_context()
    page = context.new_page()

    def fetch(target=OWN, method="GET", token=minted.token, origin=pages[0]):
        page.goto(f"{origin}/")
        blackbox.seen.clear()
        return page.evaluate(FETCH, [f"http://127.0.0.1:{front}{target}", method, token])

    yield fetch
    context.close()


@pytest.mark.parametrize("method", ["GET", "PUT"])
def test_a_page_of_a_listed_origin_reads_the_response(fetch, blackbox, method):
    assert fetch(method=method) == [200, "offers", None]
    # The preflight never reached the upstream.
    assert [seen.method for seen in blackbox.seen] == [method]


@pytest.mark.parametrize(
    ("options", "status", "code"),
    [
        ({"token": None}, 401, "not_authenticated"),
        ({"token": "acme_pat_no"}, 401, "malformed_key"),
        ({"token": "two words"}, 400, "invalid_request"),
        ({"method": "DELETE"}, 403, "insufficient_scope"),
        ({"target": "/subscribers/1002/offers"}, 403, "not_bound"),
    ],
)
def test_a_page_of_a_listed_origin_reads_why_it_was_refused(fetch, blackbox, options, status, code):
    answer, body, challenge = fetch(**options)
    assert (answer, code in body) == (status, True)
    assert challenge.startswith("Bearer ") is True
    assert blackbox.seen == []


@pytest.mark.parametrize(
    ("which", "options"),
    [
        (1, {}),
        (1, {"method": "PUT"}),
        (0, {"target": "/subscribers/1001/closed"}),
        (0, {"method": "PATCH"}),
    ],
)
def test_the_browser_sends_nothing_for_a_page_that_no_route_lists(
    fetch, blackbox, pages, which, options
):
    assert fetch(origin=pages[which], **options)[0] == "blocked"
    assert blackbox.seen == []
