"""``manage.py apikeys``, as people and scripts use it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apikeys import grants, lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

TOKEN = re.compile(r"acme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}")
RECORD = [
    "kind", "id", "name", "description", "user", "project", "scopes", "projects",
    "allowed_networks", "rate_limits", "expires_at", "not_before", "direct_use", "public_key",
    "trust", "secret_ends_at", "metadata", "state", "created_at", "created_by", "last_used_at",
    "last_used_ip", "minted_with", "legacy", "approved_at", "approved_by", "rejected", "rotated_at",
    "replaces", "replaced_by", "paused_at", "paused_by", "paused_reason", "held",
    "revoked_at", "revoked_by", "revoked_reason",
]  # fmt: skip
FACTS = ["kind", "id", "name", "user", "project", "client", "scopes", "projects", "expires_at"]
PAT = ["mint", "--user", "ada", "--name", "ci", "--scope", "payments:read"]
KEY = ["mint", "--project", "engine", "--name", "server", "--scope", "payments:write"]


@pytest.fixture(autouse=True)
def people(db):
    MembershipFactory(user__username="ada", project__slug="engine", role="owner")
    MembershipFactory(user__username="grace", project__slug="compiler", role="owner")


def is_error(done, code, said=""):
    """A refusal: exit code 1, the code on stdout, a sentence on stderr."""
    assert done.code == 1
    assert done.json["code"] == code
    assert done.json["detail"] == done.err
    assert said in done.err
    return True


class TestMint:
    def test_minting_with_a_user_creates_a_personal_access_token(self, apikeys):
        done = apikeys(*PAT, "--json")
        minted = done.json
        assert list(minted) == ["token", *RECORD]
        assert TOKEN.fullmatch(minted["token"])
        assert f"_pat_{minted['id']}_" in minted["token"]
        assert minted["kind"] == "personal_access_token"
        assert (minted["user"], minted["project"]) == ("ada", None)
        assert minted["scopes"] == ["payments:read"]
        assert minted["projects"] is None
        assert minted["state"] == "live"
        access = verify(minted["token"])
        assert access.user.username == "ada"
        assert access.allows("payments:read")
        assert not access.allows("payments:write")
        in_90_days = timezone.now() + timedelta(days=90)
        assert abs(access.expires_at - in_90_days) < timedelta(minutes=1)

    def test_minting_with_a_project_creates_a_project_key(self, apikeys):
        minted = apikeys(*KEY, "--json").json
        assert (minted["kind"], minted["project"], minted["user"]) == (
            "project_key",
            "engine",
            None,
        )
        assert minted["expires_at"] is None
        assert verify(minted["token"]).project.slug == "engine"

    def test_the_token_is_printed_once_and_alone_on_the_first_line(self, apikeys):
        done = apikeys(*PAT)
        (token,) = TOKEN.findall(done.out + done.err)
        assert done.out.splitlines()[0] == token  # alone on the first line, for `head -1`
        assert verify(token).user.username == "ada"
        assert "You will not be able to see it again." in done.out

    @pytest.mark.parametrize(("words", "word"), [(PAT, "token"), (KEY, "key")])
    def test_the_advice_calls_a_token_a_token_and_a_key_a_key(self, apikeys, words, word):
        minted = apikeys(*words)
        rotated = apikeys("rotate", TOKEN.search(minted.out)[0].split("_")[2])
        for done in (minted, rotated):
            assert f"Copy this {word} now. You will not be able to see it again." in done.out
            assert f"`Authorization: Bearer <{word}>`" in done.out

    def test_a_token_with_projects_reaches_only_these(self, apikeys):
        ada = PersonalAccessToken._meta.get_field("user").related_model.objects.get(username="ada")
        MembershipFactory(user=ada, project__slug="orrery")
        one = apikeys(*PAT, "--project", "engine", "--json").json
        assert one["projects"] == ["engine"]
        both = apikeys(*PAT, "--project", "engine", "--project", "orrery", "--json").json
        assert both["projects"] == ["engine", "orrery"]
        assert verify(one["token"]).facts()["projects"] == ["engine"]

    @pytest.mark.parametrize(
        "words", [["--scope", "payments:read reports:read"],
                  ["--scope", "reports:read", "--scope", "payments:read"]],
    )  # fmt: skip
    def test_scopes_can_be_repeated_or_separated_by_spaces(self, apikeys, words):
        minted = apikeys("mint", "--user", "ada", "--name", "x", *words, "--json").json
        assert minted["scopes"] == ["payments:read", "reports:read"]

    @pytest.mark.parametrize(
        ("when", "expected"),
        [
            ("never", None),
            ("30m", timedelta(minutes=30)),
            ("12h", timedelta(hours=12)),
            ("90d", timedelta(days=90)),
            ("4w", timedelta(weeks=4)),
            ("1y", timedelta(days=365)),
            ("2100-01-31", datetime(2100, 1, 31, 23, 59, 59, tzinfo=UTC)),
            ("2100-01-31T12:00Z", datetime(2100, 1, 31, 12, tzinfo=UTC)),
            ("2100-01-31T12:00+02:00", datetime(2100, 1, 31, 10, tzinfo=UTC)),
        ],
    )
    def test_expires_takes_a_duration_a_date_and_never(self, apikeys, when, expected):
        told = apikeys(*PAT, "--expires", when, "--json").json["expires_at"]
        if expected is None:
            assert told is None
        elif isinstance(expected, timedelta):
            off = datetime.fromisoformat(told) - timezone.now() - expected
            assert abs(off) < timedelta(minutes=1)
        else:
            assert datetime.fromisoformat(told) == expected

    @pytest.mark.parametrize(
        ("when", "code"),
        [
            ("soon", "invalid_expiry"), ("", "invalid_expiry"), ("90", "invalid_expiry"),
            ("90D", "invalid_expiry"), ("-1d", "invalid_expiry"), ("1.5d", "invalid_expiry"),
            ("999999y", "invalid_expiry"), ("2100-13-01", "invalid_expiry"),
            ("٩d", "invalid_expiry"), ("0d", "expiry_in_the_past"),
            ("2000-01-01", "expiry_in_the_past"), ("0001-01-01T00:00+14:00", "invalid_expiry"),
        ],
    )  # fmt: skip
    def test_a_wrong_expiry_is_refused(self, apikeys, when, code):
        assert is_error(apikeys(*PAT, f"--expires={when}", "--json"), code)
        assert not PersonalAccessToken.objects.exists()

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["--user", "adda"], "unknown_user", "Did you mean 'ada'?"),
            (["--user", "zzz"], "unknown_user", "Unknown user 'zzz'"),
            (["--project", "engin"], "unknown_project", "Did you mean 'engine'?"),
            (
                ["--user", "ada", "--project", "compiler"],
                "unknown_project",
                "not a member of the project",
            ),
            (["--project", "engine", "--project", "compiler"], "several_projects", "one --project"),
            (["--user", "ada", "--scope", "payments:reed"], "unknown_scope", "payments:reed"),
            (["--user", "ada", "--name", "x" * 101], "name_too_long", "100"),
            (["--user", "ada", "--name", "  "], "name_required", "name"),
            ([], "missing_argument", "--user or --project"),
            (["--user", "ada", "--name", ""], "missing_argument", "--name"),
        ],
    )
    def test_wrong_arguments_create_no_key(self, apikeys, words, code, said):
        rest = [] if "--name" in words else ["--name", "x"]
        assert is_error(
            apikeys("mint", *words, *rest, "--scope", "payments:read", "--json"), code, said
        )
        assert not PersonalAccessToken.objects.exists()
        assert not ProjectKey.objects.exists()

    def test_without_a_terminal_missing_options_are_an_error(self, apikeys):
        done = apikeys("mint", "--user", "ada")
        assert done.code == 1
        assert "--name" in done.err
        assert "--scope" in done.err

    def test_a_deactivated_user_gets_no_token(self, apikeys):
        UserFactory(username="gone", is_active=False)
        done = apikeys(
            "mint", "--user", "gone", "--name", "x", "--scope", "payments:read", "--json"
        )
        assert is_error(done, "inactive_user")


class TestList:
    def test_lists_keys_that_were_not_used_for_some_time(self, apikeys):
        ada, now = UserFactory(), timezone.now()
        ages = {"old": 91, "recent": 89, "never used": None, "new": None}
        for name, days in ages.items():
            key = mint_pat(ada, name=name).key
            used = days and now - timedelta(days=days)
            made = now - timedelta(days=0 if name == "new" else 200)
            PersonalAccessToken.objects.filter(pk=key.pk).update(last_used_at=used, created_at=made)

        found = apikeys("list", "--unused-for", "90d", "--json").json

        assert {each["name"] for each in found} == {"old", "never used"}
        assert (
            apikeys("list", "--unused-for", "1y").out
            == "No keys. Use --all to include ended keys.\n"
        )

    @pytest.mark.slow
    def test_never_shows_a_secret(self, apikeys):
        minted = [apikeys(*words, "--json").json for words in (PAT, KEY)]
        for words in (["list"], ["list", "--json"], ["list", "--all"]):
            done = apikeys(*words)
            for each in minted:
                assert each["id"] in done.out
                assert each["token"].rpartition("_")[2] not in done.out + done.err
            for key in [*PersonalAccessToken.objects.all(), *ProjectKey.objects.all()]:
                assert key.root not in done.out
                assert key.digest not in done.out
                assert key.pepper_id not in done.out

    def test_json_lists_records_newest_first(self, apikeys):
        ids = [apikeys(*words, "--json").json["id"] for words in (PAT, KEY, PAT)]
        records = apikeys("list", "--json").json
        assert [each["id"] for each in records] == ids[::-1]
        assert all(list(each) == RECORD for each in records)

    def test_without_keys_it_says_so(self, apikeys):
        assert apikeys("list", "--json").json == []
        done = apikeys("list")
        assert (done.code, done.out) == (0, "No keys. Use --all to include ended keys.\n")

    def test_revoked_and_expired_keys_are_listed_only_with_all(self, apikeys):
        ada = UserFactory()
        live, revoked, expired = (mint_pat(ada).key for _ in range(3))
        lifecycle.revoke(revoked)
        PersonalAccessToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
        assert [r["id"] for r in apikeys("list", "--json").json] == [live.public_id]
        everything = apikeys("list", "--all", "--json").json
        assert {r["id"]: r["state"] for r in everything} == {
            live.public_id: "live", revoked.public_id: "revoked", expired.public_id: "expired",
        }  # fmt: skip

    @pytest.mark.slow
    def test_each_filter_selects_its_keys(self, apikeys):
        pat, key = apikeys(*PAT, "--json").json, apikeys(*KEY, "--json").json
        inside = apikeys(*PAT, "--project", "engine", "--json").json
        grace = apikeys("mint", "--user", "grace", *PAT[3:], "--json").json

        def ids(*words):
            return {record["id"] for record in apikeys("list", *words, "--json").json}

        assert ids("--user", "ada") == {pat["id"], inside["id"]}
        assert ids("--user", "grace") == {grace["id"]}
        assert ids("--project", "engine") == {key["id"], inside["id"]}
        assert ids("--kind", "project_key") == {key["id"]}
        assert ids("--user", "ada", "--project", "engine") == {inside["id"]}
        assert is_error(apikeys("list", "--user", "nobody", "--json"), "unknown_user")

    @pytest.mark.slow
    def test_limit_bounds_the_list_and_says_that_there_are_more(self, apikeys):
        newest = [apikeys(*PAT, "--json").json["id"] for _ in range(3)][::-1]
        done = apikeys("list", "--limit", "2", "--json")
        assert [record["id"] for record in done.json] == newest[:2]
        assert "more than 2" in done.err
        assert apikeys("list", "--limit", "3", "--json").err == ""
        for command in ("list", "audit"):
            for limit in ("0", "9223372036854775807", "9" * 20):
                assert is_error(apikeys(command, "--limit", limit, "--json"), "invalid_limit")

    def test_listing_more_keys_takes_no_more_queries(self, apikeys, django_assert_max_num_queries):
        ada = UserFactory()
        for _ in range(4):
            lifecycle.rotate(mint_pat(ada).key)
            mint_key()
        with django_assert_max_num_queries(5):  # of each kind, its owners, projects of tokens
            apikeys("list", "--json")

    def test_without_a_terminal_columns_are_plain(self, apikeys):
        key = apikeys(*PAT, "--json").json
        header, row = apikeys("list").out.splitlines()
        assert header.split()[:4] == ["ID", "KIND", "NAME", "OWNER"]
        assert row.split()[:4] == [key["id"], "pat", "ci", "ada"]

    def test_the_state_has_the_word_of_the_pages(self, apikeys):
        apikeys(*PAT)
        header, row = apikeys("list").out.splitlines()
        assert (header.split()[-1], row.split()[-1]) == ("STATE", "active")
        assert apikeys("list", "--json").json[0]["state"] == "live"

    def test_control_characters_in_names_are_replaced(self, apikeys):
        key = mint_pat().key
        # As it may have come into the table before names were checked.
        PersonalAccessToken.objects.filter(pk=key.pk).update(name="\x1b[2J\x07\u202eevil")
        done = apikeys("list")
        assert not re.search("[\x1b\x07\u202e]", done.out)
        assert "evil" in done.out


class TestShow:
    def test_every_fact_but_the_secret_is_shown(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        shown = apikeys("show", minted["id"], "--json").json
        assert shown == {k: v for k, v in minted.items() if k != "token"} | {
            "used_after_end": None,
            "used_after_denial": [],
            "awaits_approval_in": [],
            "rotation_chain": [minted["id"]],
            "created_keys": [],
            "scopes_used": {"payments:read": None},
        }
        done = apikeys("show", minted["id"])
        assert minted["id"] in done.out
        assert minted["token"].rpartition("_")[2] not in done.out

    def test_an_id_may_have_its_prefix(self, apikeys):
        public_id = apikeys(*PAT, "--json").json["id"]
        with_prefix = f" ACME_PAT_{public_id.upper()}_ "

        assert apikeys("show", with_prefix, "--json").json["id"] == public_id
        assert public_id in apikeys("audit", "--key", with_prefix).out
        assert is_error(apikeys("show", "acme_pat_zejlosc9kd96fngc", "--json"), "unknown_key")

    @pytest.mark.parametrize("command", ["show", "rotate", "revoke"])
    @pytest.mark.parametrize(
        ("public_id", "code"),
        [
            ("0" * 16, "unknown_key"), ("", "invalid_id"), ("0" * 15, "invalid_id"),
            ("0" * 17, "invalid_id"), ("A" * 16, "unknown_key"),
            ("\N{FULLWIDTH DIGIT ONE}" * 16, "invalid_id"),
            ("0" * 15 + "\n", "invalid_id"), ("%" * 16, "invalid_id"),
        ],
    )  # fmt: skip
    def test_a_wrong_id_is_refused(self, apikeys, command, public_id, code):
        more = ["--reason", "x"] if command == "revoke" else []
        assert is_error(apikeys(command, public_id, *more, "--json"), code)

    @pytest.mark.slow
    def test_the_state_has_the_word_of_the_pages(self, apikeys):
        public_id = apikeys(*PAT, "--json").json["id"]
        assert re.search("^state +active$", apikeys("show", public_id).out, re.MULTILINE)
        apikeys("revoke", public_id, "--reason", "Lost.")
        assert re.search("^state +revoked$", apikeys("show", public_id).out, re.MULTILINE)

    @pytest.mark.slow
    def test_key_without_ranges_and_limits_shows_any_and_no_limit(self, apikeys):
        key = mint_key(allowed_networks=["203.0.113.0/24"]).key.public_id
        done = apikeys("edit", key, "--allow-network", "any")
        assert done.out == "allowed networks: 203.0.113.0/24 -> any\n"
        shown = apikeys("show", key).out
        assert re.search("^allowed networks +any$", shown, re.MULTILINE)
        assert re.search("^rate limits +no limit$", shown, re.MULTILINE)
        facts = apikeys("show", key, "--json").json
        assert facts["allowed_networks"] == facts["rate_limits"] == []

    def test_direct_use_is_shown_only_if_it_is_refused(self, apikeys):
        ada = PersonalAccessToken._meta.get_field("user").related_model.objects.get(username="ada")
        usual, exchanged = mint_pat(ada).key, mint_pat(ada, direct_use=False).key
        assert "direct use" not in apikeys("show", usual.public_id).out
        assert apikeys("show", usual.public_id, "--json").json["direct_use"] is True
        shown = apikeys("show", exchanged.public_id).out
        assert re.search("^direct use +no$", shown, re.MULTILINE)


class TestRotate:
    def test_rotating_creates_a_successor_and_the_old_key_lasts_for_the_overlap(self, apikeys):
        old = apikeys(*KEY, "--json").json
        new = apikeys("rotate", old["id"], "--overlap", "1d", "--json").json
        assert list(new) == ["token", *RECORD, "replaces_expires_at"]
        assert new["replaces"] == old["id"]
        assert new["id"] != old["id"]
        assert new["expires_at"] == old["expires_at"]
        ends = datetime.fromisoformat(new["replaces_expires_at"])
        assert abs(ends - timezone.now() - timedelta(days=1)) < timedelta(minutes=1)
        assert verify(old["token"]).project == verify(new["token"]).project
        shown = apikeys("show", old["id"], "--json").json
        assert shown["replaced_by"] == new["id"]
        assert shown["rotation_chain"] == [old["id"], new["id"]]

    def test_without_an_overlap_the_old_key_expires_now(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--overlap", "0", "--json").json
        with pytest.raises(Refused, match="expired_key"):
            verify(old["token"])
        assert verify(new["token"]).credential_id == new["id"]

    def test_rotating_prints_the_token_and_names_the_old_key(self, apikeys):
        old = apikeys(*PAT, "--json").json
        done = apikeys("rotate", old["id"])
        (token,) = TOKEN.findall(done.out + done.err)
        assert verify(token)
        assert f"This key replaces {old['id']}" in done.out

    @pytest.mark.parametrize(
        ("overlap", "code"),
        [
            ("8d", "overlap_out_of_range"), ("1y", "overlap_out_of_range"),
            ("1", "invalid_overlap"), ("-1d", "invalid_overlap"), ("soon", "invalid_overlap"),
            ("", "invalid_overlap"), ("999999y", "overlap_out_of_range"),
        ],
    )  # fmt: skip
    def test_a_wrong_overlap_is_refused_and_nothing_is_rotated(self, apikeys, overlap, code):
        old = apikeys(*PAT, "--json").json
        assert is_error(apikeys("rotate", old["id"], f"--overlap={overlap}", "--json"), code)
        assert apikeys("show", old["id"], "--json").json["replaced_by"] is None

    def test_rotating_a_rotated_key_is_refused(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--json").json
        assert is_error(apikeys("rotate", old["id"], "--json"), "already_rotated", new["id"])

    def test_rotating_a_revoked_key_is_refused(self, apikeys):
        old = apikeys(*PAT, "--json").json
        apikeys("revoke", old["id"], "--reason", "x")
        assert is_error(apikeys("rotate", old["id"], "--json"), "revoked_key")


class TestRevokeUnused:
    @pytest.fixture
    def keys(self, engine):
        """Tokens and project keys by name: ``used`` today, ``old`` and ``server`` are not."""
        ada, now = UserFactory(username="hopper"), timezone.now()
        found = {name: mint_pat(ada, name=name) for name in ("old", "used", "new")}
        found["server"] = mint_key(engine, name="server")
        long_ago = now - timedelta(days=200)
        for name, used in {"old": now - timedelta(days=91), "used": now, "server": None}.items():
            rows = type(found[name].key).objects.filter(pk=found[name].key.pk)
            rows.update(last_used_at=used, created_at=long_ago)
        return {name: minted.token for name, minted in found.items()}

    def is_active(self, token):
        public_id = token.split("_")[2]
        return any(
            model.objects.filter(public_id=public_id, revoked_at=None).exists()
            for model in (PersonalAccessToken, ProjectKey)
        )

    def test_keys_that_were_not_used_for_so_long_are_revoked(self, apikeys, keys):
        done = apikeys(
            *("revoke", "--unused-for", "90d", "--reason", "Unused."), "--by", "hopper", "--json"
        )
        assert done.code == 0, done.err
        assert {each["name"] for each in done.json} == {"old", "server"}
        assert {each["revoked_reason"] for each in done.json} == {"Unused."}
        assert {each["revoked_by"] for each in done.json} == {"hopper"}
        for name in ("used", "new"):
            assert verify(keys[name])
        for name in ("old", "server"):
            with pytest.raises(Refused, match="revoked_key"):
                verify(keys[name])

    @pytest.mark.parametrize("command", ["revoke", "pause"])
    def test_without_recorded_uses_none_is_ended(self, apikeys, keys, settings, command):
        settings.APIKEYS = {**settings.APIKEYS, "LAST_USED_INTERVAL": None}
        for model in (PersonalAccessToken, ProjectKey):
            model.objects.update(last_used_at=None)
        done = apikeys(command, "--unused-for", "90d", "--reason", "Unused.", "--json")
        assert is_error(done, "uses_not_recorded")
        assert all(verify(token) for token in keys.values())

    def test_a_site_may_write_the_uses_itself(self, apikeys, keys, settings):
        settings.APIKEYS = {**settings.APIKEYS, "LAST_USED_INTERVAL": None}
        done = apikeys("revoke", "--unused-for", "90d", "--reason", "Unused.", "--json")
        assert {each["name"] for each in done.json} == {"old", "server"}

    def test_a_dry_run_lists_them_and_revokes_none(self, apikeys, keys):
        done = apikeys("revoke", "--unused-for", "90d", "--dry-run")
        assert done.code == 0
        assert done.out.splitlines()[-1] == "Would revoke 2 keys."
        assert all(self.is_active(token) for token in keys.values())
        listed = apikeys("list", "--unused-for", "90d", "--json").json
        would = apikeys("revoke", "--unused-for", "90d", "--dry-run", "--json").json
        assert {each["id"] for each in would} == {each["id"] for each in listed}

    @pytest.mark.parametrize(
        ("options", "ended"),
        [
            (["--user", "hopper"], {"old"}),
            (["--project", "analytical-engine"], {"server"}),
            (["--kind", "project_key"], {"server"}),
        ],
    )
    def test_options_limit_which_keys(self, apikeys, keys, options, ended):
        apikeys("revoke", "--unused-for", "90d", *options, "--reason", "Unused.")
        assert {name for name, token in keys.items() if not self.is_active(token)} == ended

    @pytest.mark.parametrize(
        ("words", "code"),
        [
            ([], "missing_argument"),
            (["--unused-for", "90d"], "missing_argument"),
            (["--user", "hopper", "--reason", "x"], "missing_argument"),
            (["--unused-for", "soon", "--reason", "x"], "invalid_duration"),
            (["0" * 16, "--unused-for", "90d", "--reason", "x"], "contradictory_arguments"),
            (["0" * 16, "--dry-run"], "contradictory_arguments"),
            (["0" * 16, "--user", "hopper", "--reason", "x"], "contradictory_arguments"),
            (["--unused-for", "90d", "--reason", "x" * 201], "reason_too_long"),
        ],
    )
    def test_unclear_requests_are_refused_and_revoke_none(self, apikeys, keys, words, code):
        assert is_error(apikeys("revoke", *words, "--json"), code)
        assert all(self.is_active(token) for token in keys.values())


class TestRevoke:
    def test_a_revoked_key_is_refused(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        done = apikeys("revoke", minted["id"], "--reason", "Lost.", "--by", "grace", "--json")
        assert list(done.json) == RECORD
        assert done.json["state"] == "revoked"
        assert done.json["revoked_reason"] == "Lost."
        assert done.json["revoked_by"] == "grace"
        with pytest.raises(Refused, match="revoked_key"):
            verify(minted["token"])

    @pytest.mark.slow
    def test_revoking_again_keeps_the_first_reason(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        first = apikeys("revoke", minted["id"], "--reason", "Lost.", "--json").json
        assert apikeys("revoke", minted["id"], "--reason", "Again.", "--json").json == first
        done = apikeys("revoke", minted["id"], "--reason", "Again.")
        assert (done.code, "Lost." in done.out) == (0, True)

    def test_a_missing_or_long_reason_is_refused(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        assert is_error(apikeys("revoke", minted["id"], "--json"), "missing_argument", "--reason")
        long = apikeys("revoke", minted["id"], "--reason", "x" * 201, "--json")
        assert is_error(long, "reason_too_long")
        assert verify(minted["token"])

    def test_revoking_names_active_keys_of_the_same_chain(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--json").json
        done = apikeys("revoke", new["id"], "--reason", "Leaked.", "--json")
        assert old["id"] in done.err
        assert verify(old["token"])


class TestMetadata:
    @pytest.mark.slow
    def test_it_is_stored_shown_and_edited(self, apikeys, tmp_path):
        minted = apikeys(*PAT, "--metadata", '{"team": "billing"}', "--json").json
        assert minted["metadata"] == verify(minted["token"]).metadata == {"team": "billing"}
        assert '{"team": "billing"}' in apikeys("show", minted["id"]).out
        assert "billing" in apikeys("verify", stdin=minted["token"]).out

        file = tmp_path / "metadata.json"
        file.write_text('{"team": "für alle",\n "n": 1}', encoding="utf-8")
        done = apikeys("edit", minted["id"], "--metadata", f"@{file}")
        assert done.out.strip() == ('metadata: {"team": "billing"} -> {"team": "für alle", "n": 1}')
        assert apikeys("edit", minted["id"], "--name", "x").code == 0
        assert verify(minted["token"]).metadata == {"team": "für alle", "n": 1}
        apikeys("edit", minted["id"], "--metadata", "{}")
        assert verify(minted["token"]).metadata == {}
        assert "metadata" not in apikeys("show", minted["id"]).out

    @pytest.mark.parametrize(
        ("given", "code", "said"),
        [
            ('{"a": }', "invalid_metadata", "line 1, column 7"),
            ("[1]", "invalid_metadata", "JSON object"),
            ("null", "invalid_metadata", "JSON object"),
            ("", "invalid_metadata", "line 1, column 1"),
            ('{"a": Infinity}', "invalid_metadata", "Infinity"),
            ("x" * 5000, "invalid_metadata", "not JSON"),
            ('{"a": "' + "x" * 4096 + '"}', "metadata_too_large", "4096"),
            ("@/nowhere", "unreadable_file", "/nowhere"),
        ],
    )
    def test_wrong_metadata_creates_nothing(self, apikeys, given, code, said):
        assert is_error(apikeys(*PAT, "--metadata", given, "--json"), code, said)
        assert not PersonalAccessToken.objects.exists()

    def test_a_secret_in_it_is_refused_and_not_repeated(self, apikeys, tmp_path):
        minted = apikeys(*PAT, "--json").json
        file = tmp_path / "metadata.json"
        file.write_text(f'{{"old": "{minted["token"]}"}}', encoding="utf-8")
        for given, code in (
            (file.read_text(), "secret_in_arguments"),
            (f"@{file}", "secret_in_text"),
        ):
            done = apikeys("edit", minted["id"], "--metadata", given, "--json")
            assert is_error(done, code)
            assert minted["token"] not in done.out + done.err


class TestPause:
    def test_a_paused_key_is_refused_until_it_is_resumed(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        done = apikeys("pause", minted["id"], "--reason", "Audit.", "--by", "grace", "--json")
        assert list(done.json) == RECORD
        assert (done.json["state"], done.json["held"]) == ("paused", False)
        assert (done.json["paused_by"], done.json["paused_reason"]) == ("grace", "Audit.")
        with pytest.raises(Refused, match="paused_key"):
            verify(minted["token"])
        assert "paused" in apikeys("list").out

        done = apikeys("resume", minted["id"], "--by", "grace", "--json")
        assert (done.json["state"], done.json["paused_at"]) == ("live", None)
        assert verify(minted["token"])
        events = apikeys("audit", "--key", minted["id"], "--json").json
        assert [each["by"] for each in events if each["event"] in ("paused", "resumed")] == [
            "grace", "grace",
        ]  # fmt: skip

    def test_repeating_either_changes_nothing(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        first = apikeys("pause", minted["id"], "--reason", "First.", "--json").json
        assert apikeys("pause", minted["id"], "--reason", "Second.", "--json").json == first
        again = apikeys("pause", minted["id"])
        assert (again.code, "was already paused" in again.out) == (0, True)
        assert "First." in again.out
        apikeys("resume", minted["id"])
        again = apikeys("resume", minted["id"])
        assert (again.code, "is not paused" in again.out) == (0, True)

    def test_a_held_key_is_resumed_by_the_command(self, apikeys):
        minted = apikeys(*KEY, "--json").json
        assert apikeys("pause", minted["id"], "--held", "--json").json["held"] is True
        assert "held" in apikeys("show", minted["id"]).out
        with pytest.raises(lifecycle.LifecycleError, match="site admin"):
            lifecycle.resume(ProjectKey.objects.get())
        assert apikeys("resume", minted["id"]).code == 0
        assert verify(minted["token"])

    @pytest.mark.parametrize("command", ["pause", "resume"])
    def test_an_ended_or_unknown_key_is_refused(self, apikeys, command):
        minted = apikeys(*PAT, "--json").json
        apikeys("revoke", minted["id"], "--reason", "Lost.")
        assert is_error(apikeys(command, minted["id"], "--json"), "revoked_key")
        assert is_error(apikeys(command, "0" * 16, "--json"), "unknown_key")

    def test_a_wrong_reason_pauses_nothing(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        long = apikeys("pause", minted["id"], "--reason", "x" * 201, "--json")
        assert is_error(long, "reason_too_long")
        assert is_error(apikeys("pause", "--json"), "missing_argument", "--unused-for")
        both = apikeys("pause", minted["id"], "--unused-for", "90d", "--json")
        assert is_error(both, "contradictory_arguments")
        assert verify(minted["token"])

    def test_unused_keys_are_paused_once(self, apikeys, engine):
        now, long_ago = timezone.now(), timezone.now() - timedelta(days=200)
        old, used, key = mint_pat(name="old"), mint_pat(name="used"), mint_key(engine, name="job")
        pending = mint_pat(name="pending", state="pending")
        for minted in (old, used, key, pending):
            type(minted.key).objects.update(created_at=long_ago)
        PersonalAccessToken.objects.filter(pk=used.key.pk).update(last_used_at=now)

        would = apikeys("pause", "--unused-for", "90d", "--dry-run")
        assert would.out.splitlines()[-1] == "Would pause 2 keys."
        assert verify(old.token)
        done = apikeys("pause", "--unused-for", "90d", "--reason", "Unused.", "--held", "--json")
        assert {each["name"] for each in done.json} == {"old", "job"}
        assert {(each["state"], each["held"]) for each in done.json} == {("paused", True)}
        assert apikeys("pause", "--unused-for", "90d", "--json").json == []
        for minted in (old, key):
            with pytest.raises(Refused, match="paused_key"):
                verify(minted.token)
        assert verify(used.token)

    @pytest.mark.slow
    def test_revoking_names_the_keys_that_were_created_with_it(self, apikeys):
        maker = apikeys(*PAT, "--scope", "keys:write", "--json").json
        ada = PersonalAccessToken.objects.get(public_id=maker["id"]).user
        within = grants.for_tokens(ada, verify(maker["token"]))
        ends = timezone.now() + timedelta(days=1)
        made = [
            mint_pat(ada, name=f"made {n}", expires_at=ends, within=within).key for n in range(22)
        ]
        apikeys("rotate", maker["id"])  # they come from the predecessor of the revoked key
        successor = PersonalAccessToken.objects.get(replaces__public_id=maker["id"])
        ids = {key.public_id for key in made}
        shown = apikeys("show", successor.public_id, "--json").json["created_keys"]
        assert ids == set(shown)
        assert f"created keys  {', '.join(shown)}" in re.sub(
            "  +", "  ", apikeys("show", successor.public_id).out
        )
        done = apikeys("revoke", successor.public_id, "--reason", "Leaked.")
        for key in made[:20]:
            line = f"{key.name} ({key.public_id}), which was created with it, was revoked too."
            assert line in done.err
        assert "So were 2 more keys that were created with it." in done.err
        again = apikeys("revoke", successor.public_id, "--reason", "Leaked.")
        assert "created with it" not in again.err

    def test_revoking_names_paused_keys_of_the_same_chain(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--json").json
        apikeys("pause", old["id"])
        done = apikeys("revoke", new["id"], "--reason", "Leaked.", "--json")
        assert f"{old['id']}, from the same chain of rotations, is still paused." in done.err


class TestVerify:
    def test_a_valid_credential_prints_its_facts(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        done = apikeys("verify", "--json", stdin=minted["token"] + "\n")
        assert done.code == 0
        assert list(done.json) == FACTS
        assert (done.json["id"], done.json["user"]) == (minted["id"], "ada")
        assert done.json["projects"] == ["engine"]
        people = apikeys("verify", stdin=f"  {minted['token']}\r\n")
        assert people.code == 0
        assert minted["id"] in people.out
        for text in (done.out, people.out):
            assert minted["token"].rpartition("_")[2] not in text

    def test_verifying_does_not_count_as_a_use(self, apikeys):
        from apikeys import usage

        minted = apikeys(*PAT, "--json").json
        apikeys("verify", stdin=minted["token"])
        usage.flush()
        assert apikeys("show", minted["id"], "--json").json["last_used_at"] is None

    @pytest.mark.parametrize(
        ("text", "code"),
        [
            ("", "not_authenticated"), (" \n", "not_authenticated"),
            ("acme_pat_x", "malformed_key"), ("nonsense", "invalid_token"),
            ("\x00", "invalid_token"), ("é", "invalid_token"), ("\udcff", "invalid_token"),
            ("acme_pat_\udcff", "invalid_token"), ("a" * 100_000, "invalid_token"),
        ],
    )  # fmt: skip
    def test_a_refused_credential_prints_the_code(self, apikeys, text, code):
        done = apikeys("verify", stdin=text)
        assert (done.code, done.out) == (1, code + "\n")
        assert done.err
        assert is_error(apikeys("verify", "--json", stdin=text), code)

    def test_a_mistyped_expired_revoked_and_deleted_key_have_different_codes(self, apikeys):
        minted = apikeys(*KEY, "--json").json
        typo = minted["token"][:-1] + ("a" if minted["token"][-1] != "a" else "b")
        assert apikeys("verify", stdin=typo).out == "malformed_key\n"
        ProjectKey.objects.update(expires_at=timezone.now())
        assert apikeys("verify", stdin=minted["token"]).out == "expired_key\n"
        apikeys("revoke", minted["id"], "--reason", "x")
        assert apikeys("verify", stdin=minted["token"]).out == "revoked_key\n"
        ProjectKey.objects.all().delete()
        assert apikeys("verify", stdin=minted["token"]).out == "invalid_key\n"


class TestSecretsInArguments:
    @pytest.mark.parametrize(
        "words",
        [
            ["verify", "{}"],
            ["show", "{}"],
            ["rotate", "{}"],
            ["revoke", "{}", "--reason", "x"],
            ["mint", "--user", "{}", "--name", "x", "--scope", "payments:read"],
            ["mint", "--user", "ada", "--name", "{}", "--scope", "payments:read"],
            ["mint", "--user", "ada", "--name", "x", "--scope", "{}"],
            ["mint", "--project", "{}", "--name", "x", "--scope", "payments:read"],
            ["mint", "--user", "ada", "--name", "x", "--scope", "payments:read", "--expires", "{}"],
            ["revoke", "0" * 16, "--reason", "leaked: {}"],
            ["revoke", "0" * 16, "--reason", "x", "--by", "{}"],
            ["list", "--user", "{}"],
        ],
    )
    def test_a_key_is_refused_and_not_repeated(self, apikeys, words):
        token = mint_pat().token
        done = apikeys(*(word.format(token) for word in words), "--json")
        assert is_error(done, "secret_in_arguments", "Rotate that key")
        assert token.rpartition("_")[2][:10] not in done.out + done.err
        assert not PersonalAccessToken.objects.filter(name__contains=token).exists()

    def test_a_secret_without_its_id_is_refused_and_not_repeated(self, apikeys):
        secret = mint_pat().token.rpartition("_")[2]
        done = apikeys("show", secret, "--json")
        assert is_error(done, "secret_in_arguments")
        assert secret[:10] not in done.out + done.err
