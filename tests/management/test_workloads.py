"""``manage.py apikeys`` for project keys that trust a workload."""

import pytest

from apikeys import lifecycle, verify
from apikeys.models import AuditEvent, ProjectKey
from apikeys.refusals import Refused
from tests.factories import mint_key, mint_pat
from tests.workloads.conftest import workloads  # noqa: F401 - a fixture
from tests.workloads.issuer import SITE, TRUST, URL

pytestmark = pytest.mark.usefixtures("workloads")

GITHUB = ["--issuer", "github", "--claim", "repository_id=123456789"]
PRODUCTION = {"environment": "production", "repository_id": "123456789"}


@pytest.fixture
def key(engine):
    asked = {"name": "deploy", "scopes": ["payments:read"], "trust": TRUST}
    return lifecycle.mint(project=engine, **asked).key


def problem(done):
    assert done.code == 1, done.out
    return done.err


class TestMint:
    WORDS = ["mint", "--project", "analytical-engine", "--name", "x", "--scope", "payments:read"]

    def test_lines_to_paste_take_the_place_of_the_secret(self, apikeys, engine):
        done = apikeys(*self.WORDS, *GITHUB, "--claim", "environment=production")
        key = ProjectKey.objects.get()
        assert done.code == 0, done.err
        assert f"client_id={key.public_id}" in done.out
        assert "acme_key_" not in done.out

    def test_json_has_the_rules_and_no_secret(self, apikeys, engine):
        done = apikeys(*self.WORDS, *GITHUB, "--json")
        assert done.json["token"] is None
        claims = {"repository_id": "123456789"}
        assert done.json["trust"] == {"issuer": URL, "audience": SITE, "claims": claims}

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--claim", "repository_id=1"], "Give --issuer"),
            (["--issuer", "github"], "Every repository on GitHub"),
            (["--issuer", "github", "--claim", "repository_id"], "--claim takes NAME=VALUE"),
            ([*GITHUB, "--claim", "repository_id=2"], "each name once"),
            ([*GITHUB, "--audience", "https://github.com/acme"], "the URL of this site"),
            (["--issuer", "https://evil.example", "--claim", "sub=1"], "does not trust"),
        ],
    )
    def test_unsafe_rules_are_refused(self, apikeys, engine, words, said):
        assert said in problem(apikeys(*self.WORDS, *words))
        assert not ProjectKey.objects.exists()


class TestEdit:
    def test_rules_are_replaced(self, apikeys, key):
        done = apikeys("edit", key.public_id, "--issuer", "github", "--claim", "repository_id=2")
        assert done.code == 0, done.err
        assert done.out == (
            f"trust: {URL} environment=production repository_id=123456789 aud={SITE} -> "
            f"{URL} repository_id=2 aud={SITE}\n"
        )

    def test_json_has_the_rules_before_and_after(self, apikeys, key, ada):
        done = apikeys("edit", key.public_id, *GITHUB, "--by", "ada", "--json")
        change = done.json["changes"]["trust"]
        assert change["before"]["claims"] == PRODUCTION
        assert change["after"]["claims"] == {"repository_id": "123456789"}
        assert AuditEvent.objects.filter(event="edited").get().by == "ada"

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--claim", "repository_id=2"], "Give --issuer"),
            (["--issuer", "github", "--claim", "environment=production"], "Every repository"),
            (["--issuer", "github", "--claim", "actor=ada"], "Use actor_id instead"),
        ],
    )
    def test_unsafe_rules_change_nothing(self, apikeys, key, words, said):
        before = key.trust
        assert said in problem(apikeys("edit", key.public_id, *words))
        key.refresh_from_db()
        assert key.trust == before

    def test_key_with_a_secret_must_be_converted(self, apikeys, engine):
        key = mint_key(engine).key
        assert "Convert it" in problem(apikeys("edit", key.public_id, *GITHUB))

    def test_tokens_of_users_need_a_secret(self, apikeys, ada):
        key = mint_pat(ada).key
        assert "--issuer is for project keys" in problem(apikeys("edit", key.public_id, *GITHUB))


