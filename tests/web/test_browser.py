"""The pages in a real Chromium: all actions on a key, without JavaScript, and accessibly."""

from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest
from django.contrib.sessions.backends.db import SessionStore
from django.utils import timezone
from playwright.sync_api import Error, expect

from apikeys import lifecycle, usage
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.web.views import secret
from tests.factories import PASSWORD
from tests.web.browsing import PAGES, faults_of, log_in

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


def call(live_server, token, path="/api/payments/"):
    """Return the status of the API's response."""
    request = Request(live_server.url + path, headers={"Authorization": f"Bearer {token}"})
    try:
        with urlopen(request) as answer:
            return answer.status
    except HTTPError as error:
        return error.code


def test_token_is_created_used_rotated_narrowed_and_revoked(open_page, live_server, monkeypatch):
    # The tests write uses themselves, so the page would not promise it.
    monkeypatch.setattr(secret, "_counts_soon", lambda: True)
    page = open_page(permissions=["clipboard-read", "clipboard-write"])
    log_in(page)

    # Create
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    page.get_by_role("group", name="reports").get_by_label("Read").check()
    summary = page.locator("#ak-summary")
    expect(summary).to_contain_text("Make payments, and see them")
    expect(summary).to_contain_text("In all your current and future projects")
    page.get_by_role("button", name="Create token").click()

    # Copy the secret, and call the API with it
    page.get_by_role("button", name="Copy", exact=True).click()
    expect(page.locator("#ak-status")).to_have_text("Copied")
    token = page.evaluate("navigator.clipboard.readText()")
    assert page.get_by_label("Personal access token", exact=True).input_value() == token
    assert call(live_server, token) == 200
    page.get_by_role("button", name="Copy curl").click()
    curl = page.evaluate("navigator.clipboard.readText()")
    assert curl == f'curl -H "Authorization: Bearer {token}" {live_server.url}/api/payments/'

    counted = page.get_by_text("The test counts as a request.")
    expect(counted).to_be_hidden()
    page.get_by_role("button", name="Test it now").click()
    expect(page.locator("[data-ak-result]")).to_have_text(
        "200 · works as ada · payments:write, reports:read"
    )
    expect(counted).to_be_visible()

    # The usage appears
    usage.flush()
    page.get_by_role("link", name="I have copied it").click()
    expect(page.get_by_role("main")).to_contain_text("just now from 127.0.0.1")
    expect(page.get_by_role("img", name="2 requests in the last 30 days")).to_be_visible()

    # Rotate with overlap: both work, then only the new one
    page.get_by_role("link", name="Rotate").click()
    page.get_by_label("1 hour").check()
    page.get_by_role("button", name="Rotate").click()
    new = page.get_by_label("Personal access token", exact=True).input_value()
    assert new != token
    assert [call(live_server, each) for each in (token, new)] == [200, 200]
    PersonalAccessToken.objects.filter(rotated_at__isnull=False).update(expires_at=timezone.now())
    assert [call(live_server, each) for each in (token, new)] == [401, 200]

    # Narrow
    assert call(live_server, new, "/api/reports/") == 200
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Edit").click()
    page.get_by_role("group", name="reports").get_by_label("No access").check()
    page.get_by_role("button", name="Save").click()
    expect(page.get_by_role("status")).to_contain_text("Saved.")
    assert call(live_server, new, "/api/reports/") == 403
    assert call(live_server, new) == 200

    # Revoke
    page.get_by_role("link", name="Revoke").click()
    page.get_by_label("Reason").fill("The laptop was lost.")
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("Revoked")
    expect(page.get_by_role("main")).to_contain_text("No active tokens.")
    assert call(live_server, new) == 401


