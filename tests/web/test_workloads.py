"""The pages of a project key that trusts a workload."""

import pytest

from apikeys import lifecycle, verify
from apikeys.models import ProjectKey
from tests.factories import mint_key
from tests.web.conftest import KEYS, TOKENS, open_form, text_of
from tests.workloads.conftest import workloads  # noqa: F401 - a fixture
from tests.workloads.issuer import SITE, TRUST, URL

pytestmark = pytest.mark.usefixtures("workloads")

FORM = {"name": "deploy", "expiry": "30", "scopes:payments": "payments:read"}
RULES = {"issuer": URL, "claims": "repository_id=123456789\r\nenvironment=production\r\n"}


@pytest.fixture
def key(engine):
    asked = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST}
    return lifecycle.mint(project=engine, **asked).key


def make(page, **changes):
    return page.post(f"{KEYS}new/", FORM | open_form(page, KEYS) | RULES | changes)


def test_new_key_shows_the_lines_to_paste_and_no_secret(page, engine):
    response = make(page)
    key = ProjectKey.objects.get()
    assert response.status_code == 200
    told = response.content.decode()
    assert "ACTIONS_ID_TOKEN_REQUEST_URL" in told
    assert f"client_id={key.public_id}" in told
    assert f"{SITE}/o/token/" in told
    assert "acme_key_" not in told
    assert "You will not be able to see it again" not in told


def test_review_says_that_there_is_no_secret(page, engine):
    assert "Has no secret" in text_of(make(page, step="review"))
    assert not ProjectKey.objects.exists()


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"claims": ""}, "Every repository on GitHub could use this key"),
        ({"claims": "repository=acme/app"}, "Use repository_id instead"),
        ({"claims": "repository_id"}, "Enter one rule per line"),
        ({"claims": "repository_id=1\nrepository_id=2"}, "Enter one rule per line"),
        ({"issuer": ""}, "Choose who runs the workload"),
        ({"issuer": "https://evil.example"}, "Select a valid choice"),
    ],
)
def test_unsafe_rules_are_refused_at_their_field(page, engine, changes, words):
    response = make(page, **changes)
    assert response.status_code == 422
    assert words in text_of(response)
    assert not ProjectKey.objects.exists()


def test_page_of_the_key_shows_the_rules(page, key):
    told = text_of(page.get(f"{KEYS}{key.public_id}/"))
    for words in (URL, "repository_id=123456789", f"aud={SITE}"):
        assert words in told
    assert "Replace the secret" not in told


def test_rules_are_edited(page, key):
    url = f"{KEYS}{key.public_id}/edit/"
    assert "repository_id=123456789" in page.get(url).content.decode()
    form = FORM | RULES | {"claims": "repository_id=2", "expiry": "keep"}
    assert page.post(url, form).status_code == 302
    key.refresh_from_db()
    assert '"repository_id":"2"' in key.trust
    assert "Workload changed from" in text_of(page.get(f"{KEYS}activity/"))


def test_key_is_rotated_with_new_rules(page, key):
    form = {"overlap": "3600", "expiry": "keep"} | RULES | {"claims": "repository_id=2"}
    response = page.post(f"{KEYS}{key.public_id}/rotate/", form)
    assert response.status_code == 200
    new = ProjectKey.objects.get(replaces=key)
    assert '"repository_id":"2"' in new.trust
    assert f"client_id={new.public_id}" in response.content.decode()


class TestConvert:
    def test_secret_works_during_the_overlap(self, page, engine):
        minted = mint_key(engine)
        url = f"{KEYS}{minted.key.public_id}/"
        assert "Replace the secret" in text_of(page.get(url))
        assert page.get(f"{url}convert/").status_code == 200
        response = page.post(f"{url}convert/", RULES | {"overlap": "3600"})
        assert response.status_code == 200
        assert f"client_id={minted.key.public_id}" in response.content.decode()
        assert verify.verify(minted.token).credential_id == minted.key.public_id
        assert "works until" in text_of(page.get(url))

    def test_unsafe_rules_change_nothing(self, page, engine):
        minted = mint_key(engine)
        form = RULES | {"overlap": "3600", "claims": "environment=production"}
        response = page.post(f"{KEYS}{minted.key.public_id}/convert/", form)
        assert response.status_code == 422
        assert ProjectKey.objects.get().trust == ""

    def test_member_who_may_not_manage_keys_is_refused(self, client, viewer, engine):
        minted = mint_key(engine)
        client.force_login(viewer)
        response = client.post(f"{KEYS}{minted.key.public_id}/convert/", RULES | {"overlap": "0"})
        assert response.status_code == 403
        assert ProjectKey.objects.get().trust == ""


def test_pages_of_tokens_have_no_workloads(page, engine):
    assert "Claims" not in text_of(page.get(f"{TOKENS}new/"))


def test_site_without_issuers_shows_nothing(page, engine, settings):
    settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
    assert "Claims" not in text_of(page.get(f"{KEYS}new/"))
    key = mint_key(engine).key
    assert "Replace the secret" not in text_of(page.get(f"{KEYS}{key.public_id}/"))
