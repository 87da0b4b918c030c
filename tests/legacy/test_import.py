"""Imported keys of other packages keep working unchanged, only in their old header."""

import hashlib
import json
from datetime import timedelta

import pytest
from django.contrib.auth.hashers import make_password
from django.db import connection
from django.utils import timezone

from apikeys import lifecycle, refusals, usage
from apikeys.models import AuditEvent, EndedUse, LegacyKey, PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from tests.factories import ProjectFactory, UserFactory, bearer
from tests.legacy.billing.models import Organization, OrganizationKey, Token
from tests.legacy.conftest import (
    PATHS,
    TOMORROW,
    YESTERDAY,
    api_key,
    authtoken_of,
    knox_of,
)

pytestmark = [pytest.mark.urls("tests.legacy.conftest"), pytest.mark.django_db(transaction=True)]

SCOPE = ["--scope", "payments:read"]
HEADERS = {
    "authtoken": lambda text: {"Authorization": f"Token {text}"},
    "knox": lambda text: {"Authorization": f"Token {text}"},
    "drf-api-key": lambda text: {"Authorization": f"Api-Key {text}"},
    "csv": lambda text: {"X-Api-Key": text},
}
CSV_TEXT = "sk-live-8f14e45fceea167a5a36dedd4bea2543"


@pytest.fixture(params=list(HEADERS))
def scheme(request):
    return request.param


@pytest.fixture
def imported(scheme, apikeys, ada, project, takes):
    """Import a key of ``scheme``; return its text and its header."""
    takes(**{scheme.replace("-", "_"): TOMORROW})
    if scheme == "authtoken":
        text, words, stdin = authtoken_of(ada), [], ""
    elif scheme == "knox":
        text, words, stdin = knox_of(ada), [], ""
    elif scheme == "drf-api-key":
        text, words, stdin = api_key(), ["--project", "shop"], ""
    else:
        text, words, stdin = CSV_TEXT, ["-"], f"key,user\n{CSV_TEXT},ada\n"
    done = apikeys("import", "--from", scheme, *words, *SCOPE, "--json", stdin=stdin)
    assert (done.code, done.json["imported"]) == (0, 1), done.err
    assert text not in done.out + done.err
    return text, HEADERS[scheme](text)


def only_key():
    (legacy,) = LegacyKey.objects.all()
    return legacy.token or legacy.key


@pytest.mark.parametrize("where", PATHS)
def test_an_imported_key_keeps_working(imported, get, where):
    _text, headers = imported
    for _ in range(3):
        status, found = get(headers, where)
        assert status == 200
        if where != "/drf/":
            assert found == only_key().public_id


def test_the_hash_is_upgraded_at_the_first_use(imported, get, django_assert_num_queries):
    text, headers = imported
    legacy = LegacyKey.objects.get()
    assert legacy.hash == f"sha512${hashlib.sha512(text.encode()).hexdigest()}"
    assert (only_key().digest, only_key().root) == ("", "")

    get(headers)

    legacy.refresh_from_db()
    assert legacy.hash == ""
    assert only_key().root.startswith("$argon2id$")
    assert len(only_key().digest) == 64
    with django_assert_num_queries(2):
        assert get(headers)[0] == 200


def test_an_imported_key_survives_a_lost_pepper(imported, get, settings):
    _text, headers = imported
    get(headers)
    settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": ["n" * 32]}
    assert get(headers)[0] == 200
    assert get(headers)[0] == 200


def test_an_imported_key_is_shown_and_audited_like_others(imported, get, apikeys):
    text, headers = imported
    get(headers)
    usage.flush()
    key = only_key()
    assert key.last_used_at is not None
    shown = apikeys("show", key.public_id, "--json").json
    assert shown["state"] == "live"
    assert shown["scopes"] == ["payments:read"]
    assert text not in json.dumps(shown)
    assert AuditEvent.objects.get(event="imported").public_id == key.public_id


def test_a_revoked_imported_key_is_refused(imported, get):
    _text, headers = imported
    get(headers)
    lifecycle.revoke(only_key())
    assert get(headers) == (401, "revoked_key")
    usage.flush()
    assert EndedUse.objects.get(public_id=only_key().public_id).count == 1


