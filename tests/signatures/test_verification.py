"""Valid signatures are accepted, and every kind of invalid signature is refused."""

import base64
import json
import re
import time
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from http_message_signatures import HTTPMessageSigner, MappingKeyResolver, algorithms

from apikeys import lifecycle, usage
from apikeys.models import AuditEvent, EndedUse, ProjectKey, UsedNonce
from tests.factories import MembershipFactory, UserFactory, bearer, mint_key, of_nobody
from tests.signing import COVERED, Caller, caller, ed25519_key, p256_key, pem, send

URL = "http://testserver/echo/"
BODY = b'{"amount": 1}'
JSON = {"Content-Type": "application/json"}
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def status_and_code(response):
    """Return status and code. Assert that the response has a challenge."""
    assert ("WWW-Authenticate" in response.headers) == (response.status_code in (400, 401, 403))
    return response.status_code, json.loads(response.content)["code"]


class TestAccepted:
    def test_a_request_without_a_body_is_accepted(self, client, someone):
        response = send(client, someone.sign("GET", URL + "?a=1&b=%20x"))
        assert (response.status_code, response.json()["who"]) == (200, "project:analytical-engine")

    @pytest.mark.parametrize("method", ["POST", "PUT", "PATCH", "DELETE"])
    def test_a_request_with_a_body_is_accepted(self, client, someone, method):
        response = send(client, someone.sign(method, URL, body=BODY, headers=JSON))
        assert response.status_code == 200, response.content
        assert response.json() == {"who": "project:analytical-engine", "data": {"amount": 1}}

    @pytest.mark.parametrize(
        "covered",
        [
            ("@method", "@authority", "@path", "@query"),
            ("@query", "@path", "@method", "@authority", "@scheme", "@target-uri"),
            (*COVERED, "content-type", "x-more"),
        ],
    )
    def test_more_covered_components_are_accepted(self, client, someone, covered):
        headers = JSON | {"X-More": "1"}
        request = someone.sign("POST", URL + "?q", body=BODY, headers=headers, covered=covered)
        assert send(client, request).status_code == 200

    @pytest.mark.parametrize("options", [{"include_alg": False}, {"tag": "billing"}])
    def test_optional_parameters_are_accepted(self, client, someone, options):
        assert send(client, someone.sign("GET", URL, **options)).status_code == 200

    @pytest.mark.parametrize("path", ["a%20b", "%C3%A9", "a+b", "~x", "a:b@c"])
    def test_an_encoded_path_is_accepted(self, client, someone, path):
        assert send(client, someone.sign("GET", URL + path)).status_code == 200

    @pytest.mark.parametrize("path", ["/plain/", "/plain/async/"])
    def test_plain_django_views_accept_signatures(self, client, worker, path):
        response = send(client, worker.sign("GET", "http://testserver" + path))
        assert (response.status_code, response.json()) == (
            200,
            {"who": "project:analytical-engine"},
        )

    def test_django_ninja_accepts_signatures(self, client, worker):
        url = "http://testserver/ninja/echo"
        response = send(client, worker.sign("POST", url, body=BODY))
        assert (response.status_code, response.json()) == (
            200,
            {"who": "project:analytical-engine"},
        )
        response = send(client, worker.sign("POST", url, body=BODY, age=301))
        assert status_and_code(response) == (401, "stale_signature")

    def test_the_access_names_instance_and_creator(self, client, worker):
        facts = send(client, worker.sign("GET", "http://testserver/api/token/")).json()
        assert facts["id"] == worker.key_id
        assert (facts["kind"], facts["project"]) == ("project_key", "analytical-engine")
        assert (facts["name"], facts["signed"], facts["authorized_by"]) == ("worker-3", True, "ada")

    def test_the_access_names_the_approver(self, client, worker):
        key = ProjectKey.objects.get(public_id=worker.key_id)
        key.is_pending = True
        key.save()
        lifecycle.approve(key, by=UserFactory(username="grace"))
        facts = send(client, worker.sign("GET", "http://testserver/api/token/")).json()
        assert facts["authorized_by"] == "grace"

    def test_a_key_with_a_secret_names_no_instance(self, client, engine, ada):
        minted = mint_key(engine, by=ada)
        facts = client.get("/api/token/", headers=bearer(minted.token)).json()
        assert "signed" not in facts
        assert "authorized_by" not in facts

    def test_it_counts_as_a_use(self, client, worker):
        request = worker.sign("GET", URL)
        assert send(client, request).status_code == 200
        assert send(client, request).status_code == 401
        usage.flush()
        key = ProjectKey.objects.get(public_id=worker.key_id)
        assert key.last_used_ip == "127.0.0.1"
        assert usage.daily(ProjectKey, [key.pk])[key.pk][-1] == 1

    def test_verification_costs_two_queries(self, client, worker, django_assert_num_queries):
        request = worker.sign("GET", URL)
        # One for the key with its project and users; one for the nonce, with a savepoint.
        with django_assert_num_queries(4):
            assert send(client, request).status_code == 200


