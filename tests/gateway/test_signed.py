"""Signed requests before an API without security: nginx, the endpoint, the proxy in Python."""

import json

import pytest
from django.test import Client

from apikeys import lifecycle
from apikeys.models import ProjectKey
from tests.factories import mint_key
from tests.gateway.servers import Nginx, Site, send
from tests.signing import caller

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
    """By who compares bodies."""
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
    """What is answered to a signed request, and what the upstream saw of it."""

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
    def test_ones_own(self, call, port, worker):
        answer, (seen,) = call(port, worker.sign("GET", ORIGIN + OWN))
        assert (answer.status, answer.body) == (200, b"offers")
        assert seen.values("X-Auth-Subject") == ["project:engine"]
        assert seen.values("X-Auth-Credential-Id") == [worker.key_id]

    def test_somebody_elses(self, call, port, worker):
        answer, seen = call(port, worker.sign("GET", ORIGIN + OTHERS))
        assert (code(answer), seen) == ((403, "not_bound"), [])

    @pytest.mark.parametrize("target", [OTHERS, OWN + "?x=1", OWN + "/more"])
    def test_another_target(self, call, port, worker, target):
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN), target=target)
        assert (code(answer), seen) == ((401, "invalid_signature"), [])

    def test_another_method(self, call, port, worker):
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN), method="HEAD", body=b"")
        assert (answer.status, seen) == (401, [])

    def test_another_origin(self, call, port, worker):
        answer, seen = call(port, worker.sign("GET", "https://other.example" + OWN))
        assert (code(answer), seen) == ((401, "invalid_signature"), [])

    def test_what_the_client_says_of_the_origin_counts_for_nothing(self, call, port, worker):
        request = worker.sign("GET", "https://other.example" + OWN)
        more = ["X-Forwarded-Host: other.example", "X-Original-URI: " + OWN]
        answer, seen = call(port, request, *more, host="other.example")
        assert (code(answer), seen) == ((401, "invalid_signature"), [])

    def test_a_replay(self, call, port, worker):
        request = worker.sign("GET", ORIGIN + OWN)
        assert call(port, request)[0].status == 200
        answer, seen = call(port, request)
        assert (code(answer), seen) == ((401, "replayed_signature"), [])

    def test_a_revoked_key(self, call, port, worker):
        lifecycle.revoke(ProjectKey.objects.get(public_id=worker.key_id))
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN))
        assert (code(answer), seen) == ((401, "revoked_key"), [])

    def test_no_signature(self, call, port, worker):
        request = worker.sign("GET", ORIGIN + OWN)
        for name in ("Signature-Input", "Signature"):
            damaged = request.copy()
            del damaged.headers[name]
            answer, seen = call(port, damaged)
            assert (answer.status, seen) == (401 if name == "Signature-Input" else 400, [])

    def test_a_signature_twice(self, call, port, worker):
        request, other = worker.sign("GET", ORIGIN + OWN), worker.sign("GET", ORIGIN + OTHERS)
        more = [f"{n}: {other.headers[n]}" for n in ("Signature-Input", "Signature")]
        answer, seen = call(port, request, *more, target=OTHERS)
        assert (answer.status in (400, 401), seen) == (True, [])

    def test_beside_a_bearer_credential_it_counts_for_nothing(self, call, port, worker):
        wrong = f"Authorization: Bearer {mint_key().token[:-1]}"
        answer, seen = call(port, worker.sign("GET", ORIGIN + OWN), wrong)
        assert (code(answer), seen) == ((401, "malformed_key"), [])

    @pytest.mark.parametrize("frame", ["length", "chunks"])
    def test_a_body_is_added_on_the_way(self, call, port, worker, frame):
        request = worker.sign("GET", ORIGIN + OWN)
        if frame == "length":
            answer, seen = call(port, request, body=BODY)
        else:
            chunks = b"%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)
            answer, seen = call(port, request, "Transfer-Encoding: chunked", chunks=chunks)
        assert (answer.status in (401, 403), seen) == (True, [])