def test_a_key_revoked_before_its_first_use_is_refused(imported, get):
    lifecycle.revoke(only_key())
    assert get(imported[1]) == (401, "revoked_key")


def test_rotation_gives_a_new_key(imported, get):
    minted = lifecycle.rotate(only_key())
    assert get(bearer(minted.token))[0] == 200
    assert get(imported[1])[0] == 200  # until the overlap ends
    type(minted.key).objects.filter(replaces=None).update(expires_at=timezone.now())
    assert get(imported[1]) == (401, "expired_key")


def test_a_key_is_refused_after_the_last_day(imported, get, takes, scheme, apikeys):
    _text, headers = imported
    get(headers)
    takes(**{scheme.replace("-", "_"): YESTERDAY})
    assert get(headers) == (401, "legacy_ended")
    takes(**{scheme.replace("-", "_"): timezone.localdate()})
    assert get(headers)[0] == 200  # until the end of the day


def test_a_key_is_refused_without_the_setting(imported, get, takes):
    takes()
    assert get(imported[1]) == (401, "not_authenticated")


def test_a_key_is_refused_in_another_header(imported, get, takes, scheme):
    text, _headers = imported
    every = {name.replace("-", "_"): TOMORROW for name in HEADERS}
    takes(**every)
    own = HEADERS[scheme](text)
    for make in HEADERS.values():
        if make(text) != own:
            assert get(make(text)) == (401, "invalid_key")
    assert get(bearer(text)) == (401, "invalid_token")
    assert get(own)[0] == 200
    # Check again after its first use, when it has a digest.
    for make in HEADERS.values():
        if make(text) != own:
            assert get(make(text)) == (401, "invalid_key")


def test_a_key_is_refused_if_only_another_scheme_shares_its_header(get, ada, apikeys, takes):
    text = authtoken_of(ada)
    apikeys("import", "--from", "authtoken", *SCOPE)
    takes(knox=TOMORROW)
    assert get({"Authorization": f"Token {text}"}) == (401, "invalid_key")
    takes(knox=TOMORROW, authtoken=YESTERDAY)
    assert get({"Authorization": f"Token {text}"}) == (401, "legacy_ended")
    takes(knox=TOMORROW, authtoken=TOMORROW)
    assert get({"Authorization": f"Token {text}"})[0] == 200


def test_wrong_keys_are_refused(imported, get, scheme):
    text, headers = imported
    wrong = text[:-1] + ("0" if text[-1] != "0" else "1")
    assert get(HEADERS[scheme](wrong)) == (401, "invalid_key")
    assert get(headers)[0] == 200
    assert get(HEADERS[scheme](wrong)) == (401, "invalid_key")
    for hopeless in ("é", "x" * 600, "a b"):
        assert get(HEADERS[scheme](hopeless)) == (401, "malformed_key")


def test_a_key_of_this_app_is_refused_in_a_legacy_header(imported, get, scheme):
    minted = lifecycle.rotate(only_key())
    assert get(HEADERS[scheme](minted.token)) == (400, "invalid_request")


def test_a_second_import_changes_nothing(imported, get, apikeys, scheme, project):
    words = ["--project", "shop"] if scheme == "drf-api-key" else []
    stdin = f"key,user\n{CSV_TEXT},ada\n" if scheme == "csv" else ""
    words += ["-"] if scheme == "csv" else []

    def again():
        done = apikeys("import", "--from", scheme, *words, *SCOPE, "--json", stdin=stdin).json
        return done["imported"], done["imported_before"]

    assert again() == (0, 1)
    get(imported[1])
    assert again() == (0, 1)
    lifecycle.revoke(only_key())
    assert again() == (0, 1)
    assert get(imported[1]) == (401, "revoked_key")
    only_key().delete()
    assert again() == (0, 1)
    assert get(imported[1]) == (401, "invalid_key")


def test_a_dry_run_stores_nothing(apikeys, ada):
    authtoken_of(ada)
    done = apikeys("import", "--from", "authtoken", *SCOPE, "--dry-run")
    assert "1 would be imported" in done.out
    assert not LegacyKey.objects.exists()
    assert not PersonalAccessToken.objects.exists()