@pytest.mark.parametrize("script", [True, False], ids=["with-script", "without"])
def test_back_and_reload_do_not_show_the_secret_again(open_page, script):
    page = open_page(java_script_enabled=script)
    log_in(page, "/settings/keys/projects/analytical-engine/new/")
    page.get_by_label("Name").fill("server")
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    if not script:
        page.get_by_role("button", name="Review").click()
    page.get_by_role("button", name="Create key").click()
    secret = page.get_by_label("Project key", exact=True)
    token = secret.input_value()
    assert token not in page.url

    page.get_by_role("link", name="I have copied it").click()
    # The browser has no copy of the page. It asks before it submits the form again. Confirm:
    with pytest.raises(Error, match="ERR_CACHE_MISS"):
        page.go_back()
    page.wait_for_load_state()
    expect(secret).to_have_count(0)
    page.reload()
    expect(page.get_by_role("alert")).to_contain_text("already created “server”")
    expect(secret).to_have_count(0)
    assert token not in page.content()
    assert ProjectKey.objects.count() == 1


def test_secret_is_removed_when_the_user_leaves_the_page(open_page):
    """Some browsers keep pages in memory regardless of Cache-Control."""
    page = open_page()
    log_in(page, "/settings/keys/new/")
    page.get_by_label("Name").fill("laptop")
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    page.get_by_role("button", name="Create token").click()
    secret = page.get_by_label("Personal access token", exact=True)
    expect(secret).not_to_have_value("")
    page.evaluate("dispatchEvent(new PageTransitionEvent('pagehide', {persisted: true}))")
    expect(secret).to_have_value("")
    assert "acme_pat_" not in page.content()
    expect(page.get_by_label("Try it")).to_have_value("")


def test_pages_work_without_javascript(open_page, live_server):
    page = open_page(java_script_enabled=False)
    log_in(page)
    page.get_by_role("link", name="New token").click()
    page.get_by_label("Name").fill("laptop")
    page.get_by_label("Only selected projects").check()
    page.get_by_label("Analytical Engine").check()
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    page.get_by_role("button", name="Review").click()
    main = page.get_by_role("main")
    expect(main).to_contain_text("Only in Analytical Engine")
    page.get_by_role("button", name="Change").click()
    page.get_by_label("Name").fill("desk")
    page.get_by_role("button", name="Review").click()
    expect(main).to_contain_text("desk")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("button", name="Copy")).to_have_count(0)
    token = page.get_by_label("Personal access token", exact=True).input_value()
    assert call(live_server, token) == 200
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Rotate").click()
    page.get_by_role("button", name="Rotate").click()
    new = page.get_by_label("Personal access token", exact=True).input_value()
    page.get_by_role("link", name="I have copied it").click()
    page.get_by_role("link", name="Revoke", exact=True).click()
    page.get_by_label("Also revoke").check()
    page.get_by_role("button", name="Revoke").click()
    assert [call(live_server, each) for each in (token, new)] == [401, 401]


@pytest.mark.parametrize("script", [True, False], ids=["with-script", "without"])
def test_selected_tokens_are_revoked_with_one_confirmation(open_page, ada, script):
    for n in range(3):
        lifecycle.mint(user=ada, name=f"job {n}", scopes=["payments:read"], expires_at=None)
    page = open_page(java_script_enabled=script)
    log_in(page)
    page.get_by_label("Name, description or ID").or_(page.get_by_placeholder("Name")).first.fill(
        "job"
    )
    page.get_by_role("button", name="Search").click()
    if script:
        expect(page.get_by_role("button", name="Revoke selected")).to_be_disabled()
        page.get_by_label("Select all on this page").check()
        page.get_by_label("Select job 1").uncheck()
        expect(page.get_by_role("button", name="Revoke selected… (2)")).to_be_enabled()
    else:
        page.get_by_label("Select job 0").check()
        page.get_by_label("Select job 2").check()
    page.get_by_role("button", name="Revoke selected").click()
    expect(page.get_by_role("heading", name="Revoke 2 tokens?")).to_be_visible()
    page.get_by_role("button", name="Revoke").click()
    expect(page.get_by_role("status")).to_contain_text("Revoked 2 tokens.")
    assert [key.name for key in PersonalAccessToken.objects.filter(revoked_at=None)] == ["job 1"]


