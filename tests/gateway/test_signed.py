"""Signed requests at the gateway: nginx, the endpoint and the proxy in Python."""

import json

import pytest
from django.test import Client

from apikeys import lifecycle
from apikeys.models import ProjectKey
from tests.factories import mint_key
from tests.gateway.servers import Nginx, Site, send
from tests.signing import caller

pytestmark = pytest.mark.process

ORIGIN = "https://api.example.com"
OWN = "/subscribers/1001/offers"
OTHERS = "/subscribers/1002/offers"
ROUTES = [
    {"method": "GET", "path": "/subscribers/{subscriber_id}/**", "scopes": ["payments:read"]},
    {"method": "POST PUT", "path": "/echo", "scopes": ["payments:read"]},
]
BODY = b'{"amount": 1}'
JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def behind_nginx(django_db_setup, django_db_blocker, blackbox, tmp_path_factory):
    """Start one nginx for each value of ``GATEWAY_SIGNED_BODIES``; return their ports."""
    sites = [
        Site(GATEWAY_ROUTES=ROUTES, GATEWAY_URL=ORIGIN, GATEWAY_SIGNED_BODIES=who)
        for who in ("refuse", "upstream")
    ]
    folders = [tmp_path_factory.mktemp(f"nginx-{n}") for n in range(2)]
    with sites[0], sites[1]:
        fronts = [
            Nginx(folder, site.port, blackbox.port)
            for folder, site in zip(folders, sites, strict=True)
        ]
        with fronts[0], fronts[1]:
            yield {"refuse": fronts[0].port, "upstream": fronts[1].port}


@pytest.fixture(scope="module")
def proxy(django_db_setup, django_db_blocker, blackbox):
    with Site(
        "apikeys.gateway.asgi.get_application",
        GATEWAY_ROUTES=ROUTES,
        GATEWAY_UPSTREAM=f"http://127.0.0.1:{blackbox.port}",
        GATEWAY_URL=ORIGIN,
        GATEWAY_MAX_BODY=1_000_000,
    ) as site:
        yield site.port


@pytest.fixture
def worker(bound):
    return caller(bound, name="worker-3")


@pytest.fixture
def call(blackbox):
    """Send a signed request; return the response and what the upstream received."""

    def call(port, request, *more, **changes):
        blackbox.seen.clear()
        headers = [f"{n}: {v}" for n, v in request.headers.items() if n != "Content-Length"]
        sent = {"method": request.method, "body": request.body or b""} | changes
        target = sent.pop("target", request.path_url)
        answer = send(port, target, *headers, *more, **sent)
        return answer, list(blackbox.seen)

    return call


def code(answer):
    return answer.status, json.loads(answer.body)["code"]


@pytest.fixture(params=["refuse", "upstream", "proxy"])
def port(request, behind_nginx, proxy):
    return {**behind_nginx, "proxy": proxy}[request.param]


