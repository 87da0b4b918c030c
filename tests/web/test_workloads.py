"""The pages of a project key that trusts a workload."""

import pytest

from apikeys import lifecycle, verify
from apikeys.models import AuditEvent, ProjectKey
from tests.factories import mint_key, mint_pat
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
    assert "Use a workload instead of the secret" not in told


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
    @pytest.mark.slow
    def test_secret_works_during_the_overlap(self, page, engine):
        minted = mint_key(engine)
        url = f"{KEYS}{minted.key.public_id}/"
        assert "Use a workload instead of the secret" in text_of(page.get(url))
        assert page.get(f"{url}convert/").status_code == 200
        response = page.post(f"{url}convert/", RULES | {"overlap": "3600"})
        assert response.status_code == 200
        assert f"client_id={minted.key.public_id}" in response.content.decode()
        assert "It has no secret" not in text_of(response)
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
    shown = text_of(page.get(f"{KEYS}{key.public_id}/"))
    assert "Use a workload instead of the secret" not in shown


@pytest.fixture
def old_login(page):
    """Make the log-in too old for what needs a recent one."""
    session = page.session
    session["apikeys_logged_in_at"] -= 16 * 60
    session.save()
    return page


def stored(key):
    return ProjectKey.objects.get(pk=key.pk).trust


class TestEdit:
    FORM = FORM | RULES | {"expiry": "keep", "exchange_only": "on"}

    def test_new_name_leaves_the_rules(self, page, key):
        before = key.trust
        page.post(f"{KEYS}{key.public_id}/edit/", self.FORM | {"name": "other"})
        assert stored(key) == before
        assert set(AuditEvent.objects.filter(event="edited").get().changes) == {"name"}

    def test_audience_of_the_key_stays(self, page, engine, settings):
        """The form does not show it."""
        second = "https://second.example"
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_AUDIENCES": [SITE, second]}
        trust = TRUST | {"audience": second}
        key = lifecycle.mint(project=engine, name="x", scopes=["payments:read"], trust=trust).key
        for claims in (RULES["claims"], "repository_id=2"):
            form = self.FORM | {"claims": claims}
            assert page.post(f"{KEYS}{key.public_id}/edit/", form).status_code == 302
            assert f'"audience":"{second}"' in stored(key)
        form = {"overlap": "0", "expiry": "keep"} | RULES
        page.post(f"{KEYS}{key.public_id}/rotate/", form)
        assert f'"audience":"{second}"' in ProjectKey.objects.get(replaces=key).trust

    def test_audience_that_the_site_has_given_up_is_replaced(self, page, key, settings):
        settings.APIKEYS = {**settings.APIKEYS, "SITE_URL": "https://new.example"}
        assert page.post(f"{KEYS}{key.public_id}/edit/", self.FORM).status_code == 302
        assert '"audience":"https://new.example"' in stored(key)

    def test_key_of_a_removed_issuer_can_be_renamed(self, page, key, settings):
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {"gitlab": {}}}
        url, before = f"{KEYS}{key.public_id}/edit/", key.trust
        assert f'<option value="{URL}" selected' in page.get(url).content.decode()
        response = page.post(url, self.FORM | {"name": "other"})
        assert response.status_code == 302, text_of(response)
        assert stored(key) == before
        response = page.post(url, self.FORM | {"claims": "repository_id=2"})
        assert response.status_code == 422
        assert "does not trust this issuer" in text_of(response)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"claims": "environment=production"}, "Every repository on GitHub could use this key"),
            ({"issuer": ""}, "This field is required"),
            ({"issuer": "https://evil.example"}, "Select a valid choice"),
        ],
    )
    def test_unsafe_rules_change_nothing(self, page, key, changes, words):
        before = key.trust
        response = page.post(f"{KEYS}{key.public_id}/edit/", self.FORM | changes)
        assert response.status_code == 422
        assert words in text_of(response)
        assert stored(key) == before

    def test_recent_login_is_required_for_other_workloads_only(self, old_login, key):
        url, before = f"{KEYS}{key.public_id}/edit/", key.trust
        response = old_login.post(url, self.FORM | {"claims": "repository_id=2"})
        assert (response.status_code, stored(key)) == (302, before)
        assert "/confirm/" in response["Location"]
        narrow = self.FORM | {"claims": f"{RULES['claims']}ref=refs/heads/main"}
        assert old_login.post(url, narrow)["Location"] == f"{KEYS}{key.public_id}/"
        assert '"ref"' in stored(key)

    def test_viewer_is_refused(self, client, viewer, key):
        client.force_login(viewer)
        before = key.trust
        response = client.post(f"{KEYS}{key.public_id}/edit/", self.FORM | {"claims": "sub=x"})
        assert (response.status_code, stored(key)) == (403, before)

    def test_key_with_a_secret_ignores_the_fields(self, page, engine):
        key = mint_key(engine).key
        page.post(f"{KEYS}{key.public_id}/edit/", self.FORM)
        assert stored(key) == ""


