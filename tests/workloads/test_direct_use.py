"""A workload's token as a bearer token, where the site and the key allow it."""

import pytest

from apikeys import lifecycle
from apikeys.errors import LifecycleError
from tests.factories import bearer
from tests.workloads.issuer import GITHUB, KUBERNETES, TRUST

pytestmark = pytest.mark.usefixtures("workloads")

POD = {
    "issuer": "kubernetes",
    "claims": {"namespace": "production", "service_account": "deploy"},
}


def mint(project, trust=POD, **kwargs):
    kwargs = {"name": "deploy", "scopes": ["payments:read"]} | kwargs
    return lifecycle.mint(project=project, trust=trust, **kwargs).key


def code(client, text):
    response = client.get("/api/token/", headers=bearer(text))
    return response.status_code, response.json().get("code")


def test_token_acts_as_the_key_again_and_again(client, project):
    key = mint(project, direct_use=True)
    text = KUBERNETES.token()
    for _ in range(2):
        response = client.get("/api/token/", headers=bearer(text))
        assert response.status_code == 200
        assert response.json()["kind"] == "project_key"
        assert response.json()["id"] == key.public_id
    lifecycle.revoke(key)
    assert code(client, text) == (401, "revoked_key")


def test_key_must_allow_it(client, project):
    key = mint(project)
    assert key.direct_use is False
    assert code(client, KUBERNETES.token()) == (401, "exchange_required")


def test_issuer_must_allow_it(client, project):
    mint(project, TRUST)
    assert code(client, GITHUB.token()) == (401, "exchange_required")
    with pytest.raises(LifecycleError) as caught:
        mint(project, TRUST, direct_use=True)
    assert (caught.value.code, caught.value.field) == ("direct_use_not_allowed", "direct_use")
    key = mint(project, TRUST)
    with pytest.raises(LifecycleError) as caught:
        lifecycle.edit(key, direct_use=True)
    assert caught.value.code == "direct_use_not_allowed"


def test_issuer_that_no_longer_allows_it_ends_it_for_every_key(client, project, settings):
    mint(project, direct_use=True)
    text = KUBERNETES.token()
    assert code(client, text) == (200, None)
    issuers = settings.APIKEYS["WORKLOAD_ISSUERS"]
    entry = {**issuers["kubernetes"], "DIRECT_USE": False}
    changed = {"WORKLOAD_ISSUERS": {**issuers, "kubernetes": entry}}
    settings.APIKEYS = {**settings.APIKEYS, **changed}
    assert code(client, text) == (401, "exchange_required")


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({"aud": ["https://kubernetes.default.svc"]}, "wrong_audience"),
        ({"aud": ["https://acme.example", "https://other.example"]}, "wrong_audience"),
        ({"exp": 1}, "expired_token"),
        ({"kubernetes.io": {"namespace": "staging"}}, "workload_not_trusted"),
    ],
)
def test_other_tokens_are_refused(client, project, claims, expected):
    mint(project, direct_use=True)
    assert code(client, KUBERNETES.token(**claims)) == (401, expected)