def test_no_mail_is_sent(imported, mailoutbox):
    assert mailoutbox == []


def test_a_read_only_database_accepts_imported_keys(imported, get):
    from tests.hashing.test_lost_peppers import read_only

    with read_only():
        assert get(imported[1])[0] == 200
        assert get(imported[1])[0] == 200
    assert get(imported[1])[0] == 200


class TestKnox:
    def test_its_expiry_is_kept(self, apikeys, ada, takes, get):
        takes(knox=TOMORROW)
        text = knox_of(ada, expiry=timedelta(hours=5))
        knox_of(ada, expiry=timedelta(seconds=-1))
        knox_of(UserFactory(username="gone", is_active=False))
        done = apikeys("import", "--from", "knox", *SCOPE, "--json").json
        assert done["imported"] == 1
        assert done["skipped"] == {"expired": 1, "inactive_user": 1}
        left = only_key().expires_at - timezone.now()
        assert timedelta(hours=4) < left < timedelta(hours=5)
        assert get({"Authorization": f"Token {text}"})[0] == 200

    def test_a_token_with_a_prefix_works_as_bearer(self, apikeys, ada, takes, get, settings):
        settings.REST_KNOX = {"TOKEN_PREFIX": "acme_", "AUTH_HEADER_PREFIX": "Bearer"}
        takes(knox={"UNTIL": TOMORROW, "HEADER": "Authorization: Bearer"})
        text = knox_of(ada)
        apikeys("import", "--from", "knox", *SCOPE)
        assert get(bearer(text)) == (200, only_key().public_id)
        assert get(bearer(text + "x")) == (401, "invalid_token")
        assert get({"Authorization": f"Token {text}"}) == (401, "not_authenticated")
        takes(knox={"UNTIL": YESTERDAY, "HEADER": "Authorization: Bearer"})
        assert get(bearer(text)) == (401, "invalid_token")

    @pytest.mark.parametrize("algorithm", ["sha256", "sha3_512"])
    def test_another_hash_algorithm_works(self, apikeys, ada, takes, get, settings, algorithm):
        settings.REST_KNOX = {"SECURE_HASH_ALGORITHM": f"hashlib.{algorithm}"}
        takes(knox=TOMORROW)
        text = knox_of(ada)
        assert apikeys("import", "--from", "knox", *SCOPE, "--json").json["imported"] == 1
        for _ in range(2):
            assert get({"Authorization": f"Token {text}"})[0] == 200
        assert apikeys("import", "--from", "knox", *SCOPE, "--json").json["imported_before"] == 1

    def test_a_hash_of_version_4_works(self, apikeys, ada, takes, get):
        """Version 4 hashed the decoded bytes. This hash comes from django-rest-knox 4.2.0."""
        from knox.models import AuthToken

        from tests.legacy.former import KNOX_4_2

        text, digest = KNOX_4_2
        AuthToken(user=ada, token_key=text[:8], digest=digest).save(force_insert=True)
        takes(knox=TOMORROW)
        apikeys("import", "--from", "knox", *SCOPE)
        for _ in range(2):
            assert get({"Authorization": f"Token {text}"})[0] == 200
        assert apikeys("import", "--from", "knox", *SCOPE, "--json").json["imported_before"] == 1