class TestNginx:
    def test_nobody_compares_the_body(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, seen = call(behind_nginx["refuse"], request)
        assert (code(answer), seen) == ((403, "body_not_compared"), [])

    def test_nor_does_the_client_say_that_there_is_none(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, seen = call(behind_nginx["refuse"], request, "X-Original-Body: none")
        assert (code(answer), seen) == ((403, "body_not_compared"), [])

    def test_an_empty_body_by_its_length(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo")
        answer, _ = call(behind_nginx["refuse"], request, "Content-Length: 0")
        assert answer.status == 200

    def test_the_upstream_compares_what_was_signed(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, (seen,) = call(behind_nginx["upstream"], request)
        assert answer.status == 200
        assert seen.body == BODY
        assert seen.values("Content-Digest") == [request.headers["Content-Digest"]]

    def test_without_a_digest_it_could_not(self, call, behind_nginx, worker):
        request = worker.sign("POST", ORIGIN + "/echo")
        answer, seen = call(behind_nginx["upstream"], request, body=BODY)
        assert (code(answer), seen) == ((401, "incomplete_signature"), [])

    @pytest.mark.parametrize("first", [True, False])
    def test_a_second_digest_does_not_get_there(self, call, behind_nginx, worker, first):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        forged = worker.sign("POST", ORIGIN + "/echo", body=b"{}").headers["Content-Digest"]
        good = request.headers["Content-Digest"]
        if first:
            request.headers["Content-Digest"], forged = forged, good
        answer, seen = call(behind_nginx["upstream"], request, f"Content-Digest: {forged}")
        assert answer.status in (200, 401)
        for each in seen:
            assert each.values("Content-Digest") == [good]

    def test_a_covered_content_type(self, call, behind_nginx, worker):
        covered = ("@method", "@target-uri", "content-type")
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON, covered=covered)
        assert call(behind_nginx["upstream"], request.copy())[0].status == 200
        request.headers["Content-Type"] = "text/plain"
        answer, seen = call(behind_nginx["upstream"], request)
        assert (code(answer), seen) == ((401, "invalid_signature"), [])


class TestTheProxyInPython:
    def test_the_body_is_compared_and_passed_on(self, call, proxy, worker):
        for body in (BODY, b"x" * 300_000):
            request = worker.sign("POST", ORIGIN + "/echo", body=body)
            answer, (seen,) = call(proxy, request)
            assert (answer.status, seen.body) == (200, body)

    def test_in_chunks(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        chunks = b"5\r\n%s\r\n8\r\n%s\r\n0\r\n\r\n" % (BODY[:5], BODY[5:])
        answer, (seen,) = call(
            proxy, request, "Transfer-Encoding: chunked", body=b"", chunks=chunks
        )
        assert (answer.status, seen.body) == (200, BODY)

    def test_another_body(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        answer, seen = call(proxy, request, body=b'{"amount": 2}')
        assert (code(answer), seen) == ((401, "digest_mismatch"), [])

    def test_what_was_signed_is_not_taken_away(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY, headers=JSON)
        answer, seen = call(proxy, request, "Connection: close, Content-Digest")
        assert (code(answer), seen) == ((400, "malformed_request"), [])

    def test_a_body_that_is_too_large(self, call, proxy, worker):
        request = worker.sign("POST", ORIGIN + "/echo", body=b"x" * 1_000_001)
        answer, seen = call(proxy, request, "Content-Length: 1000001", body=b"")
        assert (code(answer), seen) == ((413, "request_too_large"), [])

    def test_nobodys_body_is_waited_for(self, proxy, worker):
        """Who has signed nothing is refused before the body has come."""
        request = worker.sign("POST", ORIGIN + "/echo", body=BODY)
        headers = [f"{n}: {v}" for n, v in request.headers.items() if n != "Content-Length"]
        headers = [h.replace("/echo", "/else") for h in headers]
        answer = send(proxy, "/echo?x=1", *headers, "Content-Length: 900000", method="POST")
        assert code(answer) == (401, "invalid_signature")

    def test_a_second_digest(self, call, proxy, worker):
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

    def test_without_the_gateways_url_nobody_knows_what_was_signed(self, ask, worker):
        answer = ask(worker.sign("GET", ORIGIN + OWN), GATEWAY_URL=None)
        assert (answer.status_code, answer.json()["code"]) == (401, "signature_not_accepted")

    def test_no_decision_is_kept(self, ask, worker):
        answer = ask(worker.sign("GET", ORIGIN + OWN), GATEWAY_MAX_AGE=60)
        assert (answer.status_code, answer["Cache-Control"]) == (200, "no-store")

    def test_only_a_proxy_that_is_told_to_say_so_is_believed(self, ask, worker):
        """Another's configuration does not overwrite what the client says."""
        answer = ask(worker.sign("GET", ORIGIN + OWN), GATEWAY_PROXY="caddy")
        assert (answer.status_code, answer.json()["code"]) == (403, "body_not_compared")

    def test_where_the_upstream_compares_all_is_digested(self, ask, worker):
        more = {"GATEWAY_PROXY": "caddy", "GATEWAY_SIGNED_BODIES": "upstream"}
        answer = ask(worker.sign("GET", ORIGIN + OWN), **more)
        assert (answer.status_code, answer.json()["code"]) == (401, "incomplete_signature")
        assert ask(worker.sign("GET", ORIGIN + OWN, body=b""), **more).status_code == 200
