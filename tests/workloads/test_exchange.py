"""A workload's token at the token endpoint (RFC 7523 section 2.1, RFC 8693)."""

from datetime import timedelta

import pytest
from django.utils import timezone
from joserfc import jwk, jwt

from apikeys import lifecycle
from apikeys.issuers import workloads
from apikeys.models import ProjectKey
from tests.factories import ProjectFactory, bearer
from tests.workloads.issuer import GITHUB, KUBERNETES, SITE, TRUST

BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
JWT = "urn:ietf:params:oauth:token-type:jwt"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"

pytestmark = pytest.mark.usefixtures("workloads")


def mint(project, **kwargs):
    kwargs = {"name": "deploy", "scopes": ["payments:write"], "trust": TRUST} | kwargs
    return lifecycle.mint(project=project, **kwargs).key


@pytest.fixture
def key(project):
    return mint(project)


def post(client, assertion, **changes):
    form = {"grant_type": BEARER, "assertion": assertion} | changes
    return client.post("/o/token/", {k: v for k, v in form.items() if v is not None})


def exchange(client, text, kind=JWT, **changes):
    form = {"grant_type": EXCHANGE, "subject_token": text, "subject_token_type": kind}
    return client.post("/o/token/", form | changes)


def refused(response, code, error="invalid_grant", status=400):
    assert (response.status_code, response.json()["error"]) == (status, error), response.json()
    assert response.json()["error_description"].endswith(f"refused: {code}.")


def status(client, response):
    token = response.json()["access_token"]
    return client.get("/api/token/", headers=bearer(token)).status_code


class TestAssertion:
    def test_token_acts_for_the_project_of_the_key(self, client, key, github):
        response = post(client, github())
        assert response.status_code == 200
        issued = response.json()
        assert issued["scope"] == "payments:write"
        assert issued["token_type"] == "Bearer"
        assert issued["expires_in"] <= 600
        facts = client.get("/api/token/", headers=bearer(issued["access_token"])).json()
        assert facts["project"] == "analytical-engine"
        assert facts["key"] == key.public_id

    def test_another_repository_is_refused(self, client, key, github):
        refused(post(client, github(repository_id="2")), "workload_not_trusted")

    def test_name_of_the_repository_does_not_matter(self, client, key, github):
        """After a rename, somebody else has the old name."""
        squatter = github(repository_id="2", repository="acme/app")
        refused(post(client, squatter), "workload_not_trusted")
        assert post(client, github(repository="acme/renamed")).status_code == 200

    def test_another_environment_is_refused(self, client, key, github):
        refused(post(client, github(environment=None)), "workload_not_trusted")

    def test_token_works_once(self, client, key, github):
        text = github()
        assert post(client, text).status_code == 200
        refused(post(client, text), "replayed_token")
        refused(exchange(client, text), "replayed_token", error="invalid_request")

    def test_token_without_id_works_once(self, client, key, github):
        text = github(jti=None)
        assert post(client, text).status_code == 200
        refused(post(client, text), "replayed_token")

    def test_second_form_of_a_signature_is_the_same_token(self, client, project):
        """ECDSA signatures can be changed without the private key, and stay valid."""
        trust = {
            "issuer": "kubernetes",
            "claims": {"sub": "system:serviceaccount:production:deploy"},
        }
        mint(project, trust=trust)
        text = KUBERNETES.token(jti=None)
        assert post(client, text).status_code == 200
        refused(post(client, _other_form(text)), "replayed_token")

    def test_refused_request_does_not_use_the_token_up(self, client, key, github):
        text = github()
        assert post(client, text, scope="reports:read").json()["error"] == "invalid_scope"
        assert post(client, text, resource="no uri").json()["error"] == "invalid_target"
        assert post(client, text, scope="payments:read").json()["scope"] == "payments:read"

    @pytest.mark.parametrize(
        ("claims", "code"),
        [
            ({"aud": "https://github.com/acme"}, "wrong_audience"),
            ({"aud": "https://other.example"}, "wrong_audience"),
            ({"aud": SITE + "/"}, "wrong_audience"),
            ({"aud": [SITE, "https://other.example"]}, "wrong_audience"),
            ({"aud": None}, "wrong_audience"),
            ({"exp": 1}, "expired_token"),
            ({"exp": None}, "missing_claim"),
            ({"exp": 2**40}, "token_lives_too_long"),
            ({"nbf": 2**40}, "token_not_yet_valid"),
        ],
    )
    def test_tokens_for_others_and_other_times_are_refused(self, client, key, github, claims, code):
        refused(post(client, github(**claims)), code)

    def test_forged_token_is_refused(self, client, key):
        other = jwk.RSAKey.generate_key(2048)
        text = jwt.encode({"alg": "RS256", "kid": "1"}, GITHUB.claims(), other)
        refused(post(client, text), "invalid_token_signature")

    def test_issuer_that_is_not_in_the_settings_is_refused(self, client, key, github):
        refused(post(client, github(iss="https://evil.example")), "untrusted_issuer")

    @pytest.mark.parametrize("text", ["a", "a.b.c", "eyJ.eyJ.x", "e30.e30.e30", "\x00"])
    def test_malformed_text_is_refused(self, client, key, text):
        assert post(client, text).status_code == 400

    def test_assertion_is_required(self, client, key):
        assert post(client, None).json()["error"] == "invalid_request"

    def test_client_secret_is_refused(self, client, key, github):
        response = post(client, github(), client_id=key.public_id, client_secret="x")
        assert response.json()["error"] == "invalid_request"

    @pytest.mark.parametrize("event", ["pull_request", "pull_request_target"])
    def test_run_for_a_pull_request_is_refused(self, client, key, github, event):
        refused(post(client, github(event_name=event)), "pull_request_not_trusted")

    def test_run_for_a_pull_request_is_allowed_by_a_rule(self, client, project, github):
        claims = {"repository_id": 123456789, "event_name": "pull_request"}
        mint(project, trust={"issuer": "github", "claims": claims})
        assert post(client, github(event_name="pull_request")).status_code == 200
        refused(post(client, github(event_name="push")), "workload_not_trusted")