class TestAuthorizationComesFirst:
    def test_a_signature_does_not_rescue_an_invalid_bearer_credential(self, client, worker):
        request = worker.sign("GET", URL, headers=bearer(of_nobody("key")))
        assert status_and_code(send(client, request)) == (401, "invalid_key")

    def test_an_unsupported_scheme_is_refused(self, client, worker):
        request = worker.sign("GET", URL, headers={"Authorization": "Basic YTpi"})
        assert status_and_code(send(client, request)) == (401, "not_authenticated")

    def test_a_signature_without_input_is_ignored(self, client, worker):
        request = worker.sign("GET", URL)
        del request.headers["Signature-Input"]
        assert status_and_code(send(client, request)) == (401, "not_authenticated")


class TestTampering:
    @pytest.fixture
    def signed(self, someone):
        return someone.sign("POST", URL + "a?x=1", body=BODY, headers=JSON)

    @pytest.mark.parametrize("method", ["PUT", "GET", "DELETE"])
    def test_a_changed_method_is_refused(self, client, signed, method):
        signed.method = method
        assert status_and_code(send(client, signed)) == (401, "invalid_signature")

    @pytest.mark.parametrize(
        "path", ["b?x=1", "a?x=2", "a", "a?x=1&y=2", "a?", "a/?x=1", "A?x=1", "%61?x=1x", "?x=1"]
    )
    def test_a_changed_target_is_refused(self, client, signed, path):
        signed.url = URL + path
        assert status_and_code(send(client, signed)) == (401, "invalid_signature")

    def test_an_added_query_is_refused(self, client, someone):
        for covered in (COVERED, ("@method", "@authority", "@path", "@query")):
            request = someone.sign("GET", URL, covered=covered)
            request.url += "?admin=1"
            assert status_and_code(send(client, request)) == (401, "invalid_signature")

    def test_a_changed_host_is_refused(self, client, signed, settings):
        settings.ALLOWED_HOSTS = ["*"]
        response = send(client, signed, SERVER_NAME="other.example")
        assert status_and_code(response) == (401, "invalid_signature")

    def test_a_changed_scheme_is_refused(self, client, someone):
        response = send(client, someone.sign("GET", URL), secure=True)
        assert status_and_code(response) == (401, "invalid_signature")
        hidden = someone.sign("GET", URL, covered=("@method", "@authority", "@path", "@query"))
        response = send(client, hidden, secure=True, SERVER_PORT="443")
        assert response.status_code == 200

    @pytest.mark.parametrize("body", [b'{"amount": 2}', b"", b" " + BODY])
    def test_a_changed_body_is_refused(self, client, signed, body):
        signed.body = body
        assert status_and_code(send(client, signed)) == (401, "digest_mismatch")

    def test_a_changed_body_with_its_digest_is_refused(self, client, signed, someone):
        forged = someone.sign("POST", URL, body=b'{"amount": 2}', headers=JSON)
        signed.body = forged.body
        signed.headers["Content-Digest"] = forged.headers["Content-Digest"]
        assert status_and_code(send(client, signed)) == (401, "invalid_signature")

    def test_a_changed_digest_is_refused(self, client, signed):
        signed.headers["Content-Digest"] = "sha-256=:AAAA:"
        assert status_and_code(send(client, signed)) == (401, "invalid_signature")
        del signed.headers["Content-Digest"]
        assert status_and_code(send(client, signed)) == (401, "invalid_signature")

    def test_an_added_body_is_refused(self, client, someone):
        request = someone.sign("POST", URL)
        request.body = BODY
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    def test_a_changed_header_is_refused(self, client, someone):
        request = someone.sign(
            "POST", URL, body=BODY, headers=JSON, covered=(*COVERED, "content-type")
        )
        request.headers["Content-Type"] = "application/x-www-form-urlencoded"
        assert status_and_code(send(client, request)) == (401, "invalid_signature")

    @pytest.mark.parametrize(
        ("pattern", "by"),
        [
            (r"created=(\d+)", lambda m: f"created={int(m[1]) - 1}"),
            (r'nonce="[^"]+"', lambda m: 'nonce="another"'),
            (r' "@target-uri"', lambda m: ' "@target-uri" "@path"'),
            (r'"content-digest"', lambda m: '"content-digest" "content-type"'),
            (r"$", lambda m: f";expires={int(time.time()) + 100}"),
            (r"$", lambda m: ';tag="other"'),
        ],
    )
    def test_changed_parameters_are_refused(self, client, signed, pattern, by):
        signed.headers["Signature-Input"] = re.sub(
            pattern, by, signed.headers["Signature-Input"], count=1
        )
        assert status_and_code(send(client, signed)) == (401, "invalid_signature")

    def test_a_changed_signature_is_refused(self, client, signed):
        label, _, value = signed.headers["Signature"].partition("=:")
        octets = bytearray(base64.b64decode(value.rstrip(":")))
        for damaged in (octets[:-1], octets[:-1] + bytes([octets[-1] ^ 1]), bytes(64), b"", b"x"):
            signed.headers["Signature"] = f"{label}=:{base64.b64encode(damaged).decode()}:"
            assert status_and_code(send(client, signed)) == (401, "invalid_signature")