class TestRotate:
    FORM = {"overlap": "3600", "expiry": "keep"} | RULES

    def test_unsafe_rules_change_nothing(self, page, key):
        form = self.FORM | {"claims": "ref=refs/heads/main"}
        response = page.post(f"{KEYS}{key.public_id}/rotate/", form)
        assert response.status_code == 422
        assert ProjectKey.objects.get().rotated_at is None

    def test_recent_login_is_required(self, old_login, key):
        response = old_login.post(f"{KEYS}{key.public_id}/rotate/", self.FORM)
        assert "/confirm/" in response["Location"]
        assert ProjectKey.objects.get().rotated_at is None

    def test_second_rotation_is_a_conflict(self, page, key):
        url = f"{KEYS}{key.public_id}/rotate/"
        assert page.post(url, self.FORM).status_code == 200
        assert page.post(url, self.FORM).status_code == 409

    def test_viewer_is_refused(self, client, viewer, key):
        client.force_login(viewer)
        assert client.post(f"{KEYS}{key.public_id}/rotate/", self.FORM).status_code == 403
        assert ProjectKey.objects.get() == key


class TestConvertRefusals:
    FORM = RULES | {"overlap": "3600"}

    def test_recent_login_is_required(self, old_login, engine):
        key = mint_key(engine).key
        response = old_login.post(f"{KEYS}{key.public_id}/convert/", self.FORM)
        assert "/confirm/" in response["Location"]
        assert stored(key) == ""

    @pytest.mark.parametrize("overlap", ["-1", "604801", "soon", ""])
    def test_overlap_is_one_of_the_choices(self, page, engine, overlap):
        key = mint_key(engine).key
        form = self.FORM | {"overlap": overlap}
        assert page.post(f"{KEYS}{key.public_id}/convert/", form).status_code == 422
        assert stored(key) == ""

    def test_key_that_trusts_a_workload_is_not_converted(self, page, key):
        before, url = key.trust, f"{KEYS}{key.public_id}/"
        assert page.get(f"{url}convert/")["Location"] == url
        form = self.FORM | {"claims": "repository_id=2"}
        assert page.post(f"{url}convert/", form)["Location"] == url
        assert stored(key) == before

    def test_tokens_of_users_have_no_such_page(self, page, ada):
        key = mint_pat(ada).key
        url = f"{TOKENS}{key.public_id}/convert/"
        assert page.post(url, self.FORM).status_code in (302, 404)
        key.refresh_from_db()
        assert key.state() == "live"

    def test_key_of_another_project_is_not_found(self, page, engine):
        key = mint_key().key
        assert page.post(f"{KEYS}{key.public_id}/convert/", self.FORM).status_code == 404
        assert stored(key) == ""


def test_review_shows_the_rules(page, engine):
    told = text_of(make(page, step="review"))
    for words in ("repository_id=123456789", f"aud={SITE}", "The workload that uses deploy"):
        assert words in told
    assert "Anyone who has" not in told


def test_activity_says_that_the_key_is_exchanged_only(page, key):
    assert "Exchange only: yes" in text_of(page.get(f"{KEYS}activity/"))


def test_duplicate_has_the_rules(page, key):
    told = page.get(f"{KEYS}new/?from={key.public_id}").content.decode()
    assert f'<option value="{URL}" selected' in told
    assert "environment=production\nrepository_id=123456789</textarea>" in told
    assert "You get a new secret" not in told


def test_duplicate_names_an_issuer_that_the_site_no_longer_trusts(page, key, settings):
    settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {"gitlab": {}}}
    response = page.get(f"{KEYS}new/?from={key.public_id}")
    assert URL in text_of(response)
    assert "repository_id=123456789</textarea>" not in response.content.decode()


class TestApprovals:
    def test_approver_sees_the_rules(self, page, key):
        ProjectKey.objects.update(is_pending=True)
        told = text_of(page.get(f"{TOKENS}approvals/"))
        assert "repository_id=123456789" in told
        assert f"aud={SITE}" in told

    def test_pending_key_is_approved(self, page, key):
        ProjectKey.objects.update(is_pending=True)
        url = f"{TOKENS}approvals/key/{key.public_id}/"
        page.post(url, {"decision": "approve"})
        assert ProjectKey.objects.get().state() == "live"


def test_rules_of_others_are_shown_as_text(page, engine):
    """A glob may contain markup."""
    claims = {"repository_id": 1, "ref": "<script>alert(1)</script>"}
    trust = {"issuer": "github", "claims": claims}
    key = lifecycle.mint(project=engine, name="x", scopes=["payments:read"], trust=trust).key
    for path in (f"{key.public_id}/", f"{key.public_id}/edit/", "activity/"):
        told = page.get(f"{KEYS}{path}").content.decode()
        assert "&lt;script&gt;alert" in told
        assert "<script>alert" not in told
