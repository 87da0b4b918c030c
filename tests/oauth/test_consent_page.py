"""The consent page: what it says, what it lets users decide, and what it refuses."""

import re
from datetime import timedelta
from html import unescape
from urllib.parse import urlencode

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import Application, DeviceGrant
from playwright.sync_api import expect

from apikeys.oauth.models import Consent, TokenLifetime
from tests.factories import MembershipFactory, UserFactory

SCOPE = "payments:write reports:read"


def text_of(response):
    body = re.sub(r"(?s)<(script|style|head).*?</\1>|<[^>]*>", " ", response.content.decode())
    return " ".join(unescape(body).split())


def test_the_page_says_who_asks_where_it_returns_and_for_how_long(visitor, query, app):
    text = text_of(visitor.get("/o/authorize/", query))

    assert "verified This application is registered by the operators" in text
    assert "It will act on your behalf, as ada." in text
    assert "Returns to app.example https://app.example/callback" in text
    assert "Until you revoke it, or until it is not used for 2 weeks." in text
    assert "Authorized applications" in text
    TokenLifetime.objects.create(application=app, refresh_token_seconds=24 * 60 * 60)
    assert "not used for 1 day." in text_of(visitor.get("/o/authorize/", query))


def test_an_application_of_another_user_is_not_verified(visitor, query, app):
    app.user = UserFactory(username="grace")
    app.save()
    text = text_of(visitor.get("/o/authorize/", query))

    assert "not verified This application was registered by grace" in text


def test_a_name_is_escaped(visitor, query):
    Application.objects.update(name="<b>Bank</b>")
    html = visitor.get("/o/authorize/", query).content.decode()
    assert "<b>Bank" not in html
    assert "&lt;b&gt;Bank" in html


@pytest.mark.parametrize(
    ("scope", "granted"),
    [
        (SCOPE, "payments:read reports:read"),
        ("payments:write keys:write", "keys:read payments:read"),
        ("payments:read", "payments:read"),
    ],
)
def test_read_only_leaves_out_what_changes_something(answer, scope, granted):
    assert sorted(answer(scope, access="read").split()) == granted.split()
    assert Consent.objects.get().scope.split() == sorted(granted.split())


def test_everything_is_granted_by_default(answer):
    assert answer() == SCOPE
    assert answer(access="all") == SCOPE
    assert not Consent.objects.exclude(narrowed_at=None).exists()


def test_read_only_is_offered_if_it_is_less(visitor, query):
    assert "Read only for now" not in text_of(visitor.get("/o/authorize/", query))
    text = text_of(visitor.get("/o/authorize/", query | {"scope": SCOPE}))
    assert "Read only for now See payments, See reports. It can ask for the rest later." in text


def test_read_only_of_nothing_that_reads_is_refused(answer, settings):
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": {"payments:write": "Pay"}}

    assert "None of these permissions is read only" in answer("payments:write", access="read")
    assert not Consent.objects.exists()


def test_an_unknown_answer_is_refused(answer):
    assert "Select a valid choice" in answer(access="nonsense")
    assert not Consent.objects.exists()


def test_a_later_request_shows_only_what_is_new(visitor, query, answer):
    answer("payments:read")
    text = text_of(visitor.get("/o/authorize/", query | {"scope": SCOPE}))

    assert "It will also be able to: Make payments, and see them See reports" in text
    again = text_of(visitor.get("/o/authorize/", query | {"scope": "payments:read"}))
    assert "You already allow all of this." in again


def test_a_later_request_starts_with_the_projects_of_the_first(visitor, query, answer, two):
    answer(reach="selected", projects=[two.pk])
    html = visitor.get("/o/authorize/", query).content.decode()

    checked = re.findall(r'name="(\w+)" value="([^"]*)"[^>]* checked', html)
    assert ("reach", "selected") in checked
    assert ("projects", str(two.pk)) in checked


@pytest.mark.parametrize(
    "changes",
    [
        {"scope": "payments:read reports:read keys:write"},
        {"redirect_uri": "https://app.example/other"},
        {"client_id": "other"},
        {"code_challenge": "w" * 43},
    ],
)
def test_a_form_that_differs_from_the_request_is_refused(visitor, query, app, changes):
    app.redirect_uris += " https://app.example/other"
    app.save()
    Application.objects.create(client_id="other", redirect_uris=app.redirect_uris)
    url = f"/o/authorize/?{urlencode(query)}"

    response = visitor.post(url, query | {"allow": "Authorize"} | changes)

    assert response.status_code == 422
    assert "does not match the application's request" in text_of(response)
    assert not Consent.objects.exists()


