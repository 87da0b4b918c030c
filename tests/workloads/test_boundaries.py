"""What a workload's token must not reach: other projects, later times, and other rules."""

import json
import time
from base64 import urlsafe_b64encode
from datetime import timedelta

import pytest
from django.core.checks import run_checks
from django.test import RequestFactory

from apikeys import channels, lifecycle
from apikeys.errors import LifecycleError
from apikeys.policy import Policy
from apikeys.refusals import Refused
from apikeys.verify import verify
from apikeys.workloads import rules
from tests.factories import ProjectFactory, bearer, mint_key
from tests.workloads.issuer import CLUSTER, GITHUB, KUBERNETES, SITE, TRUST
from tests.workloads.test_direct_use import POD, code
from tests.workloads.test_direct_use import mint as mint_pod
from tests.workloads.test_exchange import mint, post, refused

pytestmark = pytest.mark.usefixtures("workloads")
OTHER = {"issuer": "github", "claims": {"repository_id": 666}}


@pytest.fixture
def stranger(db):
    return ProjectFactory(slug="stranger")


# Other projects


@pytest.mark.parametrize(
    ("claims", "run"),
    [
        ({"repository_id": 123456789}, {"environment": "staging"}),
        (
            {"repository_id": 123456789, "event_name": "pull_request"},
            {"event_name": "pull_request"},
        ),
        ({"repository_owner_id": 9919, "environment": "staging"}, {"environment": "staging"}),
    ],
)
def test_run_that_your_key_refuses_does_not_act_for_a_stranger(
    client, project, stranger, claims, run
):
    key = mint(project)
    mint(stranger, trust={"issuer": "github", "claims": claims})
    refused(post(client, GITHUB.token(**run)), "several_keys")
    assert post(client, GITHUB.token(**run), client_id=key.public_id).status_code == 400


def test_stranger_cannot_shut_a_direct_workload_out(client, project, stranger):
    mint_pod(project, direct_use=True)
    mint_pod(stranger)
    assert code(client, KUBERNETES.token())[0] == 200


def test_service_accounts_of_the_same_name_do_not_meet(client, project, stranger):
    mint_pod(project, direct_use=True)
    claims = {"namespace": "staging", "service_account": "deploy"}
    mint_pod(stranger, {"issuer": "kubernetes", "claims": claims}, direct_use=True)
    assert code(client, KUBERNETES.token())[0] == 200


# Later times


@pytest.fixture
def manager(project):
    """A key whose workload may manage keys directly."""
    return mint_pod(project, direct_use=True, scopes=["keys:write", "keys:read", "payments:read"])


def test_direct_token_creates_nothing_that_outlives_it(client, manager):
    body = {"name": "child", "scopes": ["payments:read"], "expires_at": None}
    response = client.post(
        "/api/projects/analytical-engine/keys/",
        json.dumps(body),
        content_type="application/json",
        headers=bearer(KUBERNETES.token()),
    )
    assert (response.status_code, response.json()["code"]) == (403, "outlives_credential")


def test_direct_token_does_not_hand_its_key_to_another_workload(client, manager):
    response = client.patch(
        f"/api/projects/analytical-engine/keys/{manager.public_id}/",
        json.dumps({"trust": OTHER}),
        content_type="application/json",
        headers=bearer(KUBERNETES.token()),
    )
    assert (response.status_code, response.json()["code"]) == (403, "outlives_credential")


def test_direct_access_ends_with_the_token(manager):
    text = KUBERNETES.token(exp=int(time.time()) + 60)
    assert verify(text).expires_at.timestamp() < time.time() + 100


def test_websocket_ends_when_the_rules_exclude_its_workload(manager):
    request = RequestFactory().get("/", headers=bearer(KUBERNETES.token()))
    middleware = channels.BearerMiddleware(None)
    held = middleware._authenticate(request)
    middleware._again(held, request)
    lifecycle.edit(
        manager, trust={"issuer": "kubernetes", "claims": {"sub": "system:serviceaccount:a:b"}}
    )
    with pytest.raises(Refused):
        middleware._again(held, request)


# Direct use is asked for


def test_converted_key_is_exchanged_only(client, project):
    for overlap in (timedelta(0), timedelta(hours=1)):
        key = mint_key(project, scopes=["payments:read"]).key
        lifecycle.convert(key, trust=POD, overlap=overlap)
        assert code(client, KUBERNETES.token()) == (401, "exchange_required")
        assert post(client, KUBERNETES.token(), client_id=key.public_id).status_code == 200
        lifecycle.revoke(key)


# Approval


class Approving(Policy):
    def needs_approval(self, owner, scope):
        return scope == "payments:write"


def test_approved_key_is_not_converted(project, settings):
    key = mint_key(project, scopes=["payments:write"]).key
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Approving}
    with pytest.raises(LifecycleError) as caught:
        lifecycle.convert(key, trust=OTHER)
    assert (caught.value.code, caught.value.field) == ("approval_required", "trust")
    assert lifecycle.rotate(key, trust=OTHER).key.is_pending


