"""A live scheme follows the table of the package that still creates and deletes keys."""

import hashlib
import hmac
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.core.checks import Warning as CheckWarning
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application
from rest_framework.authtoken.models import Token as DRFToken
from rest_framework_api_key.models import APIKey

from apikeys import lifecycle
from apikeys.legacy.checks import check_legacy
from apikeys.models import LegacyKey, PersonalAccessToken, ProjectKey
from tests.factories import ProjectFactory, UserFactory
from tests.legacy.billing.models import Organization, OrganizationKey, ScopedToken, Token
from tests.legacy.conftest import TOMORROW, YESTERDAY, api_key, authtoken_of, knox_of

pytestmark = [pytest.mark.urls("tests.legacy.conftest"), pytest.mark.django_db(transaction=True)]

LIVE = {"SCOPES": ["payments:read"]}
SCOPE = ["--scope", "payments:read"]


def hash_of(text):
    """The keyed hash that a site stored."""
    return hmac.digest(b"the site's own key", text.encode(), "sha256").hex()


@pytest.fixture
def live(takes):
    def live(scheme="authtoken", until=TOMORROW, verify=None, **options):
        given = {"UNTIL": until, "LIVE": LIVE | options}
        takes(**{scheme: given | ({"VERIFY": verify} if verify else {})})

    return live


def token(text):
    return {"Authorization": f"Token {text}"}


class TestAuthtoken:
    def test_a_token_created_there_works_at_the_next_request(self, live, get, ada):
        live()
        text = authtoken_of(ada)
        assert get(token(text)) == (200, PersonalAccessToken.objects.get().public_id)
        assert get(token(text))[0] == 200
        key = PersonalAccessToken.objects.get()
        assert (key.user, key.scopes) == (ada, ("payments:read",))

    def test_a_token_deleted_there_is_refused_at_the_next_request(self, live, get, ada):
        live()
        text = authtoken_of(ada)
        assert get(token(text))[0] == 200
        DRFToken.objects.all().delete()
        assert get(token(text)) == (401, "revoked_key")
        key = PersonalAccessToken.objects.get()
        assert key.revoked_reason == "Deleted in authtoken."

    def test_a_deleted_token_stays_refused_when_the_live_mode_ends(self, live, takes, get, ada):
        live()
        text = authtoken_of(ada)
        get(token(text))
        DRFToken.objects.all().delete()
        get(token(text))
        takes(authtoken=TOMORROW)
        assert get(token(text)) == (401, "revoked_key")

    def test_a_regenerated_token_replaces_the_old_one(self, live, get, ada):
        live()
        old = authtoken_of(ada)
        get(token(old))
        DRFToken.objects.all().delete()
        new = authtoken_of(ada)
        assert get(token(new))[0] == 200
        assert get(token(old)) == (401, "revoked_key")

    def test_a_token_revoked_here_is_refused_although_it_is_still_there(self, live, get, ada):
        live()
        text = authtoken_of(ada)
        get(token(text))
        lifecycle.revoke(PersonalAccessToken.objects.get())
        assert get(token(text)) == (401, "revoked_key")

    def test_a_token_deleted_here_does_not_come_back(self, live, get, ada):
        live()
        text = authtoken_of(ada)
        get(token(text))
        PersonalAccessToken.objects.all().delete()
        assert get(token(text)) == (401, "invalid_key")

    @pytest.mark.parametrize("change", [str.upper, lambda t: t[:-1], lambda t: t + "0"])
    def test_another_text_is_refused(self, live, get, ada, change):
        live()
        text = authtoken_of(ada, "a1b2c3d4e5f6" * 3 + "abcd")
        assert get(token(change(text))) == (401, "invalid_key")
        assert not PersonalAccessToken.objects.exists()

    def test_a_token_of_a_deactivated_user_is_refused(self, live, get, ada):
        live()
        text = authtoken_of(ada)
        type(ada).objects.update(is_active=False)
        assert get(token(text)) == (401, "inactive_user")
        assert not PersonalAccessToken.objects.exists()

    @pytest.mark.slow
    def test_a_weak_token_works_and_ends(self, live, get, ada):
        live()
        authtoken_of(ada, "letmein")
        assert get(token("letmein"))[0] == 200
        assert get(token("letmein"))[0] == 200
        DRFToken.objects.all().delete()
        assert get(token("letmein")) == (401, "revoked_key")

    def test_nothing_is_read_after_the_last_day(self, live, get, ada):
        live(until=YESTERDAY)
        assert get(token(authtoken_of(ada))) == (401, "legacy_ended")
        assert not PersonalAccessToken.objects.exists()

    def test_without_the_live_mode_a_new_token_is_unknown(self, takes, get, ada):
        takes(authtoken=TOMORROW)
        assert get(token(authtoken_of(ada))) == (401, "invalid_key")

    def test_the_table_costs_one_query(self, live, get, ada, django_assert_num_queries):
        live()
        text = authtoken_of(ada)
        get(token(text))
        with django_assert_num_queries(3):
            get(token(text))

    def test_an_import_revokes_what_was_deleted_there(self, live, get, ada, apikeys):
        live()
        bea = UserFactory(username="bea")
        gone, there = authtoken_of(ada), authtoken_of(bea)
        get(token(gone))
        get(token(there))
        DRFToken.objects.filter(user=ada).delete()
        bea.is_active = False
        bea.save()  # the token is still there
        done = apikeys("import", "--from", "authtoken", *SCOPE)
        assert "Revoked 1 imported keys" in done.err
        states = {key.user.username: key.revoked_at for key in PersonalAccessToken.objects.all()}
        assert states["ada"] is not None
        assert states["bea"] is None


