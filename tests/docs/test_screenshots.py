"""The pictures of the settings pages, taken of the example. `UPDATE_DOCS=1` puts them into docs."""

from datetime import timedelta

import pytest
from django.utils import timezone
from playwright.sync_api import expect

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, PersonalAccessTokenUsage
from tests.docs.screenshots import take
from tests.factories import PASSWORD

pytestmark = [pytest.mark.browser, pytest.mark.django_db(transaction=True)]

USES = [23, 8, 9, 5, 0, 21, 17, 2, 4, 2, 2, 24, 1, 19, 12, 9, 2, 14, 3, 15, 2, 18, 4, 17, 12, 2, 3]


@pytest.fixture
def ada_with_tokens(ada, settings):
    """With tokens in all states, some of them used."""
    settings.DEMO = True
    now = timezone.now()

    def mint(name, *scopes, days=None, **kwargs):
        expires = now + timedelta(days=days, minutes=1) if days else None
        return lifecycle.mint(user=ada, name=name, scopes=scopes, expires_at=expires, **kwargs).key

    def use(key, factor):
        PersonalAccessTokenUsage.objects.bulk_create(
            PersonalAccessTokenUsage(
                key=key, day=(now - timedelta(days=ago)).date(), count=factor * count
            )
            for ago, count in enumerate(USES, start=1)
        )
        PersonalAccessToken.objects.filter(pk=key.pk).update(
            last_used_at=now - timedelta(hours=3, minutes=1), last_used_ip="203.0.113.7"
        )

    laptop = mint("laptop", "payments:read", "reports:read", days=24)
    use(laptop, 17)
    engine = [ada.project_memberships.get().project]
    mint("nightly report", "reports:read", days=3, projects=engine)
    use(mint("deploy from CI", "payments:write"), 20)
    lifecycle.rotate(laptop, by=ada)
    return ada


@pytest.fixture
def page_of(chromium, live_server, ada_with_tokens):
    contexts = []

    def page_of(url, width, height, scheme="light"):
        context = chromium.new_context(
            base_url=live_server.url,
            locale="en",
            color_scheme=scheme,
            viewport={"width": width, "height": height},
        )
        context.set_default_timeout(60_000)
        contexts.append(context)
        page = context.new_page()
        page.goto(url)
        page.get_by_label("Username").fill("ada")
        page.get_by_label("Password").fill(PASSWORD)
        page.get_by_role("main").get_by_role("button", name="Log in").click()
        expect(page.get_by_role("button", name="Log out")).to_be_visible()
        return page

    yield page_of
    for context in contexts:
        context.close()


def test_lists(page_of):
    page = page_of("/settings/keys/", 1000, 830)
    expect(page.get_by_text("being replaced")).to_be_visible()
    take(page, "pages-list")

    page = page_of("/settings/keys/", 375, 800, scheme="dark")
    expect(page.get_by_text("being replaced")).to_be_visible()
    take(page, "pages-dark", whole=True)


def test_minting(page_of):
    page = page_of("/settings/keys/new/", 1000, 800)
    page.get_by_label("Name").fill("backup script")
    page.get_by_role("group", name="payments").get_by_label("Read").first.check()
    expect(page.locator("#ak-summary")).to_contain_text("See payments")
    take(page, "pages-mint", whole=True)

    page.get_by_role("button", name="Create token").click()
    field = page.get_by_label("Personal access token", exact=True)
    expect(field).to_be_visible()
    # It is a picture of a secret of nobody, and shows how long one is.
    field.evaluate("field => { field.value = 'acme_pat_7k2m4q0x9c1v8b3n_' + 'x'.repeat(49) }")
    page.get_by_label("Try it").evaluate(
        """field => {
            field.value = field.value.replace(/acme_\\w+/, 'acme_pat_7k2m4q0x9c1v8b3n_xxx…')
                .replace(/http.*/, 'https://acme.example/api/payments/')
        }"""
    )
    page.set_viewport_size({"width": 1000, "height": 690})
    take(page, "pages-secret")