class TestKey:
    def test_another_private_key_is_refused(self, client, someone):
        for private_key in (ed25519_key(), p256_key()):
            forger = Caller(someone.key_id, private_key)
            request = forger.sign("GET", URL, include_alg=False)
            assert status_and_code(send(client, request)) == (401, "invalid_signature")

    def test_the_id_of_another_key_is_refused(self, client, someone):
        other = caller()
        request = Caller(other.key_id, someone.private_key).sign("GET", URL)
        assert status_and_code(send(client, request)) == (401, "invalid_signature")
        request = someone.sign("GET", URL)
        for name in ("Signature-Input",):
            request.headers[name] = request.headers[name].replace(someone.key_id, other.key_id)
        assert status_and_code(send(client, request)) == (401, "invalid_signature")

    def test_unknown_ids_get_the_same_refusal(self, client, someone):
        told = set()
        for key_id in ("0" * 16, mint_key().key.public_id, "x", "A" * 16, "' OR 1=1 --", "é"):
            try:
                request = Caller(key_id, someone.private_key).sign("GET", URL)
            except Exception as error:  # noqa: BLE001 - the library refuses to send it
                assert not key_id.isascii(), error  # noqa: PT017
                continue
            response = send(client, request)
            told.add((*status_and_code(response), response.content, response["WWW-Authenticate"]))
        assert len(told) == 1
        assert told.pop()[:2] == (401, "invalid_signature")

    @pytest.mark.parametrize("alg", ["ecdsa-p384-sha384", "rsa-pss-sha512", "hmac-sha256", "none"])
    def test_another_algorithm_is_refused(self, client, someone, alg):
        request = someone.sign("GET", URL)
        request.headers["Signature-Input"] = re.sub(
            r'alg="[^"]+"', f'alg="{alg}"', request.headers["Signature-Input"]
        )
        assert status_and_code(send(client, request)) == (401, "invalid_signature")

    def test_an_hmac_with_the_public_key_is_refused(self, client, someone):
        secret = ProjectKey.objects.get(public_id=someone.key_id).public_key.encode()
        request = someone.sign("GET", URL)
        for include_alg in (True, False):
            HTTPMessageSigner(
                signature_algorithm=algorithms.HMAC_SHA256,
                key_resolver=MappingKeyResolver(
                    public_keys={}, private_keys={someone.key_id: secret}
                ),
            ).sign(request, key_id=someone.key_id, nonce="n" * 16, include_alg=include_alg)
            assert status_and_code(send(client, request)) == (401, "invalid_signature")

    def test_a_key_with_a_public_key_accepts_no_secret(self, client, worker, real_argon2):
        key = ProjectKey.objects.get(public_id=worker.key_id)
        assert (key.root, key.digest) == ("", "")
        from apikeys import token

        for secret in (token.generate_secret(), "0" * 43):
            text = token.compose("acme", "key", key.public_id, secret)
            response = client.get(URL, headers=bearer(text))
            assert status_and_code(response) == (401, "invalid_key")

    def test_a_lost_pepper_does_not_make_it_accept_a_secret(self, client, worker, settings):
        from apikeys import token

        settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": ["another" * 8], "ARGON2_TRIES": 1}
        for _ in range(3):  # and it uses no attempt of Argon2
            text = token.compose("acme", "key", worker.key_id, token.generate_secret())
            assert status_and_code(client.get(URL, headers=bearer(text))) == (401, "invalid_key")
        assert send(client, worker.sign("GET", URL)).status_code == 200

    def test_a_key_with_a_secret_accepts_no_signature(self, client, engine):
        minted = mint_key(engine)
        private_key = ed25519_key()
        request = Caller(minted.key.public_id, private_key).sign("GET", URL)
        assert status_and_code(send(client, request)) == (401, "invalid_signature")