class TestChoice:
    def test_id_chooses_between_keys(self, client, project, key, github):
        other = mint(project, scopes=["reports:read"])
        refused(post(client, github()), "several_keys")
        response = post(client, github(), client_id=other.public_id)
        assert response.json()["scope"] == "reports:read"

    def test_id_of_a_key_that_does_not_trust_the_workload_reveals_nothing(
        self, client, project, key, github
    ):
        secret = lifecycle.mint(project=project, name="s", scopes=["payments:read"]).key
        stranger = mint(
            ProjectFactory(slug="other"), trust={"issuer": "github", "claims": {"repository_id": 5}}
        )
        lifecycle.revoke(stranger)
        for name in (secret.public_id, stranger.public_id, "0" * 16, "nonsense"):
            refused(post(client, github(), client_id=name), "workload_not_trusted")

    def test_rotation_prefers_the_new_key(self, client, key, github):
        claims = {"repository_id": 123456789}
        new = lifecycle.rotate(key, trust={"issuer": "github", "claims": claims}).key
        response = post(client, github())
        facts = client.get("/api/token/", headers=bearer(response.json()["access_token"])).json()
        assert facts["key"] == new.public_id
        assert post(client, github(), client_id=key.public_id).status_code == 200
        refused(
            post(client, github(environment="staging"), client_id=key.public_id),
            "workload_not_trusted",
        )

    @pytest.mark.parametrize("is_revoked", [False, True])
    def test_key_of_another_project_never_takes_the_place_of_yours(
        self, client, key, github, is_revoked
    ):
        mint(ProjectFactory(slug="stranger"))
        if is_revoked:
            lifecycle.revoke(key)
        refused(post(client, github()), "several_keys")
        if not is_revoked:
            assert post(client, github(), client_id=key.public_id).status_code == 200

    def test_many_keys_of_another_project_do_not_hide_yours(self, client, key, github, monkeypatch):
        monkeypatch.setattr(workloads, "_MOST", 2)
        stranger = ProjectFactory(slug="stranger")
        for number in range(3):
            mint(
                stranger,
                name=f"key {number}",
                trust={
                    "issuer": "github",
                    "claims": {"repository_id": 123456789, "environment": "other"},
                },
            )
        refused(post(client, github()), "several_keys")
        assert post(client, github(), client_id=key.public_id).status_code == 200