class TestOwners:
    def test_a_token_given_to_another_user_there_ends(self, live, get, ada):
        live()
        text = authtoken_of(ada)
        assert get(token(text))[0] == 200
        DRFToken.objects.update(user=UserFactory(username="bob"))
        assert get(token(text)) == (401, "revoked_key")
        assert get(token(text)) == (401, "revoked_key")
        key = PersonalAccessToken.objects.get()
        assert (key.user, key.revoked_reason) == (ada, "The owner changed in authtoken.")

    def test_a_key_given_to_another_project_there_ends(self, live, get, project):
        live("drf_api_key", MODEL="billing.OrganizationKey", OWNER="organization")
        shop, other = (Organization.objects.create(slug=slug) for slug in ("shop", "other"))
        ProjectFactory(slug="other")
        _, text = OrganizationKey.objects.create_key(name="till", organization=shop)
        headers = {"Authorization": f"Api-Key {text}"}
        assert get(headers)[0] == 200
        OrganizationKey.objects.update(organization=other)
        assert get(headers) == (401, "revoked_key")
        assert ProjectKey.objects.get().revoked_at is not None

    def test_a_key_that_lost_its_owner_there_ends(self, live, get, project):
        ProjectFactory(slug="other")
        shape = {"MODEL": "billing.OrganizationKey", "OWNER": "project", "PROJECTS": ["other"]}
        live("drf_api_key", **shape)
        of = {"organization": Organization.objects.create(slug="x"), "project": project}
        _, text = OrganizationKey.objects.create_key(name="till", **of)
        _, ownerless = OrganizationKey.objects.create_key(name="till", **of | {"project": None})
        headers = {"Authorization": f"Api-Key {text}"}
        assert get(headers)[0] == 200
        OrganizationKey.objects.update(project=None)
        assert get(headers) == (401, "revoked_key")
        for _ in range(2):
            assert get({"Authorization": f"Api-Key {ownerless}"})[0] == 200

    def test_an_import_revokes_what_has_another_owner_there(self, live, get, ada, apikeys):
        live()
        bea = UserFactory(username="bea")
        texts = [authtoken_of(user) for user in (ada, bea)]
        assert [get(token(text))[0] for text in texts] == [200, 200]
        DRFToken.objects.filter(user=ada).update(user=UserFactory(username="bob"))
        done = apikeys("import", "--from", "authtoken", *SCOPE)
        assert "Revoked 1 imported keys" in done.err
        (revoked,) = PersonalAccessToken.objects.exclude(revoked_at=None)
        assert (revoked.user, revoked.revoked_reason) == (ada, "The owner changed in authtoken.")


