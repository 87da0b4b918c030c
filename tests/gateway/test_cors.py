"""The endpoint that answers preflights. nginx and the proxy in Python have tests of their own."""

import pytest
from django.core.exceptions import ValidationError

from apikeys.gateway import routes
from apikeys.gateway.models import Route
from tests.factories import bearer

PAGE = "https://app.acme.example"
GOOD = {"method": "GET", "path": "/a/{b}", "scopes": ["payments:read"], "bindings": []}


@pytest.fixture
def declare(settings, db):
    def declare(*given):
        settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": [GOOD | each for each in given]}
        routes.read_again()

    return declare


@pytest.fixture
def ask(client):
    def ask(path="preflight", *, method="OPTIONS", planned="GET", target="/a/1", **headers):
        original = {"X-Original-Method": method, "X-Original-URI": target, "Origin": PAGE}
        return client.get(
            f"/gateway/{path}/",
            headers=original | {"Access-Control-Request-Method": planned} | headers,
        )

    return ask


def test_preflights_depend_on_all_routes_that_decide(declare, ask):
    declare({"cors": [PAGE]})
    assert (ask().status_code, ask()["Access-Control-Allow-Origin"]) == (204, PAGE)
    assert ask(planned="HEAD").status_code == 204
    declare({"cors": "*"}, {"path": "/**"})
    assert ask(Origin="null")["Access-Control-Allow-Origin"] == "null"
    declare({"cors": [PAGE]}, {"path": "/a/{c}"})  # as specific, without the origin
    assert ask().json()["code"] == "origin_not_allowed"


@pytest.mark.parametrize(
    "options",
    [
        {"method": "GET"},
        {"planned": "POST"},
        {"planned": ""},
        {"target": "/a/1/2"},
        {"target": "/a/../a/1"},
        {"Origin": ""},
        {"Origin": PAGE.upper()},
        {"Origin": f"{PAGE}, {PAGE}"},
    ],
)
def test_other_requests_get_no_permission(declare, ask, options):
    declare({"cors": [PAGE]})
    response = ask(**options)
    assert (response.status_code, response.json()["code"]) == (403, "origin_not_allowed")
    assert "Access-Control-Allow-Origin" not in response


@pytest.mark.parametrize("requested", ["x y", "a,,b", "a\tb", "a" * 1001, "*"])
def test_header_names_that_are_none_are_not_repeated(declare, ask, requested):
    declare({"cors": [PAGE]})
    response = ask(**{"Access-Control-Request-Headers": requested})
    assert "Access-Control-Allow-Headers" not in response


def test_the_decision_never_lets_a_preflight_pass(declare, ask):
    """A proxy forwards a request that ``authorize`` answers with 2xx."""
    declare({"cors": [PAGE]})
    assert ask("authorize").status_code == 401


def test_a_page_can_read_responses_of_its_routes(declare, ask, key, settings):
    declare({"cors": [PAGE]})
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_MAX_AGE": 60}
    for headers, status in ((bearer(key), 200), ({}, 401)):
        response = ask("authorize", method="GET", **headers)
        assert response.status_code == status
        assert response["Access-Control-Allow-Origin"] == PAGE
        assert response["Cache-Control"] == "no-store"  # a cached one would name another origin
        assert "Origin" in response["Vary"]
    other = ask("authorize", method="GET", Origin="https://evil.example", **bearer(key))
    assert "Access-Control-Allow-Origin" not in other


@pytest.mark.parametrize(
    "cors",
    ["app.acme.example", f"{PAGE}/", f"{PAGE}/a", "null", "https://*.acme.example", PAGE.upper()],
)
def test_an_invalid_origin_is_refused(db, cors):
    with pytest.raises(ValidationError, match="origin"):
        Route.objects.create(method="GET", path="/a", scope="payments:read", cors=cors)


def test_a_route_in_the_database_lists_origins_too(declare, ask):
    declare()
    assert ask().status_code == 403
    Route.objects.create(
        method="GET",
        path="/a/{b}",
        scope="payments:read",
        bindings="-",
        cors=f"{PAGE} http://[::1]",
    )
    assert ask().status_code == 204
