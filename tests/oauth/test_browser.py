"""The OAuth pages in a real Chromium: accessible, with the keyboard alone, without JavaScript."""

from datetime import timedelta
from urllib.parse import parse_qs, urlencode, urlsplit

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, DeviceGrant, RefreshToken
from playwright.sync_api import expect

from apikeys.oauth.models import ClientSettings, Consent, TokenOrigin
from tests.factories import MembershipFactory, UserFactory
from tests.oauth.conftest import CHALLENGE, REDIRECT
from tests.web.browsing import faults_of, log_in, unreached
from tests.web.conftest import LONGEST

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

SETTINGS = "/settings/applications/"
OWN = f"{SETTINGS}own/"

#: The URL of each page by its name, with the facts of ``some_clients``.
PAGES = {
    "consent": "/o/authorize/?{query}",
    "consent-again": "/o/authorize/?{again}",
    "error": "/o/authorize/?client_id=gone&response_type=code",
    "device-code": "/o/device/",
    "device-confirm": "/o/device-confirm/app/ABCDEFGH",
    "device-done": "/o/device-grant-status/app/BCDEFGHI",
    "device-gone": "/o/device-confirm/app/GONE0000",
    "authorized": SETTINGS,
    "narrow": SETTINGS + "{authorized}/",
    "leave": SETTINGS + "{authorized}/revoke/",
    "clients": OWN,
    "client-new": OWN + "new/",
    "client": OWN + "{own}/",
    "rotate": OWN + "{own}/secret/",
    "revoke-users": OWN + "{own}/revoke/",
    "revoke-user": OWN + "{own}/revoke/?user=grace",
    "client-delete": OWN + "{own}/delete/",
}
STATUS = {"error": 400, "device-gone": 404}
DOCUMENT = "https://agent.example/client.json"


def authorize(user, application, scope, projects=(), days=0):
    """Store a consent of ``user`` with its tokens."""
    consent = Consent.objects.create(
        user=user,
        application=application,
        scope=scope,
        all_projects=not projects,
        is_given=True,
        created_at=timezone.now() - timedelta(days=days),
    )
    consent.projects.set(projects)
    text = f"{application.pk}-{user.pk}-{consent.pk}"
    token = AccessToken.objects.create(
        user=user,
        application=application,
        token=text,
        scope=scope,
        expires=timezone.now() + timedelta(minutes=5),
    )
    TokenOrigin.objects.create(access_token=token, consent=consent)
    RefreshToken.objects.create(user=user, application=application, token=text, access_token=token)


def register(name, user=None, **facts):
    given = {
        "client_type": Application.CLIENT_CONFIDENTIAL,
        "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
        "redirect_uris": "https://ledger.example/callback",
    }
    return Application.objects.create(name=name, user=user, **given | facts)


def many(ada, number):
    """Store projects, clients of ada and applications that she authorized."""
    source = Application.RegistrationSource
    kinds = [
        {"client_type": Application.CLIENT_PUBLIC},
        {"registration_source": source.DCR},
        {},
    ]
    for n in range(number):
        project = MembershipFactory(user=ada, project__name=f"Project {n}").project
        client = register(
            f"Reports of department {n}" if n % 2 else f"App {n}", ada, **kinds[n % 3]
        )
        ClientSettings.objects.create(
            application=client, description="Sums payments up, once a month." if n % 4 else ""
        )
        other = register(f"Agent {n}", **kinds[n % 3])
        scope = "payments:write reports:read keys:read" if n % 2 else "payments:read"
        authorize(ada, other, scope, [project] if n % 5 == 0 else (), days=n)


@pytest.fixture
def redirect(app, live_server):
    """An address of this computer to which the browser returns."""
    app.redirect_uris = "http://127.0.0.1/callback"
    app.save()
    return f"http://127.0.0.1:{live_server.thread.port}/callback"