class TestDrfApiKey:
    def test_revoked_and_expired_keys_are_skipped(self, apikeys, project):
        api_key("revoked", revoked=True)
        api_key("expired", expiry_date=timezone.now() - timedelta(days=1))
        done = apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE, "--json")
        assert done.json["skipped"] == {"expired": 1, "revoked": 1}
        assert not ProjectKey.objects.exists()

    def test_keys_need_a_project(self, apikeys):
        api_key()
        done = apikeys("import", "--from", "drf-api-key", *SCOPE, "--json")
        assert done.json["skipped"] == {"project_required": 1}

    def test_a_mapping_sets_project_and_scopes(self, apikeys, project, tmp_path):
        first, second = api_key("first"), api_key("second")
        ProjectFactory(slug="depot")
        places = tmp_path / "places.csv"
        prefix = second.partition(".")[0]
        places.write_text(f"key,project,scopes\n{prefix},depot,payments:write reports:read\n")
        done = apikeys(
            "import", "--from", "drf-api-key", "--project", "shop", *SCOPE, "--map", str(places)
        )
        assert done.code == 0
        found = ProjectKey.objects.values_list("name", "project__slug", "scope")
        assert set(found) == {
            ("first", "shop", "payments:read"), ("second", "depot", "payments:write reports:read"),
        }  # fmt: skip
        assert first.partition(".")[2] not in done.out + done.err

    def test_a_custom_header_works(self, apikeys, project, takes, get):
        takes(drf_api_key={"UNTIL": TOMORROW, "HEADER": "X-Api-Key"})
        text = api_key()
        apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE)
        assert get({"X-Api-Key": text})[0] == 200
        assert get({"Authorization": f"Api-Key {text}"}) == (401, "not_authenticated")

    @pytest.mark.slow
    def test_a_password_hash_works_and_is_upgraded(self, apikeys, project, takes, get, settings):
        """Version 2 and older stored password hashes. Version 3 upgrades them, as this app does."""
        from rest_framework_api_key.models import APIKey

        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
        text = api_key()
        APIKey.objects.update(hashed_key=make_password(text))
        takes(drf_api_key=TOMORROW)
        apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE)
        headers = {"Authorization": f"Api-Key {text}"}
        wrong = {"Authorization": f"Api-Key {text[:-2]}00"}
        assert get(wrong) == (401, "invalid_key")
        assert get(headers)[0] == 200
        assert LegacyKey.objects.get().hash == ""
        assert get(headers)[0] == 200
        assert get(wrong) == (401, "invalid_key")
        again = apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE, "--json")
        assert again.json["imported_before"] == 1

    @pytest.fixture
    def slow(self, apikeys, project, takes, settings):
        """The text of an imported key whose hash is slow to check."""
        from rest_framework_api_key.models import APIKey

        settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.PBKDF2PasswordHasher"]
        text = api_key()
        APIKey.objects.update(hashed_key=make_password(text))
        takes(drf_api_key=TOMORROW)
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 2}
        apikeys("import", "--from", "drf-api-key", "--project", "shop", *SCOPE)
        return text

    @pytest.mark.slow
    def test_attempts_at_a_slow_hash_are_limited(self, slow, get):
        wrong = {"Authorization": f"Api-Key {slow[:-2]}00"}
        told = [get(wrong)[1] for _ in range(4)]
        assert told == ["invalid_key"] * 2 + ["verification_busy"] * 2
        headers = {"Authorization": f"Api-Key {slow}"}
        assert get(headers) == (503, "verification_busy")
        assert get(headers, REMOTE_ADDR="192.0.2.7")[0] == 200

    @pytest.mark.slow
    def test_the_right_secret_does_not_count_while_its_hash_cannot_be_renewed(
        self, slow, get, mocker
    ):
        busy = Refused(refusals.VERIFICATION_BUSY)
        mocker.patch("apikeys.legacy.verify.hashing.make_root", side_effect=busy)
        told = [get({"Authorization": f"Api-Key {slow}"})[0] for _ in range(4)]
        assert told == [200] * 4