def test_pages_work_with_the_keyboard_alone(open_page, live_server):
    page = open_page()
    log_in(page, "/settings/keys/new/")
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
    tab_to(page.get_by_label("Name"))
    page.keyboard.type("laptop")
    tab_to(page.get_by_role("group", name="payments").get_by_label("No access"))
    press("ArrowDown")
    press("ArrowDown")
    payments = page.get_by_role("group", name="payments")
    expect(payments.get_by_label("Read and write")).to_be_checked()
    make = page.get_by_role("button", name="Create token")
    expect(make).to_be_visible()
    tab_to(make)
    press("Enter")
    field = page.get_by_label("Personal access token", exact=True)
    expect(field).to_be_visible()
    assert call(live_server, field.input_value()) == 200


def test_confirming_the_password_keeps_the_form_data(open_page, ada):
    page = open_page()
    log_in(page, "/settings/keys/new/")
    page.get_by_label("Name").fill("typed with care")
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    expect(page.get_by_role("button", name="Create token")).to_be_visible()
    (cookie,) = (c for c in page.context.cookies() if c["name"] == "sessionid")
    session = SessionStore(cookie["value"])
    session["apikeys_logged_in_at"] = 0
    session.save()

    page.get_by_role("button", name="Create token").click()
    page.get_by_label("Password").fill(PASSWORD)
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_label("Name")).to_have_value("typed with care")
    payments = page.get_by_role("group", name="payments")
    expect(payments.get_by_label("Read and write")).to_be_checked()
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_label("Personal access token", exact=True)).to_be_visible()


@pytest.mark.parametrize(
    ("scheme", "width"),
    [
        ("light", 1280),
        ("dark", 375),
        pytest.param("dark", 1280, marks=pytest.mark.long),
        pytest.param("light", 375, marks=pytest.mark.long),
    ],
)
def test_pages_are_accessible(open_page, some_keys, scheme, width):
    """axe-core finds no violations, and no page is wider than the screen."""
    page = open_page(color_scheme=scheme, viewport={"width": width, "height": 800})
    found = {}

    def check(name):
        if faults := faults_of(page, width):
            found[name] = faults

    page.goto("/settings/keys/")
    check("log in")
    log_in(page)
    for path in PAGES:
        page.goto("/settings/keys/" + path.format(**some_keys))
        check(path)
    page.goto("/settings/keys/new/")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("alert")).to_be_visible()
    check("errors")
    page.get_by_label("Name").fill("desk")
    page.get_by_label("Custom").check()
    page.get_by_label("Last day").fill("2100-01-01")
    page.get_by_label("Only selected projects").check()
    page.get_by_label("Analytical Engine").check()
    page.get_by_role("group", name="payments").get_by_label("Read and write").check()
    expect(page.locator("#ak-summary")).to_contain_text("Make payments")
    check("filled in")
    page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("heading", name="Copy “desk” now")).to_be_visible()
    check("secret")
    page.reload()
    check("made already")

    assert found == {}


def test_browser_blocks_inline_scripts(open_page):
    """Prove that the fixture detects violations."""
    page = open_page(watched=False)
    log_in(page)
    with page.expect_console_message(lambda m: "Content Security Policy" in m.text):
        page.evaluate(
            "document.body.append(Object.assign(document.createElement('script'),"
            " {textContent: 'document.title = \"run\"'}))"
        )
    assert page.title() != "run"


@pytest.mark.parametrize("has_script", [True, False], ids=["script", "no script"])
def test_preset_keeps_the_name_and_the_enter_key_chooses_none(open_page, settings, has_script):
    preset = {"name": "CI", "scopes": ["payments:read"], "expires": 30}
    settings.APIKEYS = settings.APIKEYS | {"PRESETS": {"CI": preset}}
    page = open_page(java_script_enabled=has_script)
    log_in(page, "/settings/keys/new/")
    name = page.get_by_label("Name", exact=True)
    name.fill("Desk")
    page.get_by_role("button", name="CI", exact=True).click()
    expect(page.get_by_role("button", name="CI", exact=True)).to_have_attribute(
        "aria-current", "true"
    )
    expect(name).to_have_value("Desk")
    expect(page.locator("input[value='payments:read']")).to_be_checked()
    if has_script:
        expect(page.locator("#ak-summary")).to_contain_text("Desk")
    name.press("Enter")
    if not has_script:
        page.get_by_role("button", name="Create token").click()
    expect(page.get_by_role("heading", name="Copy “Desk” now")).to_be_visible()
