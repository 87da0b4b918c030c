"""``manage.py apikeys``, as people and scripts use it."""

import re
from datetime import UTC, datetime, timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat

TOKEN = re.compile(r"acme_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]{49}")
RECORD = [
    "kind", "id", "name", "user", "project", "scopes", "projects", "allowed_networks",
    "rate_limits", "expires_at", "direct_use", "public_key", "state", "created_at", "created_by",
    "last_used_at", "last_used_ip", "minted_with", "legacy", "approved_at", "approved_by",
    "rotated_at", "replaces", "replaced_by", "revoked_at", "revoked_by", "revoked_reason",
]  # fmt: skip
FACTS = ["kind", "id", "name", "user", "project", "client", "scopes", "projects", "expires_at"]
PAT = ["mint", "--user", "ada", "--name", "ci", "--scope", "payments:read"]
KEY = ["mint", "--project", "engine", "--name", "server", "--scope", "payments:write"]


@pytest.fixture(autouse=True)
def people(db):
    MembershipFactory(user__username="ada", project__slug="engine", role="owner")
    MembershipFactory(user__username="grace", project__slug="compiler", role="owner")


def refused(done, code, said=""):
    """A refusal: exit code 1, the code on stdout, a sentence on stderr."""
    assert done.code == 1
    assert done.json["code"] == code
    assert done.json["detail"] == done.err
    assert said in done.err
    return True


class TestMint:
    def test_a_personal_access_token(self, apikeys):
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

    def test_a_project_key(self, apikeys):
        minted = apikeys(*KEY, "--json").json
        assert (minted["kind"], minted["project"], minted["user"]) == (
            "project_key",
            "engine",
            None,
        )
        assert minted["expires_at"] is None
        assert verify(minted["token"]).project.slug == "engine"

    def test_for_people_the_token_is_printed_once(self, apikeys):
        done = apikeys(*PAT)
        (token,) = TOKEN.findall(done.out + done.err)
        assert done.out.splitlines()[0] == token  # alone on the first line, for `head -1`
        assert verify(token).user.username == "ada"
        assert "shown this once" in done.out

    def test_restricted_to_projects(self, apikeys):
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
    def test_several_scopes(self, apikeys, words):
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
    def test_expiry(self, apikeys, when, expected):
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
    def test_expiry_that_cannot_be(self, apikeys, when, code):
        assert refused(apikeys(*PAT, f"--expires={when}", "--json"), code)
        assert not PersonalAccessToken.objects.exists()

    @pytest.mark.parametrize(
        ("words", "code", "said"),
        [
            (["--user", "adda"], "unknown_user", "Did you mean 'ada'?"),
            (["--user", "zzz"], "unknown_user", "no user 'zzz'"),
            (["--project", "engin"], "unknown_project", "Did you mean 'engine'?"),
            (["--user", "ada", "--project", "compiler"], "unknown_project", "not in the project"),
            (["--project", "engine", "--project", "compiler"], "several_projects", "one --project"),
            (["--user", "ada", "--scope", "payments:reed"], "unknown_scope", "payments:reed"),
            (["--user", "ada", "--name", "x" * 101], "name_too_long", "100"),
            (["--user", "ada", "--name", "  "], "name_required", "name"),
            ([], "missing_argument", "--user or --project"),
            (["--user", "ada", "--name", ""], "missing_argument", "--name"),
        ],
    )
    def test_what_cannot_be_minted(self, apikeys, words, code, said):
        rest = [] if "--name" in words else ["--name", "x"]
        assert refused(
            apikeys("mint", *words, *rest, "--scope", "payments:read", "--json"), code, said
        )
        assert not PersonalAccessToken.objects.exists()
        assert not ProjectKey.objects.exists()

    def test_what_is_missing_is_not_asked_for_without_a_terminal(self, apikeys):
        done = apikeys("mint", "--user", "ada")
        assert done.code == 1
        assert "--name" in done.err
        assert "--scope" in done.err

    def test_not_for_the_deactivated(self, apikeys):
        UserFactory(username="gone", is_active=False)
        done = apikeys(
            "mint", "--user", "gone", "--name", "x", "--scope", "payments:read", "--json"
        )
        assert refused(done, "inactive_user")