class TestWeak:
    @pytest.fixture
    def weak(self, apikeys, ada, takes):
        takes(authtoken=TOMORROW)
        authtoken_of(ada, "def")
        done = apikeys("import", "--from", "authtoken", *SCOPE)
        assert "1 weak" in done.out
        assert "Rotate it soon" in done.err
        return {"Authorization": "Token def"}

    @pytest.mark.slow
    def test_only_its_argon2id_hash_is_stored(self, weak, get):
        for _ in range(2):
            legacy, key = LegacyKey.objects.get(), PersonalAccessToken.objects.get()
            assert key.root.startswith("$argon2id$v=19$m=65536,t=3,p=4$")
            assert (key.digest, key.pepper_id, legacy.hash) == ("", "", "")
            for algorithm in ("md5", "sha1", "sha256", "sha512"):
                fast = hashlib.new(algorithm, b"def").hexdigest()
                assert legacy.selector not in fast
                assert legacy.source not in fast
            assert get(weak)[0] == 200

    @pytest.mark.slow
    def test_argon2_runs_once(self, weak, get, monkeypatch):
        from apikeys.legacy import texts

        tried = []
        slow = texts.slow
        monkeypatch.setattr(texts, "slow", lambda *args: tried.append(args) or slow(*args))
        for _ in range(4):
            assert get(weak)[0] == 200
        assert len(tried) == 1

    @pytest.mark.slow
    def test_guesses_are_limited(self, weak, get, settings):
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 3}
        told = [get({"Authorization": f"Token abc{n}"})[1] for n in range(5)]
        assert told == ["invalid_key"] * 3 + ["verification_busy"] * 2
        # The right key is refused as well, so that a guesser does not notice it.
        assert get(weak) == (503, "verification_busy")
        assert get(weak, REMOTE_ADDR="192.0.2.7")[0] == 200

    @pytest.mark.slow
    def test_guesses_from_all_addresses_are_limited(self, weak, get, settings):
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 1}
        told = [
            get({"Authorization": f"Token abc{n}"}, REMOTE_ADDR=f"192.0.2.{n}")[1]
            for n in range(12)
        ]
        assert told == ["invalid_key"] * 10 + ["verification_busy"] * 2

    @pytest.mark.slow
    def test_guesses_do_not_lock_out_a_key_that_was_used_before(self, weak, get, settings):
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 1}
        assert get(weak)[0] == 200
        for n in range(3):
            get({"Authorization": f"Token abc{n}"})
        assert get(weak)[0] == 200

    @pytest.mark.slow
    def test_strong_keys_are_never_busy(self, weak, get, apikeys, settings):
        text = authtoken_of(UserFactory())
        apikeys("import", "--from", "authtoken", *SCOPE)
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 1}
        for n in range(3):
            get({"Authorization": f"Token abc{n}"})
        assert get({"Authorization": f"Token {text}"})[0] == 200

    def test_without_weak_keys_no_guess_runs_argon2(self, apikeys, ada, takes, get, monkeypatch):
        from apikeys.legacy import texts

        takes(authtoken=TOMORROW)
        authtoken_of(ada)
        apikeys("import", "--from", "authtoken", *SCOPE)
        monkeypatch.delattr(texts, "slow")
        assert get({"Authorization": "Token def"}) == (401, "invalid_key")

    @pytest.mark.slow
    def test_a_weak_key_imported_by_its_hash_works(self, apikeys, ada, takes, get):
        takes(csv=TOMORROW)
        stored = hashlib.sha256(b"def").hexdigest()
        lines = f"hash,user\nsha256${stored},ada\n"
        apikeys("import", "--from", "csv", "-", *SCOPE, stdin=lines)
        for _ in range(2):
            assert get({"X-Api-Key": "def"})[0] == 200
        legacy = LegacyKey.objects.get()
        assert legacy.salt
        assert stored[:16] not in legacy.selector + legacy.source + legacy.hash
        assert PersonalAccessToken.objects.get().digest == ""
        again = apikeys("import", "--from", "csv", "-", *SCOPE, "--json", stdin=lines)
        assert again.json["imported_before"] == 1

    @pytest.mark.slow
    def test_a_second_import_skips_it(self, weak, apikeys):
        again = apikeys("import", "--from", "authtoken", *SCOPE, "--json").json
        assert (again["imported"], again["imported_before"]) == (0, 1)


