"""The consent page in a browser: ticking a project selects "only these"."""

from urllib.parse import urlencode

import pytest

from apikeys.oauth.models import Consent

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]


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


def test_ticking_a_project_selects_only_these(open_page):
    page = open_page()

    page.get_by_label("Two", exact=True).check()
    assert page.get_by_label("Only these").is_checked()
    page.get_by_label("All your projects").check()
    assert not page.get_by_label("Two", exact=True).is_checked()


def test_ticking_a_project_without_javascript_shows_the_form_again(open_page):
    page = open_page(java_script_enabled=False)

    page.get_by_label("Two", exact=True).check()
    page.get_by_role("button", name="Authorize").click()

    assert page.get_by_text("You selected projects").is_visible()
    assert page.get_by_label("Only these").is_checked()
    assert page.get_by_label("Two", exact=True).is_checked()
    assert not Consent.objects.exists()