class TestList:
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

    def test_json_is_records_newest_first(self, apikeys):
        ids = [apikeys(*words, "--json").json["id"] for words in (PAT, KEY, PAT)]
        records = apikeys("list", "--json").json
        assert [each["id"] for each in records] == ids[::-1]
        assert all(list(each) == RECORD for each in records)

    def test_nothing_to_list(self, apikeys):
        assert apikeys("list", "--json").json == []
        done = apikeys("list")
        assert (done.code, done.out) == (0, "No live keys; --all lists the others too.\n")

    def test_only_live_ones_unless_all(self, apikeys):
        ada = UserFactory()
        live, revoked, expired = (mint_pat(ada).key for _ in range(3))
        lifecycle.revoke(revoked)
        PersonalAccessToken.objects.filter(pk=expired.pk).update(expires_at=timezone.now())
        assert [r["id"] for r in apikeys("list", "--json").json] == [live.public_id]
        everything = apikeys("list", "--all", "--json").json
        assert {r["id"]: r["state"] for r in everything} == {
            live.public_id: "live", revoked.public_id: "revoked", expired.public_id: "expired",
        }  # fmt: skip

    def test_filters(self, apikeys):
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
        assert refused(apikeys("list", "--user", "nobody", "--json"), "unknown_user")

    def test_limit(self, apikeys):
        newest = [apikeys(*PAT, "--json").json["id"] for _ in range(3)][::-1]
        done = apikeys("list", "--limit", "2", "--json")
        assert [record["id"] for record in done.json] == newest[:2]
        assert "more than these 2" in done.err
        assert apikeys("list", "--limit", "3", "--json").err == ""
        for command in ("list", "audit"):
            for limit in ("0", "9223372036854775807", "9" * 20):
                assert refused(apikeys(command, "--limit", limit, "--json"), "invalid_limit")

    def test_the_number_of_queries_does_not_grow(self, apikeys, django_assert_max_num_queries):
        ada = UserFactory()
        for _ in range(4):
            lifecycle.rotate(mint_pat(ada).key)
            mint_key()
        with django_assert_max_num_queries(5):  # of each kind, its owners, projects of tokens
            apikeys("list", "--json")

    def test_plain_columns_where_there_is_no_terminal(self, apikeys):
        key = apikeys(*PAT, "--json").json
        header, row = apikeys("list").out.splitlines()
        assert header.split()[:4] == ["ID", "KIND", "NAME", "OWNER"]
        assert row.split()[:4] == [key["id"], "pat", "ci", "ada"]

    def test_names_do_not_steer_the_terminal(self, apikeys):
        key = mint_pat().key
        # As it may have come into the table before names were checked.
        PersonalAccessToken.objects.filter(pk=key.pk).update(name="\x1b[2J\x07\u202eevil")
        done = apikeys("list")
        assert not re.search("[\x1b\x07\u202e]", done.out)
        assert "evil" in done.out