class TestEverywhere:
    def test_the_own_resource_is_reached(self, call, port, worker):
        answer, (seen,) = call(port, worker.sign("GET", ORIGIN + OWN))
        assert (answer.status, answer.body) == (200, b"offers")
        assert seen.values("X-Auth-Subject") == ["project:engine"]
        assert seen.values("X-Auth-Credential-Id") == [worker.key_id]

    def test_another_owners_resource_is_refused(self, call, port, worker):
        answer, seen = call(port, worker.sign("GET", ORIGIN + OTHERS))
        assert (code(answer), seen) == ((403, "not_bound"), [])

    @pytest.mark.parametrize("target", [OTHERS, OWN + "?x=1", OWN + "/more"])
    def test_a_signature_for_another_target_is_refused(self, call, port, worker, target):
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN), target=target)
        assert (code(answer), seen) == ((401, "invalid_signature"), [])

    def test_a_signature_for_another_method_is_refused(self, call, port, worker):
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN), method="HEAD", body=b"")
        assert (answer.status, seen) == (401, [])

    def test_a_signature_for_another_origin_is_refused(self, call, port, worker):
        answer, seen = call(port, worker.sign("GET", "https://other.example" + OWN))
        assert (code(answer), seen) == ((401, "invalid_signature"), [])

    def test_forwarded_headers_do_not_change_the_origin(self, call, port, worker):
        request = worker.sign("GET", "https://localhost" + OWN)
        more = ["X-Forwarded-Host: localhost", "X-Original-URI: " + OWN]
        answer, seen = call(port, request, *more, host="localhost")
        assert (code(answer), seen) == ((401, "invalid_signature"), [])

    def test_an_unknown_host_is_refused(self, call, port, worker):
        request = worker.sign("GET", "https://other.example" + OWN)
        answer, seen = call(port, request, host="other.example")
        # Behind nginx, Django refuses the Host before the endpoint reads the signature.
        assert code(answer) in ((401, "invalid_signature"), (503, "gateway_unavailable"))
        assert seen == []

    def test_a_replay_is_refused(self, call, port, worker):
        request = worker.sign("GET", ORIGIN + OWN)
        assert call(port, request)[0].status == 200
        answer, seen = call(port, request)
        assert (code(answer), seen) == ((401, "replayed_signature"), [])

    def test_a_revoked_key_is_refused(self, call, port, worker):
        lifecycle.revoke(ProjectKey.objects.get(public_id=worker.key_id))
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN))
        assert (code(answer), seen) == ((401, "revoked_key"), [])

    def test_an_unsigned_request_is_refused(self, call, port, worker):
        request = worker.sign("GET", ORIGIN + OWN)
        for name in ("Signature-Input", "Signature"):
            damaged = request.copy()
            del damaged.headers[name]
            answer, seen = call(port, damaged)
            assert (answer.status, seen) == (401 if name == "Signature-Input" else 400, [])

    def test_a_repeated_signature_is_refused(self, call, port, worker):
        request, other = worker.sign("GET", ORIGIN + OWN), worker.sign("GET", ORIGIN + OTHERS)
        more = [f"{n}: {other.headers[n]}" for n in ("Signature-Input", "Signature")]
        answer, seen = call(port, request, *more, target=OTHERS)
        assert (answer.status in (400, 401), seen) == (True, [])

    def test_a_bearer_credential_takes_precedence(self, call, port, worker):
        wrong = f"Authorization: Bearer {mint_key().token[:-1]}"
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN), wrong)
        assert (code(answer), seen) == ((401, "malformed_key"), [])

    @pytest.mark.parametrize("frame", ["length", "chunks"])
    def test_an_added_body_is_refused(self, call, port, worker, frame):
        request = worker.sign("GET", ORIGIN + OWN)
        if frame == "length":
            answer, seen = call(port, request, body=BODY)
        else:
            chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
            answer, seen = call(port, request, "Transfer-Encoding: chunked", chunks=chunks)
        assert (answer.status in (401, 403), seen) == (True, [])


