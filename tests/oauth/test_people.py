"""An event in the life of a user revokes the applications that the user authorized, if set."""

from urllib.parse import parse_qs, urlsplit

import pytest
from oauth2_provider.models import (
    get_access_token_model,
    get_grant_model,
    get_refresh_token_model,
)

from apikeys import lifecycle
from apikeys.models import AuditEvent, Membership
from apikeys.oauth.models import Consent
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_pat
from tests.oauth.conftest import REDIRECT, VERIFIER

pytestmark = pytest.mark.django_db
EVENTS = ("password_changed", "deactivated", "logged_out")


def choose(settings, **actions):
    settings.APIKEYS = settings.APIKEYS | {"WHEN_USER": actions}


@pytest.fixture
def grant(visitor, query):
    """Return a function that authorizes the application, and returns the token's text."""

    def grant(**changes):
        form = query | {"allow": "Authorize", "scope": "payments:read"} | changes
        response = visitor.post("/o/authorize/", form)
        (code,) = parse_qs(urlsplit(response["Location"]).query)["code"]
        redeemed = {"grant_type": "authorization_code", "client_id": "app", "code": code}
        redeemed |= {"redirect_uri": REDIRECT, "code_verifier": VERIFIER}
        answer = visitor.post("/o/token/", redeemed).json()
        return answer["access_token"], answer["refresh_token"]

    return grant


def refresh(client, text):
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": text}
    return client.post("/o/token/", form).status_code


@pytest.mark.parametrize("action", ["pause", "revoke"])
@pytest.mark.parametrize("event", EVENTS)
def test_the_authorizations_are_revoked(event, action, ada, grant, client, settings):
    choose(settings, **{event: action})
    access, refreshing = grant()
    assert verify(access).user == ada

    lifecycle.apply_user_event(event, ada)
    with pytest.raises(Refused, match="invalid_token"):
        verify(access)
    assert refresh(client, refreshing) == 400
    assert not Consent.objects.filter(user=ada).exists()
    assert AuditEvent.objects.filter(event="withdrawn", owner="ada").count() == 1


def test_nothing_happens_by_default(ada, grant, client):
    access, refreshing = grant()
    for event in EVENTS:
        assert lifecycle.apply_user_event(event, ada) == 0
    assert verify(access).user == ada
    assert refresh(client, refreshing) == 200


def test_a_real_logout_ends_tokens_and_authorizations(ada, grant, visitor, settings):
    choose(settings, logged_out="revoke")
    access, _ = grant()
    minted = mint_pat(ada)
    visitor.logout()
    for text in (access, minted.token):
        with pytest.raises(Refused):
            verify(text)


def test_a_code_that_is_not_used_yet_ends_too(ada, visitor, query, settings):
    choose(settings, password_changed="revoke")
    visitor.post("/o/authorize/", query | {"allow": "Authorize", "scope": "payments:read"})
    assert get_grant_model().objects.exists()
    lifecycle.apply_user_event("password_changed", ada)
    assert not get_grant_model().objects.exists()


@pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner:DeprecationWarning")
def test_a_login_with_the_password_ends_too(ada, log_in, settings):
    choose(settings, password_changed="revoke")
    text = log_in().json()["access_token"]
    assert verify(text).user == ada
    ada.set_password("another-long-password")
    ada.save()
    with pytest.raises(Refused, match="invalid_token"):
        verify(text)


def test_other_users_keep_theirs(ada, engine, grant, settings):
    choose(settings, password_changed="revoke")
    access, _ = grant()
    other = MembershipFactory(project=engine).user
    lifecycle.apply_user_event("password_changed", other)
    assert verify(access).user == ada


class TestMembership:
    @pytest.fixture(autouse=True)
    def _chosen(self, settings):
        choose(settings, membership_lost="revoke")

    def test_what_reaches_all_projects_is_kept(self, ada, two, grant):
        access, _ = grant()
        Membership.objects.get(user=ada, project=two).delete()
        assert verify(access).user == ada

    @pytest.mark.parametrize("of_lost", [True, False])
    def test_what_selects_projects_is_revoked_if_it_selects_the_lost_one(
        self, ada, engine, two, grant, of_lost
    ):
        access, _ = grant()
        consent = Consent.objects.get(user=ada)
        consent.all_projects = False
        consent.save()
        consent.projects.set([two if of_lost else engine])
        Membership.objects.get(user=ada, project=two).delete()
        if of_lost:
            with pytest.raises(Refused, match="invalid_token"):
                verify(access)
        else:
            assert verify(access).user == ada
        live = get_refresh_token_model().objects.filter(revoked=None)
        assert live.exists() != of_lost
        assert get_access_token_model().objects.exists() != of_lost
