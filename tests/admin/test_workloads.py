"""Project keys that trust a workload, in the admin."""

import html

import pytest
from django.contrib.admin.models import LogEntry

from apikeys import lifecycle
from apikeys.models import AuditEvent, ProjectKey
from tests.admin.conftest import KEYS, TOKENS, mint_form
from tests.factories import mint_key
from tests.workloads.conftest import workloads  # noqa: F401 - a fixture
from tests.workloads.issuer import SITE, TRUST, URL

pytestmark = pytest.mark.usefixtures("workloads")

RULES = {"issuer": URL, "claims": "repository_id=123456789\r\nenvironment=production"}


def text_of(response):
    return html.unescape(response.content.decode())


def add(client, project, **changes):
    form = {"all_projects": None, "project": project.pk} | RULES | changes
    return client.post(f"{KEYS}add/", mint_form(**form))


@pytest.fixture
def key(engine):
    asked = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST}
    return lifecycle.mint(project=engine, **asked).key


def edit(client, key, **changes):
    form = {"name": key.name, "scopes": ["payments:read"], "direct_use": "on"} | RULES | changes
    return client.post(f"{KEYS}{key.pk}/change/", form)


class TestCreate:
    def test_lines_to_paste_take_the_place_of_the_secret(self, client, root, engine):
        response = add(client, engine)
        key = ProjectKey.objects.get()
        assert response.status_code == 200
        told = text_of(response)
        assert f"client_id={key.public_id}" in told
        assert f"{SITE}/o/token/" in told
        assert "acme_key_" not in told
        assert 'id="token"' not in told
        assert (key.digest, key.direct_use) == ("", False)
        assert '"repository_id":"123456789"' in key.trust
        assert AuditEvent.objects.get().by == "root"

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"claims": ""}, "Every repository on GitHub could use this key"),
            ({"claims": "repository=acme/app"}, "Use repository_id instead"),
            ({"claims": "repository_id=*"}, "It cannot contain *"),
            ({"claims": "repository_id"}, "Enter one rule per line"),
            ({"issuer": ""}, "Choose who runs the workload"),
            ({"issuer": "https://evil.example"}, "Select a valid choice"),
        ],
    )
    def test_unsafe_rules_are_refused_at_their_field(self, client, root, engine, changes, words):
        response = add(client, engine, **changes)
        assert words in str(response.context["errors"])
        assert not ProjectKey.objects.exists()

    def test_no_issuer_means_a_secret(self, client, root, engine):
        assert 'id="token"' in text_of(add(client, engine, issuer="", claims=""))
        assert ProjectKey.objects.get().trust == ""

    def test_tokens_of_users_ignore_the_fields(self, client, root):
        form = {"user": root.pk} | RULES
        assert 'id="token"' in text_of(client.post(f"{TOKENS}add/", mint_form(**form)))
        assert 'name="claims"' not in text_of(client.get(f"{TOKENS}add/"))

    def test_site_without_issuers_shows_no_fields(self, client, root, settings):
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
        assert 'name="claims"' not in text_of(client.get(f"{KEYS}add/"))

    def test_permission_to_add_is_required(self, client, staff, engine):
        client.force_login(staff("view", "change"))
        assert add(client, engine).status_code == 403
        assert not ProjectKey.objects.exists()


class TestEdit:
    def test_page_shows_the_rules(self, client, root, key):
        told = text_of(client.get(f"{KEYS}{key.pk}/change/"))
        assert f"{URL} environment=production repository_id=123456789 aud={SITE}" in told
        assert "environment=production\nrepository_id=123456789</textarea>" in told

    def test_rules_are_replaced_and_written_to_the_history(self, client, root, key):
        assert edit(client, key, claims="repository_id=2").status_code == 302
        key.refresh_from_db()
        assert '"repository_id":"2"' in key.trust
        assert "environment" not in key.trust
        message = LogEntry.objects.get().get_change_message()
        assert f"to “{URL} repository_id=2 aud={SITE}”" in message

    def test_new_name_leaves_the_rules(self, client, root, key):
        before = key.trust
        response = edit(client, key, name="other")
        assert response.status_code == 302, response.context["errors"]
        key.refresh_from_db()
        assert (key.name, key.trust) == ("other", before)
        assert set(AuditEvent.objects.filter(event="edited").get().changes) == {"name"}

    def test_direct_use_needs_an_issuer_that_allows_it(self, client, root, key):
        response = edit(client, key, direct_use="")
        assert "Exchange them at the token endpoint" in str(response.context["errors"])

    def test_key_of_a_removed_issuer_can_be_renamed(self, client, root, key, settings):
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {"gitlab": {}}}
        before = key.trust
        assert edit(client, key, name="other").status_code == 302
        key.refresh_from_db()
        assert (key.name, key.trust) == ("other", before)

    @pytest.mark.parametrize(
        ("changes", "words"),
        [
            ({"claims": ""}, "Every repository on GitHub could use this key"),
            ({"issuer": ""}, "This field is required"),
            ({"claims": "sub=repo:acme/app"}, "Use repository_id instead"),
        ],
    )
    def test_unsafe_rules_change_nothing(self, client, root, key, changes, words):
        before = key.trust
        response = edit(client, key, **changes)
        assert words in str(response.context["errors"])
        key.refresh_from_db()
        assert key.trust == before

    def test_key_with_a_secret_has_no_rules_to_edit(self, client, root, engine):
        key = mint_key(engine).key
        assert 'name="claims"' not in text_of(client.get(f"{KEYS}{key.pk}/change/"))
        edit(client, key)
        key.refresh_from_db()
        assert key.trust == ""

    def test_view_permission_changes_nothing(self, client, staff, key):
        client.force_login(staff("view"))
        before = key.trust
        assert edit(client, key, claims="repository_id=2").status_code == 403
        told = text_of(client.get(f"{KEYS}{key.pk}/change/"))
        assert "repository_id=123456789" in told
        assert 'name="claims"' not in told
        key.refresh_from_db()
        assert key.trust == before

    @pytest.mark.parametrize(
        "ended", [lifecycle.revoke, lambda key: lifecycle.rotate(key, trust=TRUST)]
    )
    def test_ended_key_is_not_edited(self, client, root, key, ended):
        ended(key)
        before = key.trust
        edit(client, key, claims="repository_id=2")
        key.refresh_from_db()
        assert key.trust == before


def test_pending_key_is_approved(client, root, key):
    ProjectKey.objects.update(is_pending=True)
    form = {"action": "approve_selected", "_selected_action": [key.pk], "confirmed": "yes"}
    client.post(KEYS, form)
    key.refresh_from_db()
    assert key.state() == "live"


def test_rotation_chain_links_keys_with_rules(client, root, key):
    new = lifecycle.rotate(key, trust=TRUST).key
    told = text_of(client.get(f"{KEYS}{new.pk}/change/"))
    assert f"{KEYS}{key.pk}/change/" in told


def test_converted_key_shows_when_its_secret_ends(client, root, engine):
    key = mint_key(engine).key
    lifecycle.convert(key, trust=TRUST)
    told = text_of(client.get(f"{KEYS}{key.pk}/change/"))
    assert "repository_id=123456789" in told
    assert "secret ends at" in told.lower()