class TestScopesOfTheTable:
    @pytest.fixture(autouse=True)
    def column(self, live):
        live(MODEL="billing.ScopedToken", FIELDS={"scopes": "scopes"}, SCOPES=["payments:read"])

    def scoped(self, user, scopes):
        return ScopedToken.objects.create(user=user, key="a1b2c3d4e5f6" * 3, scopes=scopes).key

    def test_a_token_has_the_scopes_of_its_row(self, get, ada):
        assert get(token(self.scoped(ada, "payments:write")))[0] == 200
        assert PersonalAccessToken.objects.get().scopes == ("payments:write",)

    @pytest.mark.parametrize("empty", ["", "  "])
    def test_an_empty_field_means_no_scopes(self, get, ada, empty, apikeys):
        text = self.scoped(ada, empty)
        assert get(token(text)) == (401, "invalid_key")
        words = ["--model", "billing.ScopedToken", "--field", "scopes=scopes"]
        done = apikeys("import", "--from", "authtoken", *words, *SCOPE, "--json")
        assert (done.json["imported"], done.json["skipped"]) == (0, {"scope_required": 1})
        assert not PersonalAccessToken.objects.exists()

    def test_scopes_removed_there_count_at_the_next_request(self, get, ada):
        text = self.scoped(ada, "payments:read reports:read")
        assert get(token(text))[0] == 200
        for scopes, answer in {
            "reports:read": (403, "insufficient_scope"),
            "reports:read unknown:scope": (403, "insufficient_scope"),
            "": (401, "invalid_key"),
        }.items():
            ScopedToken.objects.update(scopes=scopes)
            assert get(token(text)) == answer
        ScopedToken.objects.update(scopes="payments:write")
        assert get(token(text))[0] == 200

    def test_scopes_added_there_do_not_count(self, get, ada):
        text = self.scoped(ada, "reports:read")
        assert get(token(text)) == (403, "insufficient_scope")
        ScopedToken.objects.update(scopes="reports:read payments:read")
        assert get(token(text)) == (403, "insufficient_scope")


class TestSlowHashes:
    """The prefix of such a key is public."""

    @pytest.mark.parametrize("change", [{}, {"revoked": True}, {"expiry_date": timezone.now()}])
    def test_the_prefix_alone_reveals_and_imports_nothing(self, live, get, project, change):
        live("drf_api_key", PROJECTS=["shop"])
        text = slow_api_key(**change)
        prefix = text.partition(".")[0]
        for guess in (f"{prefix}.wrong4f1c9a0d77b24f0f9b7d", f"{prefix}.x1", f"{text}x"):
            assert get({"Authorization": f"Api-Key {guess}"}) == (401, "invalid_key")
        assert not ProjectKey.objects.exists()

    def test_the_right_secret_is_taken_and_followed(self, live, get, project):
        live("drf_api_key", PROJECTS=["shop"])
        headers = {"Authorization": f"Api-Key {slow_api_key()}"}
        assert [get(headers)[0] for _ in range(2)] == [200, 200]
        APIKey.objects.update(revoked=True)
        assert get(headers) == (401, "revoked_key")

    def test_guesses_are_limited(self, live, get, project, settings):
        live("drf_api_key", PROJECTS=["shop"])
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 2}
        prefix = slow_api_key().partition(".")[0]
        answers = [
            get({"Authorization": f"Api-Key {prefix}.wrong4f1c9a0d77b24f0f9b{number}"})[1]
            for number in range(3)
        ]
        assert answers == ["invalid_key", "invalid_key", "verification_busy"]