class TestDependence:
    def test_token_ends_with_the_key(self, client, key, github):
        response = post(client, github())
        assert status(client, response) == 200
        lifecycle.revoke(key)
        assert status(client, response) == 401
        refused(post(client, github()), "revoked_key")

    def test_token_is_refused_while_the_key_is_paused(self, client, key, github):
        response = post(client, github())
        lifecycle.pause(key)
        assert status(client, response) == 401
        refused(post(client, github()), "paused_key")
        lifecycle.resume(key)
        assert status(client, response) == 200
        assert post(client, github()).status_code == 200

    def test_a_revoked_key_does_not_hide_that_another_is_paused(self, client, key, project, github):
        newer = mint(project, name="newer")
        lifecycle.pause(key)
        assert post(client, github()).status_code == 200
        lifecycle.revoke(newer)
        refused(post(client, github()), "paused_key")

    def test_token_loses_what_the_key_loses(self, client, key, github):
        response = post(client, github())
        lifecycle.edit(key, scopes=["payments:read"])
        token = response.json()["access_token"]
        assert client.post("/api/payments/", headers=bearer(token)).status_code == 403

    def test_pending_and_expired_keys_are_refused(self, client, key, github):
        ProjectKey.objects.filter(pk=key.pk).update(is_pending=True)
        refused(post(client, github()), "approval_required")
        past = timezone.now() - timedelta(seconds=1)
        ProjectKey.objects.filter(pk=key.pk).update(expires_at=past)
        refused(post(client, github()), "expired_key")

    def test_allowed_networks_are_checked(self, client, project, github):
        mint(project, allowed_networks=["203.0.113.0/24"])
        refused(post(client, github()), "ip_not_allowed")

    def test_issuer_that_the_site_removes_ends_the_exchange(self, client, key, github, settings):
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
        refused(post(client, github()), "untrusted_issuer")


class TestTokenExchange:
    @pytest.mark.parametrize("kind", [JWT, ID_TOKEN])
    def test_workload_token_is_exchanged(self, client, key, github, kind):
        response = exchange(client, github(), kind, client_id=key.public_id)
        assert response.status_code == 200
        assert response.json()["issued_token_type"].endswith("access_token")
        assert status(client, response) == 200

    def test_refusal_is_an_invalid_request(self, client, key, github):
        """RFC 8693 section 2.2.2."""
        text = github(repository_id="2")
        refused(exchange(client, text), "workload_not_trusted", error="invalid_request")

    def test_type_must_be_right(self, client, key, github):
        kind = "urn:ietf:params:oauth:token-type:access_token"
        assert exchange(client, github(), kind).json()["error"] == "invalid_request"

    def test_id_tokens_of_others_are_refused(self, client, key, github):
        text = github(iss="https://evil.example")
        assert exchange(client, text, ID_TOKEN).json()["error"] == "invalid_request"


def _other_form(text):
    """Return the same token with the other valid ECDSA signature (r, n - s)."""
    import base64

    head, _, signature = text.rpartition(".")
    raw = base64.urlsafe_b64decode(signature + "==")
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    s = (order - int.from_bytes(raw[32:])).to_bytes(32)
    other = base64.urlsafe_b64encode(raw[:32] + s).rstrip(b"=").decode()
    return f"{head}.{other}"