class TestCoverage:
    @pytest.mark.parametrize(
        "covered",
        [
            (),
            ("@method",),
            ("@target-uri",),
            ("@method", "@path", "@query"),
            ("@method", "@authority", "@path"),
            ("@method", "@authority", "@query"),
            ("@method", "@request-target"),
            ("@path", "@authority", "@query"),
        ],
    )
    def test_too_few_components_are_refused(self, client, someone, covered):
        request = someone.sign("GET", URL, covered=covered)
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    def test_a_body_without_a_digest_is_refused(self, client, someone):
        request = someone.sign("POST", URL)
        request.body = BODY
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    def test_an_uncovered_digest_is_refused(self, client, someone):
        request = someone.sign("POST", URL, body=BODY)
        digest = request.headers["Content-Digest"]
        request = someone.sign("POST", URL)
        request.body, request.headers["Content-Digest"] = BODY, digest
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    def test_a_partly_covered_digest_is_refused(self, client, someone):
        covered = (*COVERED, '"content-digest";key="sha-256"')
        request = someone.sign("POST", URL, body=BODY, covered=covered)
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    @pytest.mark.parametrize("parameter", ["created", "nonce", "keyid"])
    def test_a_missing_parameter_is_refused(self, client, someone, parameter):
        request = someone.sign("GET", URL)
        request.headers["Signature-Input"] = re.sub(
            rf';{parameter}=("[^"]*"|\d+)', "", request.headers["Signature-Input"]
        )
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    def test_an_empty_nonce_is_refused(self, client, someone):
        request = someone.sign("GET", URL, nonce="")
        assert status_and_code(send(client, request)) == (401, "incomplete_signature")

    @pytest.mark.parametrize("digest", ["md5=:AAAA:", "sha-256=1", "sha-256", "", "?", "sha-256=:"])
    def test_an_invalid_digest_is_refused(self, client, someone, digest):
        request = someone.sign(
            "POST",
            URL,
            headers={"Content-Digest": digest},
            covered=(*COVERED, "content-digest"),
        )
        request.body = BODY
        assert status_and_code(send(client, request)) == (401, "digest_mismatch")

    def test_a_weak_second_digest_is_refused(self, client, someone):
        good = someone.sign("POST", URL, body=BODY).headers["Content-Digest"]
        request = someone.sign(
            "POST",
            URL,
            headers={"Content-Digest": f"{good}, md5=:AAAA:"},
            covered=(*COVERED, "content-digest"),
        )
        request.body = BODY
        assert status_and_code(send(client, request)) == (401, "digest_mismatch")