class TestNginx:
    def test_a_body_is_refused(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, seen = call(behind_nginx["refuse"], request)
        assert (code(answer), seen) == ((403, "body_not_compared"), [])

    def test_the_client_cannot_claim_that_there_is_no_body(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, seen = call(behind_nginx["refuse"], request, "X-Original-Body: none")
        assert (code(answer), seen) == ((403, "body_not_compared"), [])

    def test_an_empty_body_is_allowed(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo")
        answer, _ = call(behind_nginx["refuse"], request, "Content-Length: 0")
        assert answer.status == 200

    def test_the_upstream_gets_the_signed_digest(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, (seen,) = call(behind_nginx["upstream"], request)
        assert answer.status == 200
        assert seen.body == BODY
        assert seen.values("Content-Digest") == [request.headers["Content-Digest"]]

    def test_a_body_without_a_digest_is_refused(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo")
        answer, seen = call(behind_nginx["upstream"], request, body=BODY)
        assert (code(answer), seen) == ((401, "incomplete_signature"), [])

    @pytest.mark.parametrize("first", [True, False])
    def test_a_second_digest_is_not_forwarded(self, call, behind_nginx, worker, first):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        forged = worker.sign("POST", ORIGIN + "/echo", body=b"{}").headers["Content-Digest"]
        good = request.headers["Content-Digest"]
        if first:
            request.headers["Content-Digest"], forged = forged, good
        answer, seen = call(behind_nginx["upstream"], request, f"Content-Digest: {forged}")
        assert answer.status in (200, 401)
        for each in seen:
            assert each.values("Content-Digest") == [good]

    def test_a_signed_content_type_is_checked(self, call, behind_nginx, worker):
        covered = ("@method", "@target-uri", "content-type")
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON, covered=covered)
        assert call(behind_nginx["upstream"], request.copy())[0].status == 200
        request.headers["Content-Type"] = "text/plain"
        answer, seen = call(behind_nginx["upstream"], request)
        assert (code(answer), seen) == ((401, "invalid_signature"), [])


class TestTheProxyInPython:
    def test_the_body_is_compared_and_forwarded(self, call, proxy, worker):
        for body in (BODY, b"x" * 300_000):
            request = worker.sign("POST", ORIGIN + "/echo", body=body)
            answer, (seen,) = call(proxy, request)
            assert (answer.status, seen.body) == (200, body)

    def test_a_chunked_body_is_compared(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        chunks = b"5\r\n%s\r\n8\r\n%s\r\n0\r\n\r\n" % (BODY[:5], BODY[5:])
        answer, (seen,) = call(
            proxy, request, "Transfer-Encoding: chunked", body=b"", chunks=chunks
        )
        assert (answer.status, seen.body) == (200, BODY)

    def test_a_changed_body_is_refused(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        answer, seen = call(proxy, request, body=b'{"amount": 2}')
        assert (code(answer), seen) == ((401, "digest_mismatch"), [])

    def test_a_signed_header_cannot_be_hop_by_hop(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, seen = call(proxy, request, "Connection: close, Content-Digest")
        assert (code(answer), seen) == ((400, "malformed_request"), [])

    def test_a_body_that_is_too_large_is_refused(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=b"x" * 1_000_001)
        answer, seen = call(proxy, request, "Content-Length: 1000001", body=b"")
        assert (code(answer), seen) == ((413, "request_too_large"), [])

    def test_a_bad_signature_is_refused_before_the_body(self, proxy, worker):
        """A request with an invalid signature is refused before its body is read."""
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        headers = [f"{n}: {v}" for n, v in request.headers.items() if n != "Content-Length"]
        headers = [h.replace("/echo", "/else") for h in headers]
        answer = send(proxy, "/echo?x=1", *headers, "Content-Length: 900000", method="POST")
        assert code(answer) == (401, "invalid_signature")

    def test_a_second_digest_is_refused(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        forged = worker.sign("POST", ORIGIN + "/echo", body=b"{}").headers["Content-Digest"]
        answer, seen = call(proxy, request, f"Content-Digest: {forged}")
        assert (code(answer), seen) == ((401, "invalid_signature"), [])


class TestTheEndpoint:
    @pytest.fixture
    def ask(self, settings, worker):
        def ask(request, client=None, **apikeys):
            settings.APIKEYS = {
                **settings.APIKEYS,
                "GATEWAY_ROUTES": ROUTES,
                "GATEWAY_URL": ORIGIN,
                **apikeys,
            }
            names = {
                "nginx": ("X-Original-Method", "X-Original-URI"),
                "caddy": ("X-Forwarded-Method", "X-Forwarded-Uri"),
            }[apikeys.get("GATEWAY_PROXY", "nginx")]
            told = dict(zip(names, (request.method, request.path_url), strict=True))
            headers = {n: v for n, v in request.headers.items() if n != "Content-Length"}
            told |= headers | {"X-Original-Body": "none"}
            return Client().get("/gateway/authorize/", headers=told)

        return ask

    def test_signatures_need_gateway_url(self, ask, worker):
        answer = ask(worker.sign("GET", ORIGIN + OWN), GATEWAY_URL=None)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature_not_accepted")

    def test_a_signed_decision_is_not_cached(self, ask, worker):
        answer = ask(worker.sign("GET", ORIGIN + OWN), GATEWAY_MAX_AGE=60)
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")

    def test_x_original_body_is_trusted_only_from_nginx(self, ask, worker):
        """Other proxies do not overwrite this header, so a client could set it."""
        answer = ask(worker.sign("GET", ORIGIN + OWN), GATEWAY_PROXY="caddy")
        assert (answer.status_code, answer.json()["code"]) == (403, "body_not_compared")

    def test_upstream_comparison_needs_a_digest(self, ask, worker):
        more = {"GATEWAY_PROXY": "caddy", "GATEWAY_SIGNED_BODIES": "upstream"}
        answer = ask(worker.sign("GET", ORIGIN + OWN), **more)
        assert (answer.status_code, answer.json()["code"]) == (401, "incomplete_signature")
        assert ask(worker.sign("GET", ORIGIN + OWN, body=b""), **more).status_code == 200
