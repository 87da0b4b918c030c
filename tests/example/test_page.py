"""The page at `/` in a real Chromium."""

import re
import time
from urllib.parse import urlsplit

import pytest

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def short_lived(start):
    """A demo whose access tokens live for three seconds."""
    with start(seconds=3) as served:
        yield served


class Page:
    """A tab, and all that went over its wire."""

    def __init__(self, context, base_url):
        self.base_url = base_url
        self.tab = context.new_page()
        self.tab.set_default_timeout(60_000)
        self.complaints = []
        self.requests = []
        self.refused = []
        self.tab.on("console", self._console)
        self.tab.on("pageerror", lambda error: self.complaints.append(str(error)))
        self.tab.on("request", lambda request: self.requests.append(request))
        self.tab.on("response", self._response)

    def _console(self, message):
        # Chromium itself tells of each 4xx; whether one is expected is the test's to say.
        if message.type in {"error", "warning"} and "Failed to load resource" not in message.text:
            self.complaints.append(message.text)

    def _response(self, response):
        if response.status >= 400:
            self.refused.append(response)

    def open(self):
        self.tab.goto(self.base_url)
        return self

    def log_in(self, username, password="demo-password"):
        self.tab.get_by_label("Username").fill(username)
        self.tab.get_by_label("Password").fill(password)
        self.tab.get_by_role("button", name="Log in").click()

    def numbers(self):
        """Of the payments shown, once they are."""
        self.tab.get_by_role("cell").first.wait_for()
        return [int(text) for text in self.tab.locator("td.no").all_text_contents()]

    def grants(self):
        forms = [r.post_data or "" for r in self.requests if r.url.endswith("/o/token/")]
        return [re.search(r"grant_type=(\w+)", form)[1] for form in forms]

    def sent(self, path):
        return [r for r in self.requests if urlsplit(r.url).path == path]


@pytest.fixture
def open_page(chromium):
    opened = []

    def open_page(served):
        context = chromium.new_context()
        page = Page(context, served.base_url)
        opened.append((context, page))
        return page.open()

    yield open_page
    for context, page in opened:
        context.close()
        assert page.complaints == []
        for request in page.requests:
            assert urlsplit(request.url).query == ""  # nothing secret, as nothing at all
            assert urlsplit(request.url).netloc == urlsplit(page.base_url).netloc


@pytest.fixture
def page(served, open_page):
    return open_page(served)


def expect(locator):
    from playwright.sync_api import expect

    return expect(locator)


def still_good(served, page):
    """Whether the tokens that the page had are."""
    header = page.sent("/api/payments/")[-1].headers["authorization"]
    answer = page.tab.context.request.get(
        f"{served.base_url}/api/token/", headers={"Authorization": header}
    )
    return answer.status == 200


def until_no_longer_good(served, page):
    patience = time.monotonic() + 30
    while still_good(served, page):
        assert time.monotonic() < patience


def test_a_user_logs_in_and_sees_the_payments_of_her_project(page):
    page.log_in("ada")

    assert page.numbers() == [3, 2, 1]
    expect(page.tab.get_by_role("row").filter(has_text="Brass gear wheels")).to_contain_text(
        "Analytical Engine"
    )
    expect(page.tab.get_by_role("row").filter(has_text="Brass gear wheels")).to_contain_text(
        "€1,200.00"
    )
    expect(page.tab.get_by_text("Logged in as ada")).to_be_visible()
    assert page.grants() == ["password"]
    assert page.refused == []
    (request,) = page.sent("/api/payments/")
    assert request.headers["authorization"].startswith("Bearer ")
    assert "cookie" not in request.headers


def test_tokens_are_nowhere_but_in_memory(page):
    page.log_in("ada")
    page.numbers()

    assert page.tab.evaluate("sessionStorage.length + localStorage.length") == 0
    # The other pages of the site have a session, whose cookie no script can read.
    cookies = {each["name"]: each["httpOnly"] for each in page.tab.context.cookies()}
    assert cookies == {"sessionid": True, "csrftoken": False}
    assert page.tab.url == page.base_url + "/"


def test_one_login_opens_all_pages(served, page):
    page.log_in("ada")
    page.numbers()
    for name in ("Tokens", "Project keys", "Applications"):
        page.tab.goto(served.base_url)
        page.tab.get_by_role("navigation").get_by_role("link", name=name, exact=True).click()
        expect(page.tab.get_by_role("heading", level=1)).to_be_visible()
        expect(page.tab.get_by_label("Password")).to_have_count(0)

    page.tab.goto(served.base_url)
    expect(page.tab.get_by_label("Username")).to_have_value("ada")
    page.tab.get_by_role("button", name="Log out").click()
    expect(page.tab.get_by_role("button", name="Log out")).to_be_hidden()
    answer = page.tab.context.request.get(f"{served.base_url}/settings/keys/", max_redirects=0)
    assert answer.headers["location"].startswith("/login/")