class TestShow:
    def test_all_there_is_to_know_but_the_secret(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        shown = apikeys("show", minted["id"], "--json").json
        assert shown == {k: v for k, v in minted.items() if k != "token"} | {
            "rotation_chain": [minted["id"]]
        }
        done = apikeys("show", minted["id"])
        assert minted["id"] in done.out
        assert minted["token"].rpartition("_")[2] not in done.out

    @pytest.mark.parametrize("command", ["show", "rotate", "revoke"])
    @pytest.mark.parametrize(
        ("public_id", "code"),
        [
            ("0" * 16, "unknown_key"), ("", "invalid_id"), ("0" * 15, "invalid_id"),
            ("0" * 17, "invalid_id"), ("A" * 16, "invalid_id"),
            ("\N{FULLWIDTH DIGIT ONE}" * 16, "invalid_id"),
            ("0" * 15 + "\n", "invalid_id"), ("%" * 16, "invalid_id"),
        ],
    )  # fmt: skip
    def test_ids_of_no_key(self, apikeys, command, public_id, code):
        more = ["--reason", "x"] if command == "revoke" else []
        assert refused(apikeys(command, public_id, *more, "--json"), code)


class TestRotate:
    def test_a_successor_and_an_overlap(self, apikeys):
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

    def test_without_overlap_the_old_one_ends_now(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--overlap", "0", "--json").json
        with pytest.raises(Refused, match="expired_key"):
            verify(old["token"])
        assert verify(new["token"]).credential_id == new["id"]

    def test_for_people(self, apikeys):
        old = apikeys(*PAT, "--json").json
        done = apikeys("rotate", old["id"])
        (token,) = TOKEN.findall(done.out + done.err)
        assert verify(token)
        assert f"It replaces {old['id']}" in done.out

    @pytest.mark.parametrize(
        ("overlap", "code"),
        [
            ("8d", "overlap_out_of_range"), ("1y", "overlap_out_of_range"),
            ("1", "invalid_overlap"), ("-1d", "invalid_overlap"), ("soon", "invalid_overlap"),
            ("", "invalid_overlap"), ("999999y", "overlap_out_of_range"),
        ],
    )  # fmt: skip
    def test_overlaps_that_cannot_be(self, apikeys, overlap, code):
        old = apikeys(*PAT, "--json").json
        assert refused(apikeys("rotate", old["id"], f"--overlap={overlap}", "--json"), code)
        assert apikeys("show", old["id"], "--json").json["replaced_by"] is None

    def test_once_only(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--json").json
        assert refused(apikeys("rotate", old["id"], "--json"), "already_rotated", new["id"])

    def test_not_what_has_ended(self, apikeys):
        old = apikeys(*PAT, "--json").json
        apikeys("revoke", old["id"], "--reason", "x")
        assert refused(apikeys("rotate", old["id"], "--json"), "revoked_key")


class TestRevoke:
    def test_is_refused_from_now_on(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        done = apikeys("revoke", minted["id"], "--reason", "Lost.", "--by", "grace", "--json")
        assert list(done.json) == RECORD
        assert done.json["state"] == "revoked"
        assert done.json["revoked_reason"] == "Lost."
        assert done.json["revoked_by"] == "grace"
        with pytest.raises(Refused, match="revoked_key"):
            verify(minted["token"])

    def test_the_first_one_counts(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        first = apikeys("revoke", minted["id"], "--reason", "Lost.", "--json").json
        assert apikeys("revoke", minted["id"], "--reason", "Again.", "--json").json == first
        done = apikeys("revoke", minted["id"], "--reason", "Again.")
        assert (done.code, "Lost." in done.out) == (0, True)

    def test_needs_a_reason(self, apikeys):
        minted = apikeys(*PAT, "--json").json
        assert refused(apikeys("revoke", minted["id"], "--json"), "missing_argument", "--reason")
        long = apikeys("revoke", minted["id"], "--reason", "x" * 201, "--json")
        assert refused(long, "reason_too_long")
        assert verify(minted["token"])

    def test_points_at_the_rest_of_the_chain(self, apikeys):
        old = apikeys(*PAT, "--json").json
        new = apikeys("rotate", old["id"], "--json").json
        done = apikeys("revoke", new["id"], "--reason", "Leaked.", "--json")
        assert old["id"] in done.err
        assert verify(old["token"])


class TestVerify:
    def test_the_facts(self, apikeys):
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

    def test_does_not_count_as_a_use(self, apikeys):
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
    def test_refusals_by_name(self, apikeys, text, code):
        done = apikeys("verify", stdin=text)
        assert (done.code, done.out) == (1, code + "\n")
        assert done.err
        assert refused(apikeys("verify", "--json", stdin=text), code)

    def test_every_end_of_a_key(self, apikeys):
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
        assert refused(done, "secret_in_arguments", "rotate that key")
        assert token.rpartition("_")[2][:10] not in done.out + done.err
        assert not PersonalAccessToken.objects.filter(name__contains=token).exists()

    def test_a_secret_alone(self, apikeys):
        secret = mint_pat().token.rpartition("_")[2]
        done = apikeys("show", secret, "--json")
        assert refused(done, "secret_in_arguments")
        assert secret[:10] not in done.out + done.err