class TestRotate:
    def test_successor_has_the_new_rules(self, apikeys, key):
        done = apikeys("rotate", key.public_id, *GITHUB, "--overlap", "1h")
        new = ProjectKey.objects.get(replaces=key)
        assert done.code == 0, done.err
        assert f"client_id={new.public_id}" in done.out
        assert f"This key replaces {key.public_id}" in done.out
        assert "environment" not in new.trust
        key.refresh_from_db()
        assert key.state() == "live"

    def test_rules_are_required(self, apikeys, key):
        assert "Send the rules" in problem(apikeys("rotate", key.public_id))
        key.refresh_from_db()
        assert key.rotated_at is None

    def test_unsafe_rules_change_nothing(self, apikeys, key):
        done = apikeys("rotate", key.public_id, "--issuer", "github", "--claim", "ref=refs/heads/*")
        assert "Every repository" in problem(done)
        assert ProjectKey.objects.get() == key

    def test_tokens_of_users_need_a_secret(self, apikeys, ada):
        key = mint_pat(ada).key
        assert "--issuer is for project keys" in problem(apikeys("rotate", key.public_id, *GITHUB))


class TestConvert:
    def test_secret_works_during_the_overlap(self, apikeys, engine, ada):
        minted = mint_key(engine)
        done = apikeys("convert", minted.key.public_id, *GITHUB, "--overlap", "1h", "--by", "ada")
        assert done.code == 0, done.err
        assert "Its secret works until" in done.out
        assert f"client_id={minted.key.public_id}" in done.out
        assert minted.token not in done.out
        assert verify.verify(minted.token).credential_id == minted.key.public_id
        assert AuditEvent.objects.filter(event="edited").get().by == "ada"

    def test_secret_stops_at_once_without_overlap(self, apikeys, engine):
        minted = mint_key(engine)
        done = apikeys("convert", minted.key.public_id, *GITHUB, "--overlap", "0", "--json")
        assert done.json["trust"]["claims"] == {"repository_id": "123456789"}
        assert done.json["secret_ends_at"] is None
        with pytest.raises(Refused, match="invalid_key"):
            verify.verify(minted.token)

    @pytest.mark.parametrize(
        ("words", "said"),
        [
            (["--issuer", "github"], "Every repository"),
            (["--issuer", "github", "--claim", "repository=acme/app"], "Use repository_id instead"),
            ([*GITHUB, "--overlap", "8d"], "7"),
            ([*GITHUB, "--overlap", "soon"], "--overlap does not understand 'soon'"),
            ([*GITHUB, "--by", "nobody"], "Unknown user 'nobody'"),
        ],
    )
    def test_wrong_arguments_change_nothing(self, apikeys, engine, words, said):
        minted = mint_key(engine)
        assert said in problem(apikeys("convert", minted.key.public_id, *words))
        assert ProjectKey.objects.get().trust == ""
        verify.verify(minted.token)

    def test_other_keys_are_refused(self, apikeys, key, ada):
        said = problem(apikeys("convert", key.public_id, *GITHUB))
        assert "Only a key with its own secret can be converted" in said
        said = problem(apikeys("convert", mint_pat(ada).key.public_id, *GITHUB))
        assert "--issuer is for project keys" in said
        assert "No key has the ID" in problem(apikeys("convert", "0" * 16, *GITHUB))

    def test_site_without_issuers_refuses(self, apikeys, engine, settings):
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
        said = problem(apikeys("convert", mint_key(engine).key.public_id, *GITHUB))
        assert "This site does not accept workloads" in said


def test_show_has_the_rules(apikeys, key):
    done = apikeys("show", key.public_id)
    assert "repository_id=123456789" in done.out