class TestTime:
    @pytest.mark.parametrize("age", [302, 100_000, -302, -100_000])
    def test_a_time_outside_the_window_is_refused(self, client, someone, age):
        assert status_and_code(send(client, someone.sign("GET", URL, age=age))) == (
            401,
            "stale_signature",
        )

    @pytest.mark.parametrize("age", [295, -295])
    def test_a_time_within_the_window_is_accepted(self, client, someone, age):
        assert send(client, someone.sign("GET", URL, age=age)).status_code == 200

    def test_the_setting_changes_the_window(self, client, someone, settings):
        settings.APIKEYS = {**settings.APIKEYS, "SIGNATURE_WINDOW": 5}
        assert send(client, someone.sign("GET", URL, age=3)).status_code == 200
        assert status_and_code(send(client, someone.sign("GET", URL, age=7))) == (
            401,
            "stale_signature",
        )

    def test_an_expired_signature_is_refused(self, client, someone):
        now = timezone.now()
        over = someone.sign("GET", URL, age=10, expires=now - timedelta(seconds=1))
        assert status_and_code(send(client, over)) == (401, "stale_signature")
        request = someone.sign("GET", URL, age=10, expires=now + timedelta(seconds=30))
        assert send(client, request).status_code == 200

    @pytest.mark.parametrize("created", ["1.5", '"now"', "?1", "@1", "9" * 15, "-1"])
    def test_an_invalid_time_is_refused(self, client, someone, created):
        request = someone.sign("GET", URL)
        request.headers["Signature-Input"] = re.sub(
            r"created=\d+", f"created={created}", request.headers["Signature-Input"]
        )
        assert send(client, request).status_code in (400, 401)


class TestReplays:
    def test_a_signature_is_accepted_once(self, client, someone):
        request = someone.sign("POST", URL, body=BODY, headers=JSON)
        assert send(client, request).status_code == 200
        for _ in range(2):
            assert status_and_code(send(client, request)) == (401, "replayed_signature")

    def test_a_nonce_is_accepted_once(self, client, someone):
        assert send(client, someone.sign("GET", URL, nonce="again")).status_code == 200
        request = someone.sign("GET", URL + "?other", nonce="again")
        assert status_and_code(send(client, request)) == (401, "replayed_signature")

    def test_another_key_can_use_the_same_nonce(self, client, someone):
        assert send(client, someone.sign("GET", URL, nonce="same")).status_code == 200
        assert send(client, caller().sign("GET", URL, nonce="same")).status_code == 200

    def test_a_second_ecdsa_signature_is_refused(self, client, engine):
        """Anyone can derive a second ECDSA signature from the first one: (r, n - s)."""
        someone = caller(engine, p256_key())
        request = someone.sign("GET", URL)
        label, _, value = request.headers["Signature"].partition("=:")
        octets = base64.b64decode(value.rstrip(":"))
        r, s = int.from_bytes(octets[:32]), int.from_bytes(octets[32:])
        other = r.to_bytes(32) + (P256_ORDER - s).to_bytes(32)
        mirrored = request.copy()
        mirrored.headers["Signature"] = f"{label}=:{base64.b64encode(other).decode()}:"
        assert send(client, mirrored).status_code == 200
        assert status_and_code(send(client, request)) == (401, "replayed_signature")

    def test_a_refused_request_uses_no_nonce(self, client, someone):
        request = someone.sign("GET", URL)
        damaged = request.copy()
        damaged.method = "POST"
        assert status_and_code(send(client, damaged)) == (401, "invalid_signature")
        key = ProjectKey.objects.get(public_id=someone.key_id)
        key.is_pending = True
        key.save()
        assert status_and_code(send(client, request)) == (401, "approval_required")
        assert UsedNonce.objects.count() == 0
        lifecycle.approve(key)
        assert send(client, request).status_code == 200

    def test_a_failing_view_keeps_the_nonce_used(self, client, engine):
        weak = caller(engine, scopes=["payments:write"], name="weak")
        key = ProjectKey.objects.get(public_id=weak.key_id)
        lifecycle.edit(key, scopes=["keys:read"])
        request = weak.sign("GET", URL)
        assert status_and_code(send(client, request)) == (403, "insufficient_scope")
        assert status_and_code(send(client, request)) == (401, "replayed_signature")


