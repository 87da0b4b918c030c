"""Only declared routes are allowed, and an invalid route opens nothing."""

import pytest
from django.core.checks import WARNING
from django.core.exceptions import ImproperlyConfigured, ValidationError
from django.core.management import call_command

from apikeys.gateway import routes
from apikeys.gateway.checks import check_gateway
from apikeys.gateway.models import Route
from apikeys.gateway.paths import parse
from tests.checks.test_checks import check, found
from tests.factories import bearer

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
def test_parameters_are_bound_by_default(db, settings, declared, kinds):
    route = GOOD | {"path": "/a/{b}/{c}"} | declared
    assert bindings(settings, "/a/1/2", route) == [kinds]


def test_the_most_specific_route_decides(db, settings):
    literal = GOOD | {"path": "/a/me"}
    rest = GOOD | {"path": "/**", "scopes": ["reports:read"]}
    assert bindings(settings, "/a/me", GOOD, literal, rest) == [{}]
    assert bindings(settings, "/a/you", GOOD, literal, rest) == [{"b": "b"}]


def test_equally_specific_routes_all_apply(db, settings):
    other = GOOD | {"path": "/a/{c}"}
    unbound = GOOD | {"path": "/a/{d}", "bindings": []}
    assert bindings(settings, "/a/1", GOOD, other, unbound) == [{"b": "b"}, {"c": "c"}, {}]


def test_parameters_of_several_routes_stay_separate(client, settings, key, bind, engine):
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
def test_an_invalid_route_is_reported_and_stops_the_gateway(db, settings, declared):
    assert check(settings, GATEWAY_ROUTES=[GOOD, declared]) == ["apikeys.E041"]
    assert all(message.hint for message in found())
    with pytest.raises(ImproperlyConfigured):
        routes.find("GET", parse("/a/1"))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("id_", "name", "values"),
    [
        ("apikeys.E040", "GATEWAY_PROXY", ["squid", "", None, []]),
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
def test_invalid_settings_are_reported(settings, id_, name, values):
    for value in values:
        assert check(settings, **{name: value}) == [id_], value
        assert all(name in message.msg and message.hint for message in found())


TLS = {"SECURE_SSL_REDIRECT": True}
BEHIND = {"SECURE_PROXY_SSL_HEADER": ("HTTP_X_FORWARDED_PROTO", "https")}


@pytest.mark.parametrize(
    ("django", "url", "warnings"),
    [
        ({}, None, []),
        (TLS, None, ["apikeys.W041"]),
        (TLS | BEHIND, None, []),
        (TLS | {"SECURE_REDIRECT_EXEMPT": [r"^gateway/"]}, None, []),
        (TLS | {"SECURE_REDIRECT_EXEMPT": [r"^health/"]}, None, ["apikeys.W041"]),
        (TLS | {"SECURE_REDIRECT_EXEMPT": [r"^gateway/(authorize|preflight)/"]}, None, []),
        (TLS | {"MIDDLEWARE": []}, None, []),
        ({"ALLOWED_HOSTS": ["acme.example"]}, "https://api.acme.example", ["apikeys.W042"]),
        ({"ALLOWED_HOSTS": [".acme.example"]}, "https://api.acme.example", []),
        ({"ALLOWED_HOSTS": ["*"]}, "https://api.acme.example", []),
        ({"ALLOWED_HOSTS": [], "DEBUG": True}, "http://127.0.0.1:8080", []),
        ({"ALLOWED_HOSTS": ["[::1]"]}, "http://[::1]:8080", []),
        ({"PREPEND_WWW": True}, None, ["apikeys.W043"]),
        ({"PREPEND_WWW": True, "ALLOWED_HOSTS": ["*"]}, "https://www.acme.example", []),
        (TLS | {"ROOT_URLCONF": "apikeys.api.urls"}, None, []),
    ],
)
def test_settings_that_redirect_the_proxy_are_reported(settings, django, url, warnings):
    for name, value in django.items():
        setattr(settings, name, value)
    assert warned(settings, GATEWAY_URL=url) == warnings


def warned(settings, **changes):
    settings.APIKEYS = settings.APIKEYS | changes
    messages = [each for each in check_gateway() if each.is_serious(WARNING)]
    assert all(each.hint for each in messages)
    return [each.id for each in messages]


def test_the_host_is_not_checked_for_traefik(settings):
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    asked = {"GATEWAY_URL": "https://api.acme.example", "GATEWAY_PROXY": "traefik"}
    assert warned(settings, **asked) == []


def test_an_unknown_scope_is_reported(settings, capsys):
    declare(settings, GOOD | {"scopes": ["none:such"]})
    call_command("check")
    assert "none:such" in capsys.readouterr().err


def test_a_route_in_the_database_is_used(client, key, settings):
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
def test_an_invalid_route_cannot_be_saved(db, change):
    good = {"method": "GET", "path": "/x/{id}", "scope": "payments:read", "bindings": ""}
    with pytest.raises(ValidationError):
        Route.objects.create(**good | change)


def test_changes_of_other_processes_are_seen_after_some_seconds(db, settings, monkeypatch):
    declare(settings)
    clock = [100.0]
    monkeypatch.setattr(routes.time, "monotonic", lambda: clock[0])
    assert routes.find("GET", parse("/x")) == []
    Route.objects.bulk_create(
        [Route(method="GET", path="/x", scope="payments:read")]
    )  # sends no signal
    assert routes.find("GET", parse("/x")) == []
    clock[0] += 5
    assert len(routes.find("GET", parse("/x"))) == 1