def test_pending_key_is_not_converted(project, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": Approving}
    key = mint_key(project, scopes=["payments:write"]).key
    assert key.is_pending
    with pytest.raises(LifecycleError) as caught:
        lifecycle.convert(key, trust=OTHER)
    assert caught.value.code == "approval_required"


# Rules


@pytest.fixture
def gitlab(settings):
    """Trust a GitLab whose tokens the test signs."""
    issuers = {"gitlab": {"ISSUER": GITHUB.url, "JWKS": GITHUB.jwks}}
    settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": issuers}


def test_child_pipeline_of_a_merge_request_is_refused(client, project, gitlab):
    claims = {"project_id": 1, "ref_path": "refs/heads/main"}
    run = {"project_id": "1", "ref_path": "refs/heads/main", "pipeline_source": "parent_pipeline"}
    key = mint(project, trust={"issuer": "gitlab", "claims": claims})
    refused(post(client, GITHUB.token(**run)), "pull_request_not_trusted")
    claims["pipeline_source"] = "parent_pipeline"
    lifecycle.edit(key, trust={"issuer": "gitlab", "claims": claims})
    assert post(client, GITHUB.token(**run)).status_code == 200


def test_branch_of_gitlab_is_named_with_its_kind(gitlab):
    with pytest.raises(LifecycleError) as caught:
        rules.clean({"issuer": "gitlab", "claims": {"project_id": 1, "ref": "main"}})
    assert caught.value.code == "claim_not_allowed"
    assert "ref_path" in caught.value.message


def test_claim_that_identifies_a_workload_is_exact(settings):
    entry = {"JWKS": GITHUB.jwks, "CLAIMS": ["sub"], "GLOBS": ["sub"], "REQUIRED": ["sub"]}
    settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {"https://ci.example": entry}}
    with pytest.raises(LifecycleError) as caught:
        rules.clean({"issuer": "https://ci.example", "claims": {"sub": "o**"}})
    assert caught.value.code == "trust_too_broad"


# Tokens of another kind, and odd text


@pytest.mark.parametrize("claims", [{"cnf": {"jkt": "x"}}, {"events": {"logout": {}}}])
def test_token_that_is_bound_or_logs_out_is_refused(client, project, claims):
    mint(project)
    refused(post(client, GITHUB.token(**claims)), "token_type_not_accepted")


def test_issuer_with_a_fault_trusts_nothing(client, project, settings):
    issuers = {"github": {"JWKS": GITHUB.jwks, "LEEWAY": 10**10}}
    settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": issuers}
    mint(project)
    refused(post(client, GITHUB.token(exp=1000, nbf=None, iat=None)), "untrusted_issuer")


def test_issuer_of_users_and_workloads_is_an_error(settings):
    issuers = {CLUSTER: {"AUDIENCES": [SITE], "JWKS": KUBERNETES.jwks}}
    settings.APIKEYS = {**settings.APIKEYS, "ISSUERS": issuers}
    assert "apikeys.E125" in [each.id for each in run_checks()]


def test_id_that_utf_8_cannot_write_works_once(client, project):
    """joserfc cannot write such a claim, so the text is signed here."""
    mint(project)
    head, body = ({"alg": "RS256", "kid": "1"}, GITHUB.claims(jti="\ud800"))
    parts = (urlsafe_b64encode(json.dumps(each).encode()).rstrip(b"=") for each in (head, body))
    signed = b".".join(parts)
    from joserfc.jws import JWSRegistry

    signature = JWSRegistry.algorithms["RS256"].sign(signed, GITHUB.key)
    text = (signed + b"." + urlsafe_b64encode(signature).rstrip(b"=")).decode()
    assert post(client, text).status_code == 200
    refused(post(client, text), "replayed_token")


@pytest.mark.parametrize("trust", [{"\ud800": 1}, {"issuer": "github", "claims": {"\ud800": "1"}}])
def test_odd_names_in_rules_are_refused(client, engine, ada, trust):
    client.force_login(ada)
    body = json.dumps({"name": "x", "scopes": ["payments:read"], "trust": trust})
    url = "/api/projects/analytical-engine/keys/"
    response = client.post(url, body, content_type="application/json")
    assert response.status_code == 400
    assert json.loads(response.content)


def test_request_for_a_jwt_that_is_not_issued_does_not_use_the_token_up(client, project, settings):
    settings.OAUTH2_PROVIDER = {**settings.OAUTH2_PROVIDER, "OIDC_RSA_PRIVATE_KEY": ""}
    mint(project)
    text = GITHUB.token()
    kind = "urn:ietf:params:oauth:token-type:jwt"
    assert post(client, text, requested_token_type=kind).status_code == 400
    assert post(client, text).status_code == 200


def test_examples_of_the_presets_pass_their_own_check():
    for preset in rules.workload_settings.WORKLOAD_ISSUERS.values():
        for claim in preset.preset.claims.values():
            assert not claim.example.endswith("@*")


def test_trust_is_stored_as_the_rules_say(project):
    assert mint(project).trust_anchor == rules.clean(TRUST).anchor != ""
