"""Imported keys at the gateway."""

import json

import pytest

from apikeys.gateway.models import ResourceBinding
from tests.factories import ProjectFactory
from tests.gateway.servers import send
from tests.gateway.test_authorize import OWN, ask, code  # noqa: F401
from tests.gateway.test_proxy import serve
from tests.legacy.conftest import TOMORROW, YESTERDAY, api_key, takes  # noqa: F401
from tests.management.conftest import apikeys  # noqa: F401

pytestmark = pytest.mark.process

LEGACY = {"drf-api-key": {"UNTIL": TOMORROW.isoformat(), "HEADER": "X-Api-Key"}}


@pytest.fixture
def text(apikeys, transactional_db):  # noqa: F811
    project = ProjectFactory(slug="engine")
    ResourceBinding.objects.create(project=project, kind="subscriber_id", identifier="1001")
    text = api_key()
    words = ["--from", "drf-api-key", "--project", "engine", "--scope", "payments:read"]
    assert apikeys("import", *words).code == 0
    return text


@pytest.mark.parametrize("header", ["Authorization: Api-Key", "X-Api-Key"])
def test_the_endpoint_accepts_imported_keys(ask, text, takes, settings, header):  # noqa: F811
    takes(drf_api_key={"UNTIL": TOMORROW, "HEADER": header})
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_MAX_AGE": 30}
    name, _, keyword = header.partition(": ")
    headers = {name: f"{keyword} {text}".strip()}
    answer = ask(**headers)
    assert (answer.status_code, answer["X-Auth-Subject"]) == (200, "project:engine")
    # The proxy's cache key has only `Authorization`: a cached decision would allow everyone.
    assert answer["Cache-Control"] == ("no-store" if name == "X-Api-Key" else "private, max-age=30")
    assert code(ask(target="/subscribers/1002/offers", **headers)) == (403, "not_bound")
    assert code(ask(**{name: headers[name] + "x"})) == (401, "invalid_key")
    takes(drf_api_key={"UNTIL": YESTERDAY, "HEADER": header})
    assert code(ask(**headers)) == (401, "legacy_ended")
    takes()
    assert code(ask(**headers)) == (401, "not_authenticated")


def test_the_proxy_removes_imported_keys_from_the_request(text, blackbox):
    with serve(blackbox.port, LEGACY=LEGACY) as proxy:
        blackbox.seen.clear()
        assert send(proxy.port, OWN, f"X-Api-Key: {text}").status == 200
        (seen,) = blackbox.seen
        assert seen.values("X-Api-Key") == []
        assert seen.values("X-Auth-Subject") == ["project:engine"]
        twice = send(proxy.port, OWN, f"X-Api-Key: {text}", f"x-api-key: {text}")
        assert json.loads(twice.body)["code"] == "malformed_request"
        wrong = send(proxy.port, OWN, f"X-Api-Key: {text}x")
        assert json.loads(wrong.body)["code"] == "invalid_key"
        assert len(blackbox.seen) == 1
