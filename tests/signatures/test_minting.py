"""Create keys with a public key everywhere: no secret is stored or shown."""

import json
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from django.core.management import CommandError, call_command
from django.db import connection

from apikeys import lifecycle
from apikeys.lifecycle import LifecycleError
from apikeys.models import AuditEvent, ProjectKey
from tests.api.conftest import Caller
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat
from tests.signatures.test_public_keys import ed25519_jwk
from tests.signing import Caller as Signer
from tests.signing import ed25519_key, p256_key, pem, send

URL = "http://testserver/echo/"


def private_pem(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def code_of(do):
    with pytest.raises(LifecycleError) as caught:
        do()
    assert caught.value.field in ("public_key", "direct_use")
    return caught.value.code


WRONG = [
    (pem(rsa.generate_private_key(65537, 2048)), "unsupported_public_key"),
    (pem(ec.generate_private_key(ec.SECP384R1())), "unsupported_public_key"),
    ("hello", "invalid_public_key"),
    ("", "invalid_public_key"),
    (private_pem(ed25519_key()), "private_key_given"),
    (private_pem(rsa.generate_private_key(65537, 2048)), "private_key_given"),
]


class TestLifecycle:
    def test_a_key_with_a_public_key_has_no_secret(self, engine):
        minted = mint_key(engine, public_key=pem(ed25519_key()))
        assert minted.token == ""
        assert (minted.key.root, minted.key.digest) == ("", "")

    @pytest.mark.parametrize(("given", "code"), WRONG)
    def test_a_refused_public_key_is_not_stored(self, engine, given, code):
        assert code_of(lambda: mint_key(engine, public_key=given)) == code
        minted = mint_key(engine)
        assert code_of(lambda: lifecycle.rotate(minted.key, public_key=given)) == code
        assert ProjectKey.objects.count() == 1
        assert AuditEvent.objects.count() == 1

    def test_personal_access_tokens_cannot_have_a_public_key(self, db):
        with pytest.raises(TypeError):
            mint_pat(public_key=pem(ed25519_key()))
        with pytest.raises(TypeError):
            lifecycle.rotate(mint_pat().key, public_key=pem(ed25519_key()))

    def test_a_public_key_cannot_be_exchange_only(self, engine):
        given = pem(ed25519_key())
        code = "exchange_needs_secret"
        assert code_of(lambda: mint_key(engine, public_key=given, direct_use=False)) == code
        key = mint_key(engine, public_key=given).key
        assert code_of(lambda: lifecycle.edit(key, direct_use=False)) == code

    def test_a_public_key_cannot_be_reused(self, engine):
        given = pem(ed25519_key())
        key = mint_key(engine, public_key=given).key
        assert code_of(lambda: mint_key(engine, public_key=given)) == "public_key_reused"
        assert code_of(lambda: lifecycle.rotate(key, public_key=given)) == "public_key_reused"
        lifecycle.revoke(key)
        assert code_of(lambda: mint_key(engine, public_key=given)) == "public_key_reused"
        mint_key(public_key=given)  # other projects cannot find out that it was used

    def test_rotation_needs_a_new_public_key(self, client, engine, ada):
        old, new = ed25519_key(), p256_key()
        key = mint_key(engine, public_key=pem(old), by=ada).key
        assert code_of(lambda: lifecycle.rotate(key)) == "public_key_required"

        rotated = lifecycle.rotate(key, public_key=pem(new), overlap=timedelta(hours=1))

        assert rotated.token == ""
        for key_id, private in ((key.public_id, old), (rotated.key.public_id, new)):
            assert send(client, Signer(key_id, private).sign("GET", URL)).status_code == 200
        for key_id, private in ((key.public_id, new), (rotated.key.public_id, old)):
            assert send(client, Signer(key_id, private).sign("GET", URL)).status_code == 401

    def test_rotation_can_replace_a_secret_with_a_public_key(self, client, engine):
        minted, private = mint_key(engine), ed25519_key()
        rotated = lifecycle.rotate(minted.key, public_key=pem(private), overlap=timedelta(0))
        signer = Signer(rotated.key.public_id, private)
        assert send(client, signer.sign("GET", URL)).status_code == 200
        assert rotated.key.chain() == [minted.key, rotated.key]


class TestTheAPI:
    @pytest.fixture
    def owner(self, engine):
        user = UserFactory(username="ada")
        MembershipFactory(user=user, project=engine, role="owner")
        return Caller(user=user)

    path = "projects/analytical-engine/keys/"
    asked = {"name": "worker", "scopes": ["payments:read"]}

    @pytest.mark.parametrize("shape", [pem, ed25519_jwk, lambda key: json.dumps(ed25519_jwk(key))])
    def test_a_key_is_created(self, owner, client, shape):
        private = ed25519_key()
        response = owner("POST", self.path, self.asked | {"public_key": shape(private)})
        assert response.status_code == 201, response.content
        facts = response.json()
        assert (facts["token"], facts["public_key"]) == (None, pem(private))
        signer = Signer(facts["id"], private)
        assert send(client, signer.sign("GET", URL)).status_code == 200
        assert owner("GET", self.path + facts["id"] + "/").json()["public_key"] == pem(private)

    @pytest.mark.parametrize(("given", "code"), WRONG)
    def test_an_invalid_public_key_is_refused(self, owner, given, code):
        response = owner(
            "POST", self.path, self.asked | {"public_key": given}, Idempotency_Key="once"
        )
        assert response.status_code == 400
        problem = response.json()
        assert (problem["code"], problem["field"]) == (code, "public_key")
        told = given.replace("\n", "\\n")[30:60]
        assert not told or told not in response.content.decode()
        self.assert_stored_nowhere(given)
        assert ProjectKey.objects.count() == 0

    def assert_stored_nowhere(self, text):
        """Assert that no row of any table contains ``text``."""
        inner = text.partition("\n")[2][:40]
        if not inner:
            return
        with connection.cursor() as cursor:
            for table in connection.introspection.table_names(cursor):
                cursor.execute(f"SELECT * FROM {connection.ops.quote_name(table)}")
                assert not any(inner in str(value) for row in cursor for value in row), table

    @pytest.mark.parametrize("given", [5, [], [1], True, {"kty": "OKP"}, {"d": 1}, {"kty": []}])
    def test_an_invalid_type_is_refused(self, owner, given):
        response = owner("POST", self.path, self.asked | {"public_key": given})
        assert response.status_code == 400
        assert response.json()["code"].split("_")[-1] in ("key", "given")

    def test_null_creates_a_secret(self, owner):
        response = owner("POST", self.path, self.asked | {"public_key": None})
        assert response.json()["token"].startswith("acme_key_")

    def test_tokens_cannot_have_a_public_key(self, owner):
        asked = {"name": "x", "scopes": ["payments:read"], "public_key": pem(ed25519_key())}
        response = owner("POST", "tokens/", asked)
        assert (response.status_code, response.json()["code"]) == (400, "unknown_field")

    def test_a_public_key_cannot_be_edited(self, owner, engine):
        key = mint_key(engine, public_key=pem(ed25519_key())).key
        changed = {"public_key": pem(ed25519_key())}
        response = owner("PATCH", f"{self.path}{key.public_id}/", changed)
        assert (response.status_code, response.json()["code"]) == (400, "unknown_field")

    def test_rotation_needs_a_new_public_key(self, owner, engine, client):
        key, private = mint_key(engine, public_key=pem(ed25519_key())).key, p256_key()
        path = f"{self.path}{key.public_id}/rotate/"
        response = owner("POST", path, {})
        assert (response.status_code, response.json()["code"]) == (400, "public_key_required")
        facts = owner("POST", path, {"public_key": pem(private)}).json()
        assert (facts["token"], facts["replaces"]) == (None, key.public_id)
        signer = Signer(facts["id"], private)
        assert send(client, signer.sign("GET", URL)).status_code == 200


class TestTheCommand:
    @pytest.fixture
    def run(self, engine, capsys):
        def run(*words):
            call_command("apikeys", *words)
            return capsys.readouterr().out

        return run

    def test_a_key_is_created_and_rotated(self, run, client, tmp_path):
        file, first, second = tmp_path / "public.pem", ed25519_key(), p256_key()
        file.write_text(pem(first))
        words = [
            "--project",
            "analytical-engine",
            "--name",
            "w",
            "--scope",
            "payments:read",
            "--json",
        ]
        facts = json.loads(run("mint", *words, "--public-key", str(file)))
        assert (facts["token"], facts["public_key"]) == (None, pem(first))
        assert send(client, Signer(facts["id"], first).sign("GET", URL)).status_code == 200

        with pytest.raises(CommandError, match="Send the public key"):
            run("rotate", facts["id"], "--json")
        file.write_text(json.dumps(ed25519_jwk(ed25519_key())))
        run("rotate", facts["id"], "--json", "--public-key", str(file))
        facts = json.loads(run("mint", *words))
        file.write_text(pem(second))
        facts = json.loads(run("rotate", facts["id"], "--json", "--public-key", str(file)))
        assert send(client, Signer(facts["id"], second).sign("GET", URL)).status_code == 200

    def test_the_output_says_that_there_is_no_secret(self, run, tmp_path):
        public = pem(ed25519_key())
        (tmp_path / "public.pem").write_text(public)
        words = ["--project", "analytical-engine", "--name", "w", "--scope", "payments:read"]
        told = run("mint", *words, "--public-key", str(tmp_path / "public.pem"))
        assert "no secret" in told
        assert public.splitlines()[1] in told
        assert "see it again" not in told

    @pytest.mark.parametrize(("given", "code"), [w for w in WRONG if w[0]])
    def test_an_invalid_public_key_is_refused(self, run, tmp_path, capsys, given, code):
        (tmp_path / "given").write_text(given)
        words = [
            "--project",
            "analytical-engine",
            "--name",
            "w",
            "--scope",
            "payments:read",
            "--json",
        ]
        with pytest.raises(CommandError) as caught:
            run("mint", *words, "--public-key", str(tmp_path / "given"))
        told = capsys.readouterr().out
        assert json.loads(told)["code"] == code
        assert given.splitlines()[-1] not in told + str(caught.value)

    def test_a_missing_file_is_reported(self, run):
        words = ["--project", "analytical-engine", "--name", "w", "--scope", "payments:read"]
        with pytest.raises(CommandError, match="cannot be read: No such file"):
            run("mint", *words, "--public-key", "/nowhere/x")

    def test_personal_access_tokens_cannot_have_a_public_key(self, run, tmp_path):
        UserFactory(username="ada")
        words = ["--user", "ada", "--name", "w", "--scope", "payments:read"]
        with pytest.raises(CommandError, match="project keys"):
            run("mint", *words, "--public-key", str(tmp_path))
        with pytest.raises(CommandError, match="project keys"):
            run("rotate", mint_pat().key.public_id, "--public-key", str(tmp_path))