def slow_api_key(**changes):
    """Create a key as djangorestframework-api-key before version 3 stored it."""
    text = api_key()
    APIKey.objects.update(hashed_key=make_password(text), **changes)
    return text


class TestBearer:
    """The table is read last, because the text may be the secret of someone else."""

    @pytest.fixture(autouse=True)
    def bearer(self, takes):
        takes(authtoken={"UNTIL": TOMORROW, "HEADERS": ["Bearer"], "LIVE": LIVE})

    def sent(self, text):
        with CaptureQueriesContext(connection) as queries:
            response = Client().get("/plain/", headers={"Authorization": f"Bearer {text}"})
        read = [each["sql"] for each in queries if DRFToken._meta.db_table in each["sql"]]
        return response.status_code, response.json().get("code"), any(text in sql for sql in read)

    def test_an_oauth_token_is_not_looked_up_there(self, ada):
        text = "s3cret-0auth-token-of-ada-123456789"
        end = timezone.now() + timedelta(minutes=5)
        AccessToken.objects.create(
            user=ada,
            application=Application.objects.create(client_id="cli"),
            token=text,
            scope="payments:write",
            expires=end,
        )
        assert self.sent(text) == (200, None, False)

    @pytest.mark.parametrize("text", ["a1b2c3d4" * 6, "e1y.a2b.c3d-4f1c9a0d77b24f0f9b7d"])
    def test_a_text_that_cannot_be_there_is_not_looked_up(self, db, text):
        assert self.sent(text) == (401, "invalid_token", False)

    def test_other_texts_are_looked_up(self, ada):
        text = authtoken_of(ada)
        assert self.sent(text) == (200, None, True)
        assert self.sent(text)[0] == 200
        assert self.sent(text[:-1] + ("y" if text.endswith("x") else "x")) == (
            401,
            "invalid_token",
            True,
        )


def test_knox_tokens_work_until_they_are_deleted_there(live, get, ada):
    from knox.models import get_token_model

    live("knox")
    text = knox_of(ada)
    assert get(token(text))[0] == 200
    get_token_model().objects.all().delete()
    assert get(token(text)) == (401, "revoked_key")


def test_an_expired_knox_token_is_refused(live, get, ada):
    from knox.models import get_token_model

    live("knox")
    text = knox_of(ada)
    get_token_model().objects.update(expiry=timezone.now())
    assert get(token(text)) == (401, "expired_key")


def test_api_keys_work_until_they_are_revoked_there(live, get, project):
    live("drf_api_key", PROJECTS=["shop"])
    text = api_key()
    headers = {"Authorization": f"Api-Key {text}"}
    assert get({"Authorization": f"Api-Key {text[:-1]}x"}) == (401, "invalid_key")
    assert get(headers) == (200, ProjectKey.objects.get().public_id)
    APIKey.objects.update(revoked=True)
    assert get(headers) == (401, "revoked_key")
    assert ProjectKey.objects.get().revoked_at is not None


def test_a_project_that_does_not_exist_is_logged(live, get, caplog):
    live("drf_api_key", PROJECTS=["nowhere"])
    assert get({"Authorization": f"Api-Key {api_key()}"}) == (401, "invalid_key")
    assert "nowhere" in caplog.text