@pytest.mark.parametrize("scope", ["bindings:write", "nonsense", "introspection"])
def test_a_scope_that_is_not_offered_is_not_granted(visitor, query, scope):
    form = query | {"scope": f"payments:read {scope}", "allow": "Authorize"}
    visitor.post("/o/authorize/", form)

    assert Consent.objects.get().scope == "payments:read"


def test_a_form_without_a_csrf_token_authorizes_nothing(ada, query, app):
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(ada)
    response = browser.post("/o/authorize/", query | {"allow": "Authorize"})

    assert response.status_code == 403
    assert not Consent.objects.exists()


def test_a_form_of_a_deleted_application_is_refused(visitor, query, app):
    app.delete()
    response = visitor.post("/o/authorize/", query | {"allow": "Authorize"})

    assert response.status_code == 400
    assert "does not know the application" in text_of(response)


@pytest.fixture
def device(app, ada):
    app.authorization_grant_type = Application.GRANT_DEVICE_CODE
    app.save()
    return DeviceGrant.objects.create(
        client_id="app",
        user_code="ABCDEFGH",
        device_code="d" * 40,
        scope=SCOPE,
        user=ada,
        expires=timezone.now() + timedelta(minutes=5),
    )


class TestDevice:
    URL = "/o/device-confirm/app/ABCDEFGH"

    def test_the_page_is_the_consent_page_with_the_code(self, visitor, device):
        text = text_of(visitor.get(self.URL))

        assert "Code ABCD-EFGH Your device must show the same code." in text
        assert "registered by the operators" in text
        assert "Read only for now" in text
        assert "Returns to" not in text

    def test_read_only_is_stored(self, visitor, device):
        visitor.post(self.URL, {"action": "accept", "access": "read", "reach": "all"})

        device.refresh_from_db()
        assert device.status == device.AUTHORIZED
        assert device.scope.split() == ["payments:read", "reports:read"]
        assert Consent.objects.get().scope == device.scope
        assert Consent.objects.get().narrowed_at

    def test_a_second_answer_changes_nothing(self, visitor, device):
        visitor.post(self.URL, {"action": "deny"})
        response = visitor.post(self.URL, {"action": "accept"})

        assert response.status_code == 404
        assert "This code no longer works" in text_of(response)
        assert not Consent.objects.exists()

    def test_a_form_without_a_csrf_token_accepts_nothing(self, ada, device):
        browser = Client(enforce_csrf_checks=True)
        browser.force_login(ada)

        assert browser.post(self.URL, {"action": "accept"}).status_code == 403
        assert not Consent.objects.exists()


# In a browser


@pytest.fixture
def open_page(chromium, client, ada, two, query, live_server):
    """Return a function that opens the consent page as ada, with or without JavaScript."""
    client.force_login(ada)
    session = client.cookies["sessionid"].value
    contexts = []

    def open_page(**options):
        context = chromium.new_context(**options)
        context.set_default_timeout(60_000)
        context.add_cookies([{"name": "sessionid", "value": session, "url": live_server.url}])
        contexts.append(context)
        page = context.new_page()
        page.goto(f"{live_server.url}/o/authorize/?{urlencode(query)}")
        assert page.get_by_label("All your projects").is_checked()
        return page

    yield open_page
    for context in contexts:
        context.close()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_ticking_a_project_selects_only_these(open_page):
    page = open_page()

    page.get_by_label("Two", exact=True).check()
    assert page.get_by_label("Only these").is_checked()
    page.get_by_label("All your projects").check()
    assert not page.get_by_label("Two", exact=True).is_checked()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
def test_ticking_a_project_without_javascript_shows_the_form_again(open_page):
    page = open_page(java_script_enabled=False)

    page.get_by_label("Two", exact=True).check()
    page.get_by_role("button", name="Authorize").click()

    assert page.get_by_text("You selected projects").is_visible()
    assert page.get_by_label("Only these").is_checked()
    assert page.get_by_label("Two", exact=True).is_checked()
    assert not Consent.objects.exists()


@pytest.mark.browser
@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("width", [375, 1280])
def test_many_projects_scroll_in_a_box_and_the_buttons_stay_in_view(open_page, ada, width):
    for number in range(30):
        MembershipFactory(user=ada, project__slug=f"p{number}", project__name=f"Project {number}")
    page = open_page(viewport={"width": width, "height": 700})
    button = page.get_by_role("button", name="Authorize")

    expect(button).to_be_in_viewport()
    box = page.locator("[data-ak-find]")
    assert box.evaluate("box => box.scrollHeight > box.clientHeight")
    page.get_by_role("searchbox", name="Find a project").fill("Project 29")
    expect(box.get_by_role("checkbox")).to_have_count(1)
    page.get_by_label("Project 29").check()
    expect(button).to_be_in_viewport()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