class TestForm:
    def replaced(self, request, name, value):
        request = request.copy()
        request.headers[name] = value
        return request

    @pytest.mark.parametrize(
        "value",
        [
            "",
            "sig1",
            "sig1=1",
            'sig1="x"',
            "sig1=:AAAA:",
            "sig1=()",
            "()",
            "sig1=(@method);created=1",
            'sig1=("@method" 5);created=1',
            "sig1=(",
            "\x7f",
            "sig1=" + "(" * 100,
            'sig1=("@method")' + ";a=1" * 3000,
            'sig1=("@method" "@target-uri");created=1;created=2;nonce="a";keyid="b"',
            'sig1=("@method" "@target-uri");created=1;nonce=a;keyid="b"',
            'sig1=("@method" "@target-uri");created=1;nonce="a";keyid=b',
            'sig1=("@method" "@target-uri");created=1;nonce="a";keyid="b";unknown=1',
            'sig1=("@method" "@target-uri");created=1;keyid="b";nonce="' + "a" * 129 + '"',
            "sig1=(" + '"@method" "@target-uri"' + ' "x"' * 60 + ');created=1;nonce="a";keyid="b"',
        ],
    )
    def test_an_invalid_signature_input_is_refused(self, client, someone, value):
        request = self.replaced(someone.sign("GET", URL), "Signature-Input", value)
        status, code = status_and_code(send(client, request))
        assert (status, code) in [(400, "malformed_signature"), (401, "incomplete_signature")]
        assert status == 400 or value == "sig1=()" or '"@target-uri"' not in value

    @pytest.mark.parametrize("value", ["", "sig1", "sig1=1", "sig1=(:AAAA:)", "sig2=:AAAA:", ":x:"])
    def test_an_invalid_signature_is_refused(self, client, someone, value):
        request = self.replaced(someone.sign("GET", URL), "Signature", value)
        assert status_and_code(send(client, request)) == (400, "malformed_signature")

    def test_two_signatures_are_refused(self, client, someone):
        request, other = someone.sign("GET", URL), caller().sign("GET", URL, label="sig2")
        for name in ("Signature-Input", "Signature"):
            request.headers[name] += ", " + other.headers[name]
        assert status_and_code(send(client, request)) == (400, "malformed_signature")

    @pytest.mark.parametrize("names", [("Signature-Input",), ("Signature-Input", "Signature")])
    def test_a_repeated_header_is_refused(self, client, someone, names):
        request = someone.sign("GET", URL)
        for name in names:
            request.headers[name] += ", " + request.headers[name]
        assert status_and_code(send(client, request)) == (400, "malformed_signature")

    def test_a_repeated_component_is_refused(self, client, someone):
        request = someone.sign("GET", URL)
        request.headers["Signature-Input"] = request.headers["Signature-Input"].replace(
            '"@method"', '"@method" "@method"'
        )
        assert status_and_code(send(client, request)) == (401, "invalid_signature")

    def test_a_missing_header_is_refused(self, client, someone):
        request = someone.sign("GET", URL, headers={"X-A": "1"}, covered=(*COVERED, "x-a"))
        del request.headers["X-A"]
        assert status_and_code(send(client, request)) == (401, "invalid_signature")


