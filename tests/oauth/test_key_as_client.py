"""A key gets a short-lived token, with its ID and secret as client credentials (RFC 6749 4.4)."""

import base64
from datetime import timedelta

import pytest
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application, clear_expired
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from apikeys import grants, lifecycle, verify
from apikeys.drf import AnyScope, BearerAuthentication, KeyThrottle
from apikeys.models import ProjectKey
from apikeys.oauth.models import TokenOrigin
from apikeys.policy import Policy
from apikeys.refusals import Refused
from tests.factories import MembershipFactory, ProjectFactory, bearer, mint_key, mint_pat


class ShortTokens(Policy):
    def token_lifetime(self, owner):
        return timedelta(seconds=90)


@pytest.fixture
def project(db):
    return ProjectFactory(slug="analytical-engine")


@pytest.fixture
def minted(project):
    return mint_key(project, scopes=["payments:write", "reports:read"])


def ask(client, minted, *, basic=False, **changes):
    form = {"grant_type": "client_credentials"}
    if basic:
        pair = f"{minted.key.public_id}:{minted.token}".encode()
        headers = {"Authorization": "Basic " + base64.b64encode(pair).decode()}
    else:
        headers = {}
        form |= {"client_id": minted.key.public_id, "client_secret": minted.token}
    return client.post("/o/token/", form | changes, headers=headers)


def whoami(client, token):
    return client.get("/api/token/", headers=bearer(token))


@pytest.mark.parametrize("basic", [True, False], ids=["basic", "body"])
def test_gets_a_token_that_acts_as_its_project(client, minted, basic):
    response = ask(client, minted, basic=basic)

    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store"
    grant = response.json()
    assert grant.keys() == {"access_token", "token_type", "expires_in", "scope"}
    assert grant["token_type"] == "Bearer"
    assert grant["expires_in"] == 600
    assert grant["scope"] == "payments:write reports:read"
    facts = whoami(client, grant["access_token"]).json()
    assert facts["kind"] == "oauth"
    assert facts["project"] == "analytical-engine"
    assert facts["projects"] == ["analytical-engine"]
    assert facts["user"] is None
    assert facts["client"] == facts["key"] == minted.key.public_id
    assert facts["scopes"] == ["payments:write", "reports:read"]


@pytest.mark.parametrize("url", ["token", "revoke_token", "introspect", "device-authorization"])
def test_no_csrf_token_is_needed(db, url):
    from django.test import Client

    response = Client(enforce_csrf_checks=True).post(f"/o/{url}/", {})

    assert response.status_code in (400, 401)


def test_no_application_is_created(client, minted):
    ask(client, minted)

    assert not Application.objects.exists()
    assert AccessToken.objects.get().application is None


def test_a_persons_token_acts_on_their_behalf_in_the_selected_projects(client, db):
    user = MembershipFactory(project__slug="one").user
    two = MembershipFactory(user=user, project__slug="two").project
    grant = ask(client, mint_pat(user, projects=[two])).json()

    facts = whoami(client, grant["access_token"]).json()

    assert (facts["user"], facts["projects"]) == (user.username, ["two"])
    assert verify.verify(grant["access_token"]).principal == user


def test_verification_costs_two_queries(client, minted, django_assert_num_queries):
    """The second query fetches the key. Other tokens are spared its joins."""
    token = ask(client, minted).json()["access_token"]

    with django_assert_num_queries(2):
        access = verify.verify(token)
        assert access.project.slug == "analytical-engine"
        assert access.principal.username == "project:analytical-engine"