@pytest.fixture
def some_clients(ada, app, redirect):
    """A client of ada that grace uses, and an application that ada authorized."""
    many(ada, 3)
    own = register("Ledger", ada)
    ClientSettings.objects.create(
        application=own,
        description=LONGEST,
        homepage="https://ledger.example/",
        max_scope="payments:read reports:read",
        previous_secret="x",
        previous_secret_expires_at=timezone.now() + timedelta(days=1),
    )
    authorize(UserFactory(username="grace"), own, "payments:read")
    agent = register(
        "An agent of a rather long name that goes on",
        client_id=DOCUMENT,
        client_type=Application.CLIENT_PUBLIC,
        registration_source=Application.RegistrationSource.CIMD,
        cimd_expires_at=timezone.now() + timedelta(days=1),
        redirect_uris="http://127.0.0.1/callback",
    )
    authorize(ada, agent, "payments:write reports:read", days=3)
    device = {"client_id": "app", "user": ada, "expires": timezone.now() + timedelta(minutes=5)}
    scope = "payments:write reports:read"
    DeviceGrant.objects.create(user_code="ABCDEFGH", device_code="d" * 40, scope=scope, **device)
    DeviceGrant.objects.create(
        user_code="BCDEFGHI", device_code="e" * 40, scope=scope, status="authorized", **device
    )
    request = {
        "client_id": "app",
        "response_type": "code",
        "redirect_uri": redirect,
        "scope": "payments:write reports:read",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    agent_uri = {"client_id": DOCUMENT, "redirect_uri": "http://127.0.0.1:3000/callback"}
    more = {"scope": "payments:write reports:read keys:write"}
    return {
        "query": urlencode(request),
        "again": urlencode(request | agent_uri | more),
        "authorized": agent.pk,
        "own": own.pk,
    }


def opened(page, name, facts):
    response = page.goto(PAGES[name].format(**facts))
    assert response.status == STATUS.get(name, 200), name
    return page


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 375),
        pytest.param("dark", 1280, marks=pytest.mark.long),
        pytest.param("light", 375, marks=pytest.mark.long),
    ],
)
def test_pages_are_accessible(open_page, some_clients, scheme, width):
    """axe-core finds no violations, and no page is wider than the screen."""
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    log_in(page)
    found = {}

    def check(name):
        if faults := faults_of(page, width):
            found[name] = faults

    for name in PAGES:
        opened(page, name, some_clients)
        check(name)

    opened(page, "client-new", some_clients)
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check("errors of the form")
    page.get_by_label("Name").fill("Backup")
    page.get_by_label("Redirect URIs").fill("https://backup.example/callback")
    page.get_by_role("button", name="Register").click()
    expect(page.get_by_role("heading", name="Copy the secret of Backup now")).to_be_visible()
    check("secret")

    opened(page, "narrow", some_clients)
    for name in ("payments", "reports"):
        page.get_by_role("group", name=name).get_by_label("No access").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check("errors of limits")

    opened(page, "device-code", some_clients)
    page.get_by_label("Code").fill("NOT-A-CODE")
    page.get_by_role("button", name="Continue").click()
    check("wrong code")

    assert found == {}


def test_tab_reaches_every_control_and_shows_where_it_is(open_page, some_clients):
    page = open_page(viewport={"width": 1280, "height": 800})
    log_in(page)
    found = {}
    for name in PAGES:
        opened(page, name, some_clients)
        if faults := unreached(page):
            found[name] = faults
    assert found == {}


def test_every_page_works_without_javascript(open_page, some_clients):
    """No page shows a button that only a script would answer."""
    page = open_page(java_script_enabled=False)
    log_in(page)
    for name in PAGES:
        opened(page, name, some_clients)
        assert page.locator('button[type="button"]:visible').count() == 0, name