class TestOtherShapes:
    def test_a_table_of_another_shape_is_followed(self, live, get, project):
        live("drf_api_key", MODEL="billing.OrganizationKey", OWNER="organization")
        shop = Organization.objects.create(slug="shop")
        made, text = OrganizationKey.objects.create_key(name="till", organization=shop)
        headers = {"Authorization": f"Api-Key {text}"}
        assert get(headers) == (200, ProjectKey.objects.get().public_id)
        assert ProjectKey.objects.get().project == project
        made.delete()
        assert get(headers) == (401, "revoked_key")

    def test_keyed_hashes_are_imported_with_the_sites_function(self, apikeys, ada, takes, get):
        text = "live-4f1c9a0d77b24f0f9b7d"
        Token.objects.create(user=ada, key=hash_of(text)[:40])
        takes(authtoken={"UNTIL": TOMORROW, "VERIFY": "tests.legacy.test_live.short_hash_of"})
        words = ["--model", "billing.Token", "--field", "hash=key"]
        done = apikeys("import", "--from", "authtoken", *words, *SCOPE, "--json")
        assert done.json["imported"] == 1
        assert get(token(text))[0] == 200
        assert get(token(text))[0] == 200
        assert get(token(hash_of(text)[:40])) == (401, "invalid_key")
        assert get(token(text[:-1])) == (401, "invalid_key")
        assert LegacyKey.objects.get().hash == ""

    def test_a_keyed_hash_without_the_function_is_refused(self, apikeys, ada, takes):
        Token.objects.create(user=ada, key=hash_of("x")[:40])
        takes(authtoken=TOMORROW)
        words = ["--model", "billing.Token", "--field", "hash=key"]
        done = apikeys("import", "--from", "authtoken", *words, *SCOPE, "--json", "--dry-run")
        assert (done.json["imported"], done.json["skipped"]) == (0, {"unsupported_hash": 1})
        assert "VERIFY" in done.json["keys"][0]["detail"]

    @pytest.mark.parametrize("stored", ["hmac-sha256$" + "0" * 64, "0" * 64, "hmac$k$" + "0" * 64])
    def test_an_hmac_in_a_file_is_refused(self, apikeys, ada, stored):
        given = f"hash,user\n{stored},ada\n"
        done = apikeys("import", "--from", "csv", "-", *SCOPE, "--json", stdin=given)
        assert (done.json["imported"], done.json["skipped"]) == (0, {"unsupported_hash": 1})

    def test_an_hmac_in_a_file_works_with_the_function(self, apikeys, ada, takes, get):
        takes(csv={"UNTIL": TOMORROW, "VERIFY": "tests.legacy.test_live.hash_of"})
        text = "live-4f1c9a0d77b24f0f9b7d"
        given = f"hash,user\n{hash_of(text)},ada\n"
        done = apikeys("import", "--from", "csv", "-", *SCOPE, "--json", stdin=given)
        assert done.json["imported"] == 1
        assert get({"X-Api-Key": text})[0] == 200

    def test_keyed_hashes_are_followed(self, live, get, ada):
        live(MODEL="billing.Token", FIELDS={"hash": "key"}, verify=short_hash_of)
        text = "live-4f1c9a0d77b24f0f9b7d"
        row = Token.objects.create(user=ada, key=short_hash_of(text))
        assert get(token(text))[0] == 200
        row.delete()
        assert get(token(text)) == (401, "revoked_key")


def short_hash_of(text):
    return hash_of(text)[:40]


def test_unkeyed_hashes_of_a_column_are_imported(apikeys, ada, takes, get, monkeypatch):
    text = "live-4f1c9a0d77b24f0f9b7d"
    Token.objects.create(user=ada, key="md5$" + hashlib.md5(text.encode()).hexdigest())
    takes(authtoken=TOMORROW)
    words = ["--model", "billing.Token", "--field", "hash=key"]
    apikeys("import", "--from", "authtoken", *words, *SCOPE)
    assert get(token(text))[0] == 200


