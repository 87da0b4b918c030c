"""A program gets a token for an agent from its login. The token ends with the login."""

from urllib.parse import parse_qs, urlsplit

import pytest
from django.test import Client
from django.utils import timezone
from oauth2_provider.models import AccessToken, RefreshToken

from apikeys.oauth import authorizations
from apikeys.oauth.models import Consent
from tests.factories import MembershipFactory, bearer
from tests.oauth.conftest import REDIRECT, VERIFIER

pytestmark = pytest.mark.django_db

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"


@pytest.fixture
def login(client, ada, query):
    """Return a function that logs in with the browser and returns the tokens."""

    def login(**changes):
        client.force_login(ada)
        page = client.post(
            "/o/authorize/", query | {"allow": "Authorize", "reach": "all"} | changes
        )
        assert page.status_code == 302, page.content
        code = parse_qs(urlsplit(page["Location"]).query)["code"][0]
        form = {
            "grant_type": "authorization_code",
            "client_id": "app",
            "code": code,
            "redirect_uri": REDIRECT,
            "code_verifier": VERIFIER,
        }
        return Client().post("/o/token/", form).json()

    return login


def ask(tokens, **form):
    form = {
        "grant_type": EXCHANGE,
        "client_id": "app",
        "subject_token": tokens["refresh_token"],
        "subject_token_type": REFRESH,
        **form,
    }
    return Client().post("/o/token/", form)


def facts(token):
    return Client().get("/api/token/", headers=bearer(token))


def works(answer):
    return facts(answer.json()["access_token"]).status_code == 200


def test_token_has_the_requested_scope_project_and_time(login, ada):
    MembershipFactory(user=ada, project__slug="two")
    answer = ask(login(), scope="payments:read", project="two", expires_in="3600")

    assert answer.status_code == 200, answer.content
    data = answer.json()
    assert (data["scope"], "refresh_token" in data) == ("payments:read", False)
    assert 3590 < data["expires_in"] <= 3600
    said = facts(data["access_token"]).json()
    assert (said["user"], said["client"], said["projects"]) == ("ada", "app", ["two"])
    assert said["scopes"] == ["payments:read"]


@pytest.mark.slow
def test_login_goes_on(login):
    tokens = login()
    first, second = ask(tokens), ask(tokens)
    assert works(first)
    assert works(second)
    form = {"grant_type": "refresh_token", "client_id": "app"}
    form["refresh_token"] = tokens["refresh_token"]
    fresh = Client().post("/o/token/", form)
    assert fresh.status_code == 200
    assert works(first)  # a refresh does not end it
    assert works(ask(fresh.json()))


def test_token_ends_when_the_program_logs_out(login):
    tokens = login()
    answer = ask(tokens)
    assert works(answer)
    form = {"token": tokens["refresh_token"], "client_id": "app"}
    assert Client().post("/o/revoke_token/", form).status_code == 200
    assert not works(answer)


def test_token_ends_when_its_user_revokes_the_application(login, ada, app):
    answer = ask(login())
    authorizations.end(app, ada)
    assert not works(answer)


def test_token_ends_when_a_refresh_token_is_replayed(login, settings):
    tokens = login()
    answer = ask(tokens)
    form = {"grant_type": "refresh_token", "client_id": "app"}
    form["refresh_token"] = tokens["refresh_token"]
    assert Client().post("/o/token/", form).status_code == 200
    assert Client().post("/o/token/", form).status_code == 400
    assert not works(answer)


@pytest.mark.slow
def test_token_of_another_login_goes_on(login):
    one, other = login(), login()
    answer = ask(other)
    form = {"token": one["refresh_token"], "client_id": "app"}
    Client().post("/o/revoke_token/", form)
    assert works(answer)


@pytest.mark.parametrize(
    ("form", "error"),
    [
        ({"scope": "payments:write"}, "invalid_scope"),
        ({"scope": "keys:write"}, "invalid_scope"),
        ({"project": "unknown"}, "invalid_request"),
        ({"expires_in": "86401"}, "invalid_request"),
        ({"expires_in": "-1"}, "invalid_request"),
        ({"expires_in": "1e3"}, "invalid_request"),
        ({"subject_token": "made-up"}, "invalid_request"),
        ({"client_id": "other"}, "invalid_client"),
        ({"client_id": ""}, "invalid_client"),
    ],
)
def test_what_the_login_does_not_have_is_refused(login, form, error):
    answer = ask(login(), **form)
    assert (answer.status_code in (400, 401), answer.json()["error"]) == (True, error)


def test_project_outside_the_login_is_refused(login, ada, engine):
    MembershipFactory(user=ada, project__slug="two")
    tokens = login(reach="selected", projects=[engine.pk])
    assert ask(tokens, project="two").json()["error"] == "invalid_request"
    answer = ask(tokens).json()
    assert facts(answer["access_token"]).json()["projects"] == ["analytical-engine"]


def test_refresh_token_of_another_client_is_refused(login, cli_client):
    assert ask(login(), client_id="acme-cli").json()["error"] == "invalid_request"


def test_revoked_refresh_token_issues_nothing(login):
    tokens = login()
    RefreshToken.objects.update(revoked=timezone.now())
    assert ask(tokens).status_code == 400
    assert AccessToken.objects.count() <= 1


def test_login_whose_consent_is_gone_issues_no_token(login):
    tokens = login()
    Consent.objects.all().delete()

    assert ask(tokens).status_code == 400
    assert not AccessToken.objects.exists()


def test_token_reaches_every_project_that_is_requested(login, ada):
    for slug in ("two", "three"):
        MembershipFactory(user=ada, project__slug=slug)

    answer = ask(login(), project=["two", "three"])

    assert facts(answer.json()["access_token"]).json()["projects"] == ["three", "two"]


def test_one_unknown_project_among_several_is_refused(login, ada):
    MembershipFactory(user=ada, project__slug="two")

    answer = ask(login(), project=["nowhere", "two"])

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


def test_a_hundred_and_one_projects_are_too_many(login):
    answer = ask(login(), project=["analytical-engine"] * 101)

    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")
    assert "at most 100 projects" in answer.json()["error_description"]