def test_a_narrower_scope_can_be_requested(client, minted):
    grant = ask(client, minted, scope="payments:read").json()

    assert grant["scope"] == "payments:read"
    payment = {"amount": "1.00", "currency": "EUR"}
    token = grant["access_token"]
    assert client.get("/api/payments/", headers=bearer(token)).status_code == 200
    refused = client.post("/api/payments/", payment, headers=bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


@pytest.mark.parametrize("scope", ["payments:write", "reports:read", "payments:read nothing:here"])
def test_a_wider_scope_is_refused(client, project, scope):
    response = ask(client, mint_key(project, scopes=["payments:read"]), scope=scope)

    assert response.status_code == 400
    assert response.json()["error"] == "invalid_scope"
    assert not AccessToken.objects.exists()


def test_the_policy_sets_the_lifetime(client, minted, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": ShortTokens}

    assert ask(client, minted).json()["expires_in"] == 90


def test_the_token_does_not_outlive_the_key(client, project):
    ends = timezone.now() + timedelta(seconds=60)
    grant = ask(client, mint_key(project, expires_at=ends)).json()

    assert grant["expires_in"] <= 60
    assert AccessToken.objects.get().expires == ends


def test_the_database_stores_no_usable_token(client, minted):
    ask(client, minted)

    assert AccessToken.objects.get().token == ""


def refusal(client, token):
    response = whoami(client, token)
    assert response.status_code == 401
    assert 'error="invalid_token"' in response["WWW-Authenticate"]
    return response.json()["code"]


@pytest.fixture
def token(client, minted):
    return ask(client, minted).json()["access_token"]


def test_revoking_the_key_ends_the_token(client, minted, token):
    lifecycle.revoke(minted.key, reason="The server is gone.")

    assert refusal(client, token) == "invalid_token"


def test_deactivating_the_project_ends_the_token(client, minted, token, project):
    project.is_active = False
    project.save()

    assert refusal(client, token) == "invalid_token"


def test_deactivating_the_user_ends_the_token(client, db):
    minted = mint_pat()
    token = ask(client, minted).json()["access_token"]
    minted.key.user.is_active = False
    minted.key.user.save()

    assert refusal(client, token) == "inactive_user"


def test_an_earlier_expiry_of_the_key_shortens_the_token(client, minted, token):
    ends = timezone.now() + timedelta(seconds=30)
    lifecycle.edit(minted.key, expires_at=ends)
    assert verify.verify(token).expires_at == ends

    type(minted.key).objects.update(expires_at=timezone.now())
    assert refusal(client, token) == "invalid_token"


def test_narrowing_the_key_narrows_the_token(client, minted, token):
    lifecycle.edit(minted.key, scopes=["payments:read"])

    assert verify.verify(token).scopes == {"payments:read"}
    refused = client.post("/api/payments/", {"amount": "1.00"}, headers=bearer(token))
    assert (refused.status_code, refused.json()["code"]) == (403, "insufficient_scope")


def test_removing_a_project_from_the_key_removes_it_from_the_token(client, db):
    user = MembershipFactory(project__slug="one").user
    two = MembershipFactory(user=user, project__slug="two").project
    minted = mint_pat(user)
    token = ask(client, minted).json()["access_token"]
    lifecycle.edit(minted.key, projects=[two])

    assert whoami(client, token).json()["projects"] == ["two"]


def test_deleting_the_key_ends_the_token(client, db):
    """Without the row of the key, its tokens must not lose their limits."""
    minted = mint_pat()
    token = ask(client, minted).json()["access_token"]
    minted.key.delete()

    assert refusal(client, token) == "invalid_token"


def test_cleaning_expired_tokens_deletes_their_origins(client, token):
    AccessToken.objects.update(expires=timezone.now() - timedelta(seconds=1))
    clear_expired()

    assert not TokenOrigin.objects.exists()


def test_a_key_created_with_the_token_ends_with_the_first_key(client, minted, token):
    from apikeys import grants

    access = verify.verify(token)
    within = grants.for_project(minted.key.project, using=access)
    with pytest.raises(lifecycle.LifecycleError) as error:
        mint_key(minted.key.project, within=within)
    assert error.value.code == "outlives_credential"

    child = mint_key(minted.key.project, within=within, expires_at=access.expires_at)
    assert child.key.minted_with == minted.key.public_id
    lifecycle.revoke(minted.key)
    with pytest.raises(Refused, match="revoked_key"):
        verify.verify(child.token)


def test_using_the_token_counts_as_a_use_of_the_key(client, minted, token):
    from apikeys import usage

    usage.flush()
    before = usage.daily(type(minted.key), [minted.key.pk], days=1)[minted.key.pk]
    whoami(client, token)
    usage.flush()

    assert usage.daily(type(minted.key), [minted.key.pk], days=1)[minted.key.pk] == [before[0] + 1]


@pytest.fixture
def assert_invalid_client(client, db):
    """Return a function that asserts that the token endpoint answers ``invalid_client``."""

    def assert_invalid_client(minted, **changes):
        for basic in (True, False):
            response = ask(client, minted, basic=basic, **changes)
            assert response.status_code == 401
            assert response.json()["error"] == "invalid_client"
            assert response["Content-Type"] == "application/json"
            # RFC 6749 section 5.2: the challenge names the scheme that the client used.
            assert response["WWW-Authenticate"].startswith("Basic" if basic else "Bearer")
        assert not AccessToken.objects.exists()

    return assert_invalid_client


def test_a_revoked_key_gets_no_token(minted, assert_invalid_client):
    lifecycle.revoke(minted.key)
    assert_invalid_client(minted)


def test_an_expired_key_gets_no_token(minted, assert_invalid_client):
    type(minted.key).objects.update(expires_at=timezone.now())
    assert_invalid_client(minted)


def test_a_pending_key_gets_no_token(minted, assert_invalid_client):
    type(minted.key).objects.update(is_pending=True)
    assert_invalid_client(minted)


def test_the_secret_of_another_key_gets_no_token(minted, project, assert_invalid_client):
    assert_invalid_client(lifecycle.Minted(mint_key(project).key, minted.token))


def test_a_mistyped_key_gets_no_token(minted, assert_invalid_client):
    assert_invalid_client(lifecycle.Minted(minted.key, minted.token[:-1] + "~"))


def test_a_wrong_secret_gets_no_token(minted, project, assert_invalid_client):
    from apikeys import token

    parsed = token.parse(mint_key(project).token, "acme")
    forged = token.compose("acme", "key", minted.key.public_id, parsed.secret)
    assert_invalid_client(lifecycle.Minted(minted.key, forged))


def test_two_authentication_methods_are_refused(client, minted):
    """RFC 6749 section 2.3: a client MUST NOT use more than one method in a request."""
    response = ask(client, minted, basic=True, client_secret=minted.token)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_a_repeated_parameter_is_refused(client, minted):
    """RFC 6749 section 3.2: parameters MUST NOT be included more than once."""
    response = ask(client, minted, scope=["payments:read", "payments:write"])

    assert (response.status_code, response.json()["error"]) == (400, "invalid_request")


def test_the_secret_in_the_url_is_refused(client, minted):
    """RFC 6749 section 2.3.1: never in the request URI."""
    response = client.post(
        f"/o/token/?client_id={minted.key.public_id}&client_secret={minted.token}",
        {"grant_type": "client_credentials"},
    )

    assert response.status_code == 400
    assert not AccessToken.objects.exists()


@pytest.mark.parametrize("grant_type", ["password", "authorization_code", "refresh_token"])
def test_a_key_has_no_other_grant(client, minted, grant_type):
    response = ask(client, minted, grant_type=grant_type, code="x", refresh_token="x")

    assert response.status_code in (400, 401)
    assert not AccessToken.objects.exists()


def test_a_token_for_one_service_is_refused_by_another(client, minted):
    """RFC 8707 section 2."""
    here = ask(client, minted, resource="http://testserver/api/").json()["access_token"]
    elsewhere = ask(client, minted, resource="https://elsewhere.example/").json()["access_token"]

    assert whoami(client, here).status_code == 200
    assert refusal(client, elsewhere) == "invalid_token"


@pytest.mark.slow
def test_a_restricted_token_cannot_create_a_key(client, db):
    project = ProjectFactory(slug="engine")
    other = mint_key(project)
    minted = mint_key(project, scopes=["keys:write", "payments:read"])
    url = "/api/projects/engine/keys/"

    def make(resource):
        grant = ask(client, minted, **resource).json()
        ends = (timezone.now() + timedelta(minutes=1)).isoformat()
        body = {"name": "x", "scopes": ["payments:read"], "expires_at": ends}
        headers = bearer(grant["access_token"])
        rotate = f"{url}{other.key.public_id}/rotate/"
        rotated = client.post(rotate, {}, "application/json", headers=headers)
        return client.post(url, body, "application/json", headers=headers), rotated

    for refused in make({"resource": f"http://testserver{url}"}):
        assert (refused.status_code, refused.json()["code"]) == (403, "resource_not_grantable")
    for resource in ({}, {"resource": "http://testserver"}):
        assert make(resource)[0].status_code == 201


@pytest.mark.parametrize("resource", ["not-a-uri", "https://api.example/#part", "urn:x:y"])
def test_an_invalid_resource_is_refused(client, minted, resource):
    response = ask(client, minted, resource=resource)

    assert (response.status_code, response.json()["error"]) == (400, "invalid_target")


def test_audiences_lists_the_allowed_resources(client, minted, settings):
    settings.APIKEYS = {**settings.APIKEYS, "AUDIENCES": ["https://billing.example/v1"]}

    assert ask(client, minted, resource="https://billing.example/v1/x").status_code == 200
    for resource in ("https://billing.example/", "https://billing.example.evil/v1"):
        response = ask(client, minted, resource=resource)
        assert response.json()["error"] == "invalid_target"


def test_another_validator_does_not_lift_the_limits_of_a_token(client, minted, token, settings):
    settings.OAUTH2_PROVIDER = settings.OAUTH2_PROVIDER | {
        "OAUTH2_VALIDATOR_CLASS": "oauth2_provider.oauth2_validators.OAuth2Validator"
    }
    assert whoami(client, token).json()["project"] == "analytical-engine"
    lifecycle.edit(minted.key, scopes=["reports:read"])
    assert verify.verify(token).scopes == {"reports:read"}
    lifecycle.revoke(minted.key)
    assert refusal(client, token) == "invalid_token"
    # The system check reports it.
    from django.core.checks import run_checks

    assert "apikeys.E070" in [message.id for message in run_checks(tags=["apikeys"])]


def test_tokens_are_limited_to_the_allowed_ip_ranges_of_the_key(client, project):
    minted = mint_key(project, allowed_networks=["127.0.0.0/8"])
    token = ask(client, minted).json()["access_token"]

    assert whoami(client, token).status_code == 200
    away = client.get("/api/token/", headers=bearer(token), REMOTE_ADDR="203.0.113.7")
    assert (away.status_code, away.json()["code"]) == (403, "ip_not_allowed")


def test_tokens_share_the_rate_limit_of_the_key(client, project):
    """Otherwise a key could avoid its limit by getting many tokens."""

    class Limited(APIView):
        authentication_classes = (BearerAuthentication,)
        permission_classes = (AnyScope,)
        throttle_classes = (KeyThrottle,)

        def get(self, request):
            return Response({})

    minted = mint_key(project, rate_limits=["2/day"])
    first, second = (ask(client, minted).json()["access_token"] for _ in range(2))
    answers = [
        Limited.as_view()(APIRequestFactory().get("/", headers=bearer(token))).status_code
        for token in (first, second, first, minted.token)
    ]

    assert answers == [200, 200, 429, 429]


class TestChangedMeanwhile:
    """The key changes after its token was verified and before the new key is saved."""

    @pytest.fixture
    def minted(self, project):
        return mint_key(project, scopes=["keys:write", "payments:read"])

    @pytest.fixture
    def within(self, client, minted, project):
        access = verify.verify(ask(client, minted).json()["access_token"])
        return grants.for_project(project, using=access)

    def mint(self, project, within):
        return mint_key(project, expires_at=within.latest_expiry, within=within)

    def test_an_unchanged_key_creates_a_key(self, project, minted, within):
        child = self.mint(project, within).key
        assert child.minted_with == minted.key.public_id

    @pytest.mark.parametrize(
        "change",
        [
            lifecycle.revoke,
            lambda key: lifecycle.edit(key, scopes=["payments:read"]),
            lambda key: lifecycle.edit(key, allowed_networks=["203.0.113.0/24"]),
            lambda key: lifecycle.edit(key, rate_limits=["1/minute"]),
            lambda key: key.delete(),
            lambda key: AccessToken.objects.all().delete(),
        ],
        ids=["revoked", "narrowed", "bound", "limited", "deleted", "token revoked"],
    )
    def test_a_changed_key_creates_nothing(self, project, minted, within, change):
        other = mint_key(project).key
        count = ProjectKey.objects.exclude(pk=minted.key.pk).count()
        change(minted.key)

        for act in (
            lambda: self.mint(project, within),
            lambda: lifecycle.edit(other, name="x", within=within),
            lambda: lifecycle.rotate(other, expires_at=within.latest_expiry, within=within),
        ):
            with pytest.raises(lifecycle.LifecycleError, match="has just changed"):
                act()
        assert ProjectKey.objects.exclude(pk=minted.key.pk).count() == count


@pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner password:DeprecationWarning")
def test_a_users_token_that_ended_meanwhile_creates_nothing(log_in, ada):
    access = verify.verify(log_in(scope="keys:write payments:read").json()["access_token"])
    within = grants.for_tokens(ada, access)
    mint_pat(ada, expires_at=access.expires_at, within=within)
    AccessToken.objects.update(expires=timezone.now())

    with pytest.raises(lifecycle.LifecycleError, match="has just changed"):
        mint_pat(ada, expires_at=access.expires_at, within=within)