def test_a_token_without_an_owner_goes_to_the_project(apikeys, takes, get):
    from rest_framework_api_key.models import APIKey  # noqa: F401

    ProjectFactory(slug="shop")
    shop = Organization.objects.create(slug="shop")
    _, text = OrganizationKey.objects.create_key(name="till", organization=shop)
    takes(drf_api_key=TOMORROW)
    words = ["--model", "billing.OrganizationKey", "--owner", "project"]  # it is empty
    done = apikeys("import", "--from", "drf-api-key", *words, *SCOPE, "--json")
    assert done.json["skipped"] == {"project_required": 1}
    apikeys("import", "--from", "drf-api-key", *words, *SCOPE, "--project", "shop")
    assert get({"Authorization": f"Api-Key {text}"})[0] == 200
    assert ProjectKey.objects.get().project.slug == "shop"


class TestChecks:
    def ids(self):
        return [each.id for each in check_legacy() if isinstance(each, CheckWarning)]

    def test_a_predecessor_without_a_choice_is_named(self, takes, live):
        takes(knox=TOMORROW)
        messages = [each.msg for each in check_legacy() if each.id == "apikeys.W052"]
        assert ["authtoken" in messages[0], "rest_framework_api_key" in messages[1]] == [True, True]
        assert len(messages) == 2

    def test_no_predecessor_no_warning(self, settings):
        apps = [a for a in settings.INSTALLED_APPS if "authtoken" not in a and a != "knox"]
        settings.INSTALLED_APPS = [a for a in apps if a != "rest_framework_api_key"]
        assert "apikeys.W052" not in self.ids()

    @pytest.mark.parametrize(
        "given",
        [
            {"LIVE": {}, "NOTHING": 1},
            {"LIVE": True},
            {"LIVE": {"PROJECTS": ["shop"]}},
            {"LIVE": {"SCOPES": "payments:read"}},
            {"LIVE": {"SCOPES": ["no:such"]}},
            {"LIVE": {"SCOPES": ["payments:read"], "FIELDS": "key"}},
            {"LIVE": {"SCOPES": ["payments:read"], "PROJECTS": "shop"}},
            {"LIVE": {"SCOPES": ["payments:read"], "TABLE": "x"}},
            {"VERIFY": "no.such.function"},
            {"VERIFY": 7},
        ],
    )
    def test_an_invalid_entry_is_an_error(self, takes, given):
        takes(authtoken={"UNTIL": TOMORROW} | given)
        assert "apikeys.E051" in [each.id for each in check_legacy()]

    @pytest.mark.parametrize(
        "shape",
        [
            {"MODEL": "no.such"},
            {"FIELDS": {"key": "nope"}},
            {"FIELDS": {"nope": "key"}},
            {"OWNER": "nope"},
        ],
    )
    def test_a_table_that_cannot_be_read_is_an_error(self, takes, shape):
        takes(authtoken={"UNTIL": TOMORROW, "LIVE": LIVE | shape})
        (message,) = [each.msg for each in check_legacy() if each.id == "apikeys.E051"]
        assert "LIVE of 'authtoken' cannot read its table." in message
        assert "nope" in message or "no.such" in message

    def test_a_table_that_is_no_longer_read_is_not_looked_for(self, takes):
        takes(authtoken={"UNTIL": YESTERDAY, "LIVE": LIVE | {"MODEL": "no.such"}})
        assert "apikeys.E051" not in [each.id for each in check_legacy()]

    def test_a_package_that_was_removed_too_early_is_an_error(self, takes, settings):
        takes(knox={"UNTIL": TOMORROW, "LIVE": LIVE})
        assert "apikeys.E051" not in [each.id for each in check_legacy()]
        settings.INSTALLED_APPS = [app for app in settings.INSTALLED_APPS if app != "knox"]
        (message,) = [each.msg for each in check_legacy() if each.id == "apikeys.E051"]
        assert "Keep the old package in INSTALLED_APPS" in message

    def test_a_file_cannot_be_live(self, takes):
        takes(csv={"UNTIL": TOMORROW, "LIVE": LIVE})
        assert "apikeys.E051" in [each.id for each in check_legacy()]