def test_api_docs_call_the_api_with_a_token(served, chromium):
    """Swagger UI is from this server, and violates no policy."""
    context = chromium.new_context()
    tab = context.new_page()
    tab.set_default_timeout(60_000)
    complaints, hosts = [], set()
    tab.on("console", lambda message: complaints.append(message.text))
    tab.on("pageerror", lambda error: complaints.append(str(error)))
    tab.on("request", lambda request: hosts.add(urlsplit(request.url).netloc))
    tab.goto(f"{served.base_url}/api/docs/")
    tab.get_by_role("button", name="Authorize").first.click()
    tab.get_by_role("textbox", name="auth-bearer-value").fill(served.credentials["pat"]["token"])
    tab.get_by_role("button", name="Apply credentials").first.click()
    tab.get_by_role("button", name="Close").first.click()
    tab.get_by_role("button", name="get /api/payments/", exact=True).click()
    tab.get_by_role("button", name="Try it out").click()
    tab.get_by_role("button", name="Execute").click()
    expect(tab.locator(".live-responses-table")).to_contain_text("Brass gear wheels")
    context.close()
    assert complaints == []
    assert hosts - {""} == {urlsplit(served.base_url).netloc}


def test_wrong_password(page):
    page.log_in("ada", "guess")

    alert = page.tab.get_by_role("alert")
    expect(alert).to_have_text("The username or the password is wrong.")
    expect(page.tab.get_by_label("Password")).to_be_focused()
    assert [response.status for response in page.refused] == [400]

    page.log_in("ada")
    assert page.numbers() == [3, 2, 1]
    expect(alert).to_be_hidden()


def test_the_button_says_that_it_logs_in(page):
    held = []
    page.tab.route("**/o/token/", lambda route: held.append(route))
    page.log_in("ada")
    button = page.tab.locator("#login-form button")
    expect(button).to_have_text("Logging in…")
    held[0].continue_()
    assert page.numbers() == [3, 2, 1]
    expect(button).to_have_text("Log in")


def test_a_small_screen_has_a_link_to_the_form_until_the_login(page):
    link = page.tab.get_by_role("banner").get_by_role("link", name="Log in")
    expect(link).to_be_hidden()
    page.tab.set_viewport_size({"width": 375, "height": 700})
    expect(page.tab.get_by_label("Username")).not_to_be_in_viewport()
    link.click()
    expect(page.tab.get_by_label("Username")).to_be_in_viewport()
    page.log_in("ada")
    page.numbers()
    expect(link).to_be_hidden()
    page.tab.get_by_role("button", name="Log out").click()
    expect(link).to_be_visible()


def test_an_empty_form_is_not_sent(page):
    page.tab.get_by_role("button", name="Log in").click()

    expect(page.tab.get_by_label("Username")).to_have_accessible_description("Enter the username.")
    expect(page.tab.get_by_label("Username")).to_be_focused()
    assert page.grants() == []


def test_an_expired_token_is_refreshed_without_the_user_noticing(short_lived, open_page):
    page = open_page(short_lived)
    page.log_in("ada")
    assert page.numbers() == [3, 2, 1]
    until_no_longer_good(short_lived, page)

    with page.tab.expect_response(lambda r: r.url.endswith("/api/payments/") and r.ok):
        page.tab.get_by_role("button", name="Refresh").click()

    assert page.grants()[-1] == "refresh_token"
    assert still_good(short_lived, page)
    assert page.numbers() == [3, 2, 1]
    expect(page.tab.get_by_role("alert")).to_have_count(0)


def test_the_page_does_not_ask_with_a_token_that_it_knows_has_expired(served, page):
    page.log_in("ada")
    page.numbers()
    page.tab.clock.install()
    page.tab.clock.fast_forward((served.seconds + 1) * 1000)

    with page.tab.expect_response("**/api/payments/") as answer:
        page.tab.get_by_role("button", name="Refresh").click()

    assert answer.value.status == 200
    assert page.grants() == ["password", "refresh_token"]
    assert page.refused == []


def test_a_token_that_the_server_refuses_is_refreshed_too(served, open_page):
    """A clock that is wrong, or a token that was revoked."""
    page = open_page(served)
    page.log_in("ada")
    page.numbers()
    token = page.sent("/api/payments/")[0].headers["authorization"].removeprefix("Bearer ")
    end = (
        "from oauth2_provider.models import AccessToken\n"
        "from django.utils import timezone\n"
        "import hashlib, sys\n"
        "checksum = hashlib.sha256(sys.stdin.read().encode()).hexdigest()\n"
        "print(AccessToken.objects.filter(token_checksum=checksum).update(expires=timezone.now()))"
    )
    assert served.manage("shell", "--no-imports", "-c", end, input=token).stdout.strip() == "1"

    with page.tab.expect_response(lambda r: r.url.endswith("/api/payments/") and r.ok):
        page.tab.get_by_role("button", name="Refresh").click()

    assert page.grants() == ["password", "refresh_token"]  # once, for two refused requests
    assert {response.status for response in page.refused} == {401}
    assert page.numbers() == [3, 2, 1]