class TestSharedChecks:
    """The checks of all keys apply to signing keys as well."""

    @pytest.fixture
    def key(self, worker):
        return ProjectKey.objects.get(public_id=worker.key_id)

    def test_a_revoked_key_is_refused(self, client, worker, key):
        assert send(client, worker.sign("GET", URL)).status_code == 200
        lifecycle.revoke(key)
        assert status_and_code(send(client, worker.sign("GET", URL))) == (401, "revoked_key")

    def test_a_signature_after_the_end_is_counted_and_a_wrong_one_is_not(self, client, worker, key):
        lifecycle.revoke(key)
        usage.flush()
        send(client, worker.sign("GET", URL))
        forged = worker.sign("GET", URL)
        forged.headers["Signature-Input"] += "x"
        assert send(client, forged).status_code in (400, 401)
        usage.flush()
        assert EndedUse.objects.get(public_id=key.public_id).count == 1

    def test_an_expired_key_is_refused(self, client, worker, key):
        ProjectKey.objects.update(expires_at=timezone.now())
        assert status_and_code(send(client, worker.sign("GET", URL))) == (401, "expired_key")

    def test_a_key_of_a_deactivated_project_is_refused(self, client, worker, engine):
        engine.is_active = False
        engine.save()
        assert status_and_code(send(client, worker.sign("GET", URL))) == (401, "inactive_project")

    def test_allowed_ip_ranges_are_checked(self, client, worker, key):
        lifecycle.edit(key, allowed_networks=["203.0.113.0/24"])
        assert status_and_code(send(client, worker.sign("GET", URL))) == (403, "ip_not_allowed")
        request = worker.sign("GET", URL)
        assert send(client, request, REMOTE_ADDR="203.0.113.5").status_code == 200

    def test_scopes_are_checked(self, client, worker, key):
        lifecycle.edit(key, scopes=["keys:read"])
        assert status_and_code(send(client, worker.sign("GET", URL))) == (403, "insufficient_scope")

    def test_rate_limits_are_enforced(self, client, worker, key):
        lifecycle.edit(key, rate_limits=["2/hour"])
        statuses = [send(client, worker.sign("GET", URL)).status_code for _ in range(3)]
        assert statuses == [200, 200, 429]

    def test_a_forged_signature_reveals_nothing_about_the_key(self, client, worker, key):
        lifecycle.revoke(key)
        request = Caller(worker.key_id, ed25519_key()).sign("GET", URL)
        assert status_and_code(send(client, request)) == (401, "invalid_signature")

    @pytest.mark.django_db(transaction=True)
    def test_a_cached_key_is_invalidated_by_revocation(self, client, worker, key, settings):
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
        for queries in (1, 0):
            request = worker.sign("GET", URL)
            with CaptureQueriesContext(connection) as context:
                assert send(client, request).status_code == 200
            assert sum("SELECT" in query["sql"] for query in context.captured_queries) == queries
        lifecycle.revoke(key)
        assert status_and_code(send(client, worker.sign("GET", URL))) == (401, "revoked_key")


class TestAudit:
    def test_an_event_names_instance_and_authorizer(self, client, engine):
        admin = MembershipFactory(project=engine, user__username="grace", role="owner").user
        scopes = ["keys:read", "keys:write", "payments:read"]
        worker = caller(engine, name="worker-3", scopes=scopes, by=admin)
        url = "http://testserver/api/projects/analytical-engine/keys/"
        body = json.dumps({"name": "made", "scopes": ["payments:read"]}).encode()

        response = send(client, worker.sign("POST", url, body=body, headers=JSON))

        assert response.status_code == 201, response.content
        event = AuditEvent.objects.get(event="minted", name="made")
        assert (event.using, event.instance) == (worker.key_id, "worker-3")
        assert (event.authorized_by, event.by) == ("grace", "")

    def test_the_event_of_creation_has_the_public_key(self, worker):
        event = AuditEvent.objects.get(public_id=worker.key_id)
        assert event.changes["public_key"] == pem(worker.private_key)
        assert (event.by, event.instance, event.authorized_by) == ("ada", "", "")


def test_without_the_library_signatures_are_refused(client, worker, monkeypatch):
    import sys

    monkeypatch.delitem(sys.modules, "apikeys.signatures.verification", raising=False)
    monkeypatch.setitem(sys.modules, "http_message_signatures", None)
    monkeypatch.delattr("apikeys.signatures.verification", raising=False)
    response = send(client, worker.sign("GET", URL))
    assert status_and_code(response) == (401, "signature_not_accepted")


def test_a_body_read_by_a_middleware_is_refused(worker, settings):
    """A middleware has parsed the form, so the raw body can no longer be compared."""
    settings.MIDDLEWARE = ["tests.signatures.test_verification.Reader", *settings.MIDDLEWARE]
    body = b"--b\r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b--\r\n"
    headers = {"Content-Type": "multipart/form-data; boundary=b"}
    response = send(Client(), worker.sign("POST", URL, body=body, headers=headers))
    assert status_and_code(response) == (403, "body_not_compared")


class Reader:
    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        assert request.POST["a"] == "1"
        return self.get_response(request)


def test_a_der_signature_is_refused(client, engine):
    """RFC 9421 section 3.3.4: the signature is r and s, 32 octets each."""
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec

    someone = caller(engine, p256_key())
    der = someone.private_key.sign(b"x", ec.ECDSA(hashes.SHA256()))
    assert decode_dss_signature(der)
    request = someone.sign("GET", URL)
    label = request.headers["Signature"].partition("=:")[0]
    request.headers["Signature"] = f"{label}=:{base64.b64encode(der).decode()}:"
    assert status_and_code(send(client, request)) == (401, "invalid_signature")