class TestCustomModel:
    @pytest.fixture
    def organization(self):
        return Organization.objects.create(slug="shop")

    def test_a_foreign_key_finds_the_project_by_slug(
        self, apikeys, organization, project, takes, get
    ):
        takes(drf_api_key=TOMORROW)
        elsewhere = Organization.objects.create(slug="nowhere")
        text = OrganizationKey.objects.create_key(name="till", organization=organization)[1]
        OrganizationKey.objects.create_key(name="lost", organization=elsewhere)
        api_key("of the package's own model")
        done = apikeys(
            "import", "--from", "drf-api-key", "--model", "billing.OrganizationKey",
            "--project-field", "organization", *SCOPE, "--json",
        )  # fmt: skip
        assert (done.code, done.json["imported"]) == (0, 1)
        assert done.json["skipped"] == {"unknown_project": 1}
        assert (only_key().name, only_key().project) == ("till", project)
        assert get({"Authorization": f"Api-Key {text}"}) == (200, only_key().public_id)

    def test_a_foreign_key_to_the_project_is_used(self, apikeys, organization, project, takes, get):
        takes(drf_api_key=TOMORROW)
        other = ProjectFactory(slug="depot")
        made = OrganizationKey.objects.create_key
        text = made(name="till", organization=organization, project=other)[1]
        made(name="of none", organization=organization)
        words = ["--model", "billing.OrganizationKey", "--project-field", "project", *SCOPE]
        done = apikeys("import", "--from", "drf-api-key", *words, "--json")
        assert done.json["skipped"] == {"project_required": 1}
        assert (only_key().name, only_key().project) == ("till", other)
        assert get({"Authorization": f"Api-Key {text}"}) == (200, only_key().public_id)

        # --project is used where the field is empty.
        done = apikeys("import", "--from", "drf-api-key", *words, "--project", "shop", "--json")
        assert (done.json["imported"], done.json["imported_before"]) == (1, 1)
        assert ProjectKey.objects.get(name="of none").project == project

    def test_several_tokens_of_a_user_are_imported(self, apikeys, ada, takes, get):
        takes(authtoken=TOMORROW)
        for text in (b"laptop", b"desktop", b"server"):
            Token.objects.create(key=hashlib.sha1(text).hexdigest(), user=ada)
        done = apikeys("import", "--from", "authtoken", "--model", "billing.Token", *SCOPE)
        assert "3 imported" in done.out
        ids = {get({"Authorization": f"Token {token.key}"})[1] for token in Token.objects.all()}
        assert ids == set(PersonalAccessToken.objects.values_list("public_id", flat=True))

    @pytest.mark.parametrize(
        ("words", "code", "told"),
        [
            (["drf-api-key", "--project-field", "organization"], "unknown_field", "'organization'"),
            (["drf-api-key", "--project-field", "name"], "unknown_field", "'name'"),
            (["drf-api-key", "--model", "billing.Nothing"], "unknown_model", "billing.Nothing"),
            (["knox", "--model", "Nothing"], "unknown_model", "INSTALLED_APPS"),
            (["knox", "--model", "authtoken.Token"], "unknown_model", "the fields digest, expiry"),
            (["authtoken", "--model", "knox.AuthToken"], "unknown_model", "the fields key"),
            (["authtoken", "--model", "auth.Group"], "unknown_model", "the fields key, user"),
            (["drf-api-key", "--model", "auth.User"], "unknown_model", "the fields prefix"),
            (["authtoken", "--expires", "2020-01-01"], "expiry_in_the_past", "in the future"),
            (["authtoken", "--expires", "9999-12-31"], "expiry_too_late", "9998"),
            (["knox", "--owner", "nobody"], "unknown_field", "no foreign key 'nobody'"),
            (["knox", "--field", "nothing=user"], "unknown_field", "Available: digest"),
            (["knox", "--field", "user"], "invalid_arguments", "NAME=FIELD"),
            (
                ["csv", "-", "--model", "billing.Token"],
                "invalid_arguments",
                "--model does not apply",
            ),
        ],
    )
    def test_a_missing_model_or_field_is_reported(self, apikeys, words, code, told):
        done = apikeys("import", "--from", *words, *SCOPE, "--json")
        assert (done.code, done.json["code"]) == (1, code)
        assert told in done.err

    @pytest.mark.parametrize("missing", ["knox_authtoken", "apikeys_legacykey"])
    def test_a_missing_table_is_reported(self, apikeys, monkeypatch, missing):
        names = connection.introspection.table_names()
        there = [name for name in names if name != missing]
        monkeypatch.setattr(connection.introspection, "table_names", lambda: there)
        done = apikeys("import", "--from", "knox", *SCOPE, "--json")
        assert (done.code, done.json["code"]) == (1, "not_migrated")
        assert "migrate" in done.err