@pytest.mark.parametrize("script", [True, False], ids=["with-script", "without"])
def test_every_task_can_be_done(open_page, some_clients, app, ada, script):
    page = open_page(java_script_enabled=script)
    log_in(page, SETTINGS)
    main, status = page.get_by_role("main"), page.get_by_role("status").first

    # Register a client, replace its secret, and delete it
    page.goto(OWN)
    page.get_by_role("link", name="New client").click()
    page.get_by_label("Name").fill("Backup")
    page.get_by_label("Redirect URIs").fill("https://backup.example/callback")
    page.get_by_label("Only these permissions").check()
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    page.get_by_role("button", name="Register").click()
    first = page.get_by_label("Client secret", exact=True).input_value()
    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_label("Only these permissions")).to_be_checked()
    page.get_by_role("link", name="Rotate secret").click()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Create new secret").click()
    assert page.get_by_label("Client secret", exact=True).input_value() != first
    page.get_by_role("link", name="I have copied it").click()
    expect(main).to_contain_text("the old secret works too")
    page.get_by_role("link", name="Delete client").click()
    page.get_by_role("button", name="Delete client").click()
    expect(status).to_contain_text("Deleted “Backup” and all its tokens.")

    # Revoke the access of a user of one's client
    page.get_by_role("link", name="Edit Ledger").click()
    page.get_by_role("link", name="Revoke grace").click()
    page.get_by_role("button", name="Revoke").click()
    expect(main).to_contain_text("No users have authorized this client.")

    # Take a part of an application's access back, and then all
    page.goto(SETTINGS)
    page.get_by_role("link", name="Limit agent.example").click()
    page.get_by_role("group", name="reports").get_by_label("No access").check()
    page.get_by_label("Only selected projects").check()
    page.get_by_label("Project 1").check()
    page.get_by_role("button", name="Save").click()
    expect(status).to_contain_text("The change applies to the next request of “agent.example”.")
    page.get_by_role("link", name="Revoke agent.example").click()
    page.get_by_role("button", name="Revoke").click()
    expect(status).to_contain_text("Revoked access for “agent.example”.")

    # Confirm a device, and authorize an application in the browser
    page.goto("/o/device/")
    page.get_by_label("Code").fill("abcd-efgh")
    page.get_by_role("button", name="Continue").click()
    page.get_by_label("Read only for now").check()
    page.get_by_role("button", name="Accept").click()
    expect(page.get_by_role("heading", name="Request accepted")).to_be_visible()
    assert DeviceGrant.objects.get(user_code="ABCDEFGH").scope == "payments:read reports:read"

    opened(page, "consent", some_clients)
    page.get_by_label("Only these").check()
    page.get_by_label("Analytical Engine").check()
    page.get_by_role("button", name="Authorize").click()
    page.wait_for_url("http://127.0.0.1:*/callback?*")
    assert "code" in parse_qs(urlsplit(page.url).query)
    consent = Consent.objects.filter(application=app).latest("pk")
    assert [each.name for each in consent.projects.all()] == ["Analytical Engine"]


def test_consent_with_the_keyboard_alone(open_page, some_clients):
    page = open_page()
    log_in(page)
    opened(page, "consent", some_clients)
    press = page.keyboard.press

    def tab_to(locator):
        for _ in range(40):
            if locator.evaluate("element => element === document.activeElement"):
                return
            press("Tab")
        pytest.fail(f"Tab does not lead to {locator}.")

    press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    press("Enter")
    tab_to(page.get_by_label("Read only for now").or_(page.get_by_label("Everything")).first)
    press("ArrowDown")
    expect(page.get_by_label("Read only for now")).to_be_checked()
    tab_to(page.get_by_role("button", name="Authorize"))
    press("Enter")
    page.wait_for_url("http://127.0.0.1:*/callback?*")
    assert Consent.objects.latest("pk").scope == "payments:read reports:read"


#: Whether the element with the focus can be seen, or something else lies on it.
IS_SEEN = """() => {
  const { activeElement: at } = document;
  const { left, top, width, height } = at.getBoundingClientRect();
  const found = document.elementFromPoint(left + width / 2, top + height / 2);
  return at.contains(found) || at.closest('label')?.contains(found);
}"""


@pytest.mark.parametrize("name", ["consent", "device-confirm"])
def test_buttons_in_view_do_not_hide_what_has_the_focus(open_page, some_clients, ada, name):
    many(ada, 10)
    page = open_page(viewport={"width": 375, "height": 500})
    log_in(page)
    opened(page, name, some_clients)
    for _ in range(30):
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('main :is(a, button, input, summary)')"):
            element = page.evaluate("document.activeElement.outerHTML")
            assert page.evaluate(IS_SEEN), element


@pytest.mark.long
@pytest.mark.parametrize("rows", [0, 31])
@pytest.mark.parametrize("width", [1280, 375])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_pages_with_no_rows_and_with_many(open_page, ada, app, scheme, width, rows):
    """axe-core finds nothing, and no list is wider than the screen or longer than 3,000 px."""
    many(ada, rows)
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    log_in(page)
    found = {}
    request = {
        "client_id": "app",
        "response_type": "code",
        "redirect_uri": REDIRECT,
        "scope": "payments:write",
        "code_challenge": CHALLENGE,
        "code_challenge_method": "S256",
    }
    for path in (SETTINGS, OWN, f"{OWN}new/", f"/o/authorize/?{urlencode(request)}"):
        assert page.goto(path).status == 200
        faults = faults_of(page, width)
        height = page.evaluate("document.documentElement.scrollHeight")
        if height > 3000:
            faults.append(f"{height} px high")
        if faults:
            found[path] = faults
    assert found == {}
