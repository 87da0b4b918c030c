"""What is declared is what passes, and a slip of the pen opens nothing."""

import pytest
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command

from apikeys.gateway import routes
from apikeys.gateway.models import Route
from apikeys.gateway.paths import parse
from tests.factories import bearer
from tests.test_checks import check, found

GOOD = {"method": "GET", "path": "/a/{b}", "scopes": ["payments:read"]}


def declare(settings, *declared):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_ROUTES": list(declared)}


def bindings(settings, path, *declared):
    declare(settings, *declared)
    return [dict(route.bindings) for route, _ in routes.find("GET", parse(path))]


@pytest.mark.parametrize(
    ("declared", "kinds"),
    [
        ({}, {"b": "b", "c": "c"}),
        ({"bindings": None}, {"b": "b", "c": "c"}),
        ({"bindings": ["b"]}, {"b": "b"}),
        ({"bindings": "b=kind c"}, {"b": "kind", "c": "c"}),
        ({"bindings": {"b": "kind", "c": None}}, {"b": "kind"}),
        ({"bindings": []}, {}),
        ({"bindings": "-"}, {}),
    ],
)
def test_every_parameter_is_bound_unless_it_says_otherwise(db, settings, declared, kinds):
    route = GOOD | {"path": "/a/{b}/{c}"} | declared
    assert bindings(settings, "/a/1/2", route) == [kinds]


def test_the_most_specific_route_decides(db, settings):
    literal = GOOD | {"path": "/a/me"}
    rest = GOOD | {"path": "/**", "scopes": ["reports:read"]}
    assert bindings(settings, "/a/me", GOOD, literal, rest) == [{}]
    assert bindings(settings, "/a/you", GOOD, literal, rest) == [{"b": "b"}]


def test_what_equally_specific_routes_ask_for_adds_up(db, settings):
    other = GOOD | {"path": "/a/{c}"}
    unbound = GOOD | {"path": "/a/{d}", "bindings": []}
    assert bindings(settings, "/a/1", GOOD, other, unbound) == [{"b": "b"}, {"c": "c"}, {}]


def test_a_parameter_of_one_route_is_not_taken_for_another(client, settings, key, bind, engine):
    one = GOOD | {"path": "/a/{x}/{y}", "bindings": {"x": "subscriber_id"}}
    two = GOOD | {"path": "/a/{y}/{x}", "bindings": {"x": "subscriber_id"}}
    declare(settings, one, two)

    def ask(target):
        headers = {"X-Original-Method": "GET", "X-Original-URI": target}
        return client.get("/gateway/authorize/", headers=headers | bearer(key)).status_code

    assert ask("/a/1001/1001") == 200
    assert ask("/a/1001/1002") == 403
    assert ask("/a/1002/1001") == 403


WRONG = [
    "GET /a",
    {},
    GOOD | {"scopes": []},
    GOOD | {"scopes": ""},
    GOOD | {"method": "get"},
    GOOD | {"method": ""},
    GOOD | {"method": None},
    GOOD | {"path": "a"},
    GOOD | {"path": None},
    GOOD | {"path": "/a/../b"},
    GOOD | {"bindings": ["c"]},
    GOOD | {"bindings": {"b": "no kind"}},
    GOOD | {"bindings": {"b": 5}},
    GOOD | {"scope": "payments:read"},
]


@pytest.mark.parametrize("declared", WRONG)
def test_a_wrong_route_is_told_and_stops_everything(db, settings, declared):
    assert check(settings, GATEWAY_ROUTES=[GOOD, declared]) == ["apikeys.E041"]
    assert all(message.hint for message in found())
    with pytest.raises(ImproperlyConfigured):
        routes.find("GET", parse("/a/1"))


@pytest.mark.parametrize(
    ("id_", "name", "values"),
    [
        ("apikeys.E040", "GATEWAY_PROXY", ["haproxy", "", None, []]),
        ("apikeys.E041", "GATEWAY_ROUTES", ["GET /", {}, None]),
        (
            "apikeys.E042",
            "GATEWAY_URL",
            ["api.example.com", "ftp://a", "", 5, "https://a?b", "http://x:abc", "http://x:99999"],
        ),
        (
            "apikeys.E044",
            "GATEWAY_UPSTREAM",
            [
                "127.0.0.1",
                "ftp://a",
                "",
                5,
                "http://a/b",
                "http://[",
                "http://x:abc",
                "http://x:99999",
            ],
        ),
        ("apikeys.E045", "GATEWAY_TIMEOUT", [0, -1, "5", None, True, float("inf"), 10**400]),
        ("apikeys.E045", "GATEWAY_MAX_BODY", [0, -1, "5", None, 1.5, True]),
        ("apikeys.E045", "GATEWAY_MAX_CONNECTIONS", [0, -1, "5", None, 1.5, True]),
        ("apikeys.E043", "GATEWAY_MAX_AGE", [-1, 301, "5", None, 1.5, True]),
    ],
)
def test_settings_that_are_wrong(settings, id_, name, values):
    for value in values:
        assert check(settings, **{name: value}) == [id_], value
        assert all(name in message.msg and message.hint for message in found())


def test_an_unknown_scope_is_told(settings, capsys):
    declare(settings, GOOD | {"scopes": ["none:such"]})
    call_command("check")
    assert "none:such" in capsys.readouterr().err


def test_a_route_of_the_database(client, key, settings):
    declare(settings)
    headers = {"X-Original-Method": "GET", "X-Original-URI": "/x/1001"} | bearer(key)

    def ask():
        return client.get("/gateway/authorize/", headers=headers).status_code

    assert ask() == 403
    route = Route.objects.create(
        method="GET", path="/x/{id}", scope="payments:read", bindings="id=subscriber_id"
    )
    assert ask() == 200
    route.is_active = False
    route.save()
    assert ask() == 403
    route.is_active = True
    route.save()
    assert ask() == 200
    route.delete()
    assert ask() == 403


@pytest.mark.parametrize(
    "change",
    [{"method": "get"}, {"path": "x"}, {"scope": ""}, {"scope": "no:such"}, {"bindings": "no"}],
)
def test_the_database_takes_no_wrong_route(db, change):
    good = {"method": "GET", "path": "/x/{id}", "scope": "payments:read", "bindings": ""}
    with pytest.raises(ValidationError):
        Route.objects.create(**good | change)


def test_what_another_process_changed_is_seen_after_some_seconds(db, settings, monkeypatch):
    declare(settings)
    clock = [100.0]
    monkeypatch.setattr(routes.time, "monotonic", lambda: clock[0])
    assert routes.find("GET", parse("/x")) == []
    Route.objects.bulk_create([Route(method="GET", path="/x", scope="payments:read")])  # no signal
    assert routes.find("GET", parse("/x")) == []
    clock[0] += 5
    assert len(routes.find("GET", parse("/x"))) == 1