def test_when_the_session_is_over_the_page_says_so(served, open_page):
    page = open_page(served)
    page.log_in("charles")
    page.numbers()
    end = (
        "from oauth2_provider.models import AccessToken, RefreshToken\n"
        "AccessToken.objects.filter(user__username='charles').delete()\n"
        "RefreshToken.objects.filter(user__username='charles').delete()"
    )
    assert served.manage("shell", "--no-imports", "-c", end).returncode == 0

    page.tab.get_by_role("button", name="Refresh").click()

    expect(page.tab.get_by_role("alert")).to_have_text("Your session has ended. Log in again.")
    expect(page.tab.get_by_label("Username")).to_have_value("charles")
    expect(page.tab.get_by_role("table")).to_be_hidden()


def test_log_out_ends_the_session_at_the_server(served, page):
    page.log_in("ada")
    page.numbers()
    assert still_good(served, page)

    with page.tab.expect_response("**/o/revoke_token/") as revoked:
        page.tab.get_by_role("button", name="Log out").click()

    assert revoked.value.status == 200
    assert not still_good(served, page)
    expect(page.tab.get_by_label("Username")).to_be_focused()
    expect(page.tab.get_by_label("Password")).to_have_value("")
    expect(page.tab.get_by_text("Brass gear wheels")).to_have_count(0)


def test_leaving_the_page_ends_the_session_at_the_server(served, page):
    page.log_in("ada")
    page.numbers()

    page.tab.reload()

    expect(page.tab.get_by_role("heading", name="Show the payments")).to_be_visible()
    until_no_longer_good(served, page)


def test_who_may_write_makes_a_payment(short_lived, open_page):
    page = open_page(short_lived)
    page.log_in("grace")
    assert page.numbers() == [5, 4]

    page.tab.get_by_role("button", name="Pay").click()
    amount = page.tab.get_by_label("Amount")
    expect(amount).to_have_accessible_description("Enter the amount.")
    amount.fill("-1")
    page.tab.get_by_role("button", name="Pay").click()
    expect(amount).to_have_accessible_description("Enter at least 0.01.")
    expect(amount).to_be_focused()

    amount.fill("12.50")
    page.tab.get_by_label("What for").fill("Coffee for the night shift")
    page.tab.get_by_label("What for").press("Enter")

    expect(page.tab.get_by_role("status")).to_have_text("Payment 6 of €12.50 was made.")
    assert page.numbers() == [6, 5, 4]
    expect(page.tab.get_by_role("row").nth(1)).to_contain_text("Coffee for the night shift")
    expect(amount).to_have_value("")


def test_a_viewer_is_told_why_not(page):
    page.log_in("luigi")

    assert page.numbers() == [3, 2, 1]
    expect(page.tab.get_by_text("You are a viewer of Analytical Engine.")).to_be_visible()
    expect(page.tab.get_by_role("button", name="Pay")).to_be_hidden()


def test_no_payments(page):
    page.log_in("admin")

    expect(page.tab.get_by_text("You are not a member of any project")).to_be_visible()
    expect(page.tab.get_by_role("table")).to_be_hidden()


def test_without_a_network(page):
    page.log_in("ada")
    page.numbers()
    page.tab.context.set_offline(True)

    page.tab.get_by_role("button", name="Refresh").click()
    problem = page.tab.locator("#problem")
    expect(problem).to_contain_text("The server cannot be reached.")
    assert page.numbers() == [3, 2, 1]  # what was there stays there

    page.tab.get_by_label("Amount").fill("3")
    page.tab.get_by_role("button", name="Pay").click()
    expect(page.tab.locator("#payment-error")).to_contain_text("The server cannot be reached.")
    expect(page.tab.get_by_label("Amount")).to_have_value("3")

    page.tab.context.set_offline(False)
    page.tab.get_by_role("button", name="Refresh").click()
    expect(problem).to_be_hidden()


def test_the_keyboard_is_enough(page):
    keys = page.tab.keyboard
    page.tab.get_by_label("Username").focus()
    keys.type("ada")
    keys.press("Tab")
    keys.type("demo-password")
    keys.press("Enter")

    expect(page.tab.get_by_role("heading", name="Payments", exact=True)).to_be_focused()
    page.numbers()
    expect(page.tab.get_by_role("button", name="Pay")).to_be_visible()
    keys.press("Tab")
    expect(page.tab.get_by_role("button", name="Refresh")).to_be_focused()
    for label in ("Project", "Amount", "Currency", "What for"):
        keys.press("Tab")
        expect(page.tab.get_by_label(label, exact=label != "What for")).to_be_focused()


@pytest.mark.parametrize("width", [320, 375, 1280])
def test_nothing_is_wider_than_the_screen(page, width):
    page.tab.set_viewport_size({"width": width, "height": 800})
    overflow = "document.documentElement.scrollWidth - document.documentElement.clientWidth"
    assert page.tab.evaluate(overflow) == 0

    page.log_in("ada")
    page.numbers()
    assert page.tab.evaluate(overflow) == 0
