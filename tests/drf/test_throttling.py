"""Rate limits: right under concurrency, told in the headers, and clear when nobody can count."""

import os
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
from django.core.cache import cache
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apikeys import policy
from apikeys.checks import check_settings
from apikeys.drf import (
    BearerAuthentication,
    CredentialRateThrottle,
    CredentialScopedRateThrottle,
    HasScope,
    KeyThrottle,
    throttling,
)
from apikeys.limits import counting
from tests.factories import UserFactory, bearer, mint_key, mint_pat
from tests.services import require

pytestmark = pytest.mark.django_db


class View(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    throttle_classes = [KeyThrottle]
    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({"ok": True})


def call(text):
    return View.as_view()(APIRequestFactory().get("/", headers=bearer(text)))


@pytest.fixture(autouse=True)
def nothing_counted():
    counting._make_limiter.cache_clear()
    yield
    counting._make_limiter.cache_clear()


@pytest.fixture
def redis_url(tmp_path):
    """A Redis of this test's own."""
    require("redis-server", shutil.which("redis-server") is not None, "Install redis.")
    import redis

    socket = tmp_path / "r.sock"
    arguments = ["--port", "0", "--unixsocket", str(socket), "--save", "", "--dir", str(tmp_path)]
    server = subprocess.Popen(["redis-server", *arguments], stdout=subprocess.DEVNULL)
    client = redis.Redis(unix_socket_path=str(socket))
    try:
        for _ in range(600):
            with suppress(redis.ConnectionError):
                if client.ping():
                    break
            time.sleep(0.05)
        yield f"redis+unix://{socket}", server
    finally:
        client.close()
        server.kill()
        server.wait()


def test_a_key_without_limits_is_not_counted():
    response = call(mint_pat().token)
    assert response.status_code == 200
    assert "RateLimit" not in response


def test_the_fields_of_every_answer():
    minted = mint_key(rate_limits=["1000/hour", "2/minute"])
    first, second, third = (call(minted.token) for _ in range(3))

    assert [r.status_code for r in (first, second, third)] == [200, 200, 429]
    assert first["RateLimit-Policy"] == '"2/minute";q=2;w=60, "1000/hour";q=1000;w=3600'
    assert first["RateLimit"].startswith('"2/minute";r=1;t=')
    assert '"1000/hour";r=999;t=3' in first["RateLimit"]
    assert second["RateLimit"].startswith('"2/minute";r=0;t=')
    # What the shorter limit refused is not counted for the longer one.
    assert '"1000/hour";r=998;' in third["RateLimit"]


def test_a_refusal():
    minted = mint_pat(rate_limits=["1/hour"])
    call(minted.token)
    response = call(minted.token)

    assert response.status_code == 429
    assert response.data["code"] == "rate_limited"
    assert "Retry-After" in response.data["detail"]
    assert 3590 <= int(response["Retry-After"]) <= 3600
    assert response["RateLimit"] == f'"1/hour";r=0;t={response["Retry-After"]}'
    assert "WWW-Authenticate" not in response


def test_each_key_is_counted_by_itself():
    one, other = (mint_pat(rate_limits=["1/hour"]) for _ in range(2))
    assert [call(m.token).status_code for m in (one, other, one)] == [200, 200, 429]


@pytest.mark.slow
def test_it_goes_on_after_the_window():
    minted = mint_pat(rate_limits=["1/second"])
    assert call(minted.token).status_code == 200
    deadline = time.monotonic() + 10
    while (response := call(minted.token)).status_code == 429:
        assert response["Retry-After"] == "1"
        assert time.monotonic() < deadline
    assert response.status_code == 200


class Strict(policy.Policy):
    def rate_limits(self, access):
        return ["1/hour"]


def test_a_policy_imposes_limits(settings):
    minted, lax = mint_pat(), mint_pat(rate_limits=["100/hour"])
    settings.APIKEYS = settings.APIKEYS | {"POLICY": "tests.drf.test_throttling.Strict"}
    for each in (minted, lax):
        assert [call(each.token).status_code for _ in range(2)] == [200, 429]


def test_what_is_refused_otherwise_is_not_counted():
    minted = mint_pat(scopes=["reports:read"], rate_limits=["1/hour"])
    assert [call(minted.token).status_code for _ in range(3)] == [403, 403, 403]


class PerCredential(CredentialRateThrottle):
    rate = "1/day"


class PerCredentialScoped(CredentialScopedRateThrottle):
    THROTTLE_RATES = {"reports": "1/day"}


@pytest.mark.parametrize("throttle", [PerCredential, PerCredentialScoped])
def test_throttles_by_credential_count_each_one_by_itself(throttle):
    cache.clear()

    class Public(View):
        throttle_classes = [throttle]
        throttle_scope = "reports"
        permission_classes = []
        required_scopes = []

    def outcomes(*headers):
        requests = [APIRequestFactory().get("/", headers=each) for each in headers]
        return [Public.as_view()(request).status_code for request in requests]

    user = UserFactory()
    minted = [mint_key(), mint_key(), mint_pat(user), mint_pat(user)]
    headers = [{}, *map(bearer, minted)]
    assert outcomes(*headers) == [200] * 5
    assert outcomes(*headers) == [429] * 5


def hits(text, number):
    from apikeys.access import Access

    access = Access("project_key", text, "server", "payments:read", rate_limits="50/hour")
    view = APIView()
    request = type("R", (), {"auth": access})()
    passed = 0
    for _ in range(number):
        view.headers = {}
        try:
            passed += KeyThrottle().allow_request(request, view)
        except throttling.RateLimited:
            continue
    return passed


def test_sixteen_threads_get_as_many_as_there_are():
    with ThreadPoolExecutor(16) as pool:
        assert sum(pool.map(hits, ["one-key"] * 16, [20] * 16)) == 50


_PROCESS = """
import django, sys
from concurrent.futures import ThreadPoolExecutor
django.setup()
from django.conf import settings
settings.APIKEYS = settings.APIKEYS | {"RATE_LIMIT_STORE": sys.argv[1]}
from apikeys.conf import app_settings
app_settings.reload()
from tests.drf.test_throttling import hits
print("ready", flush=True)
sys.stdin.readline()
with ThreadPoolExecutor(16) as pool:
    print(sum(pool.map(hits, ["one-key"] * 16, [10] * 16)))
"""


@pytest.mark.process
def test_two_processes_of_sixteen_threads_get_as_many_as_there_are(redis_url):
    url, _server = redis_url
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _PROCESS, url],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "DJANGO_SETTINGS_MODULE": "tests.settings"},
        )
        for _ in range(2)
    ]
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()
    passed = [int(process.communicate()[0]) for process in processes]

    assert sum(passed) == 50


def test_a_store_that_is_gone(redis_url, settings):
    url, server = redis_url
    settings.APIKEYS = settings.APIKEYS | {"RATE_LIMIT_STORE": url}
    minted, free = mint_pat(rate_limits=["10/hour"]), mint_pat()
    assert call(minted.token).status_code == 200
    server.kill()
    server.wait()

    response = call(minted.token)
    assert (response.status_code, response.data["code"]) == (503, "rate_limit_unavailable")
    assert response["Retry-After"] == "5"
    assert call(free.token).status_code == 200
    settings.APIKEYS = settings.APIKEYS | {"RATE_LIMIT_FAIL_OPEN": True}
    assert call(minted.token).status_code == 200


@pytest.mark.parametrize(
    ("name", "value", "id_"),
    [
        ("RATE_LIMIT_STORE", "redis", "apikeys.E032"),
        ("RATE_LIMIT_STORE", None, "apikeys.E032"),
        ("RATE_LIMIT_FAIL_OPEN", "no", "apikeys.E033"),
    ],
)
def test_a_wrong_setting_is_told(settings, name, value, id_):
    settings.APIKEYS = settings.APIKEYS | {name: value}
    assert [message.id for message in check_settings()] == [id_]
