"""Every endpoint while the database cannot be used: 503 with ``Retry-After``, or the right answer.

A query that fails in the middle of a request stands for a database that goes away, is demoted,
or is at its limit of connections: each has the error that its driver raises.
"""

import re
import sqlite3
from itertools import count, product

import pytest
from django.core.cache import cache
from django.db import InterfaceError, InternalError, OperationalError, connection, transaction
from django.urls import URLPattern, URLResolver, get_resolver

from apikeys import cache as keys_cache
from apikeys import refusals, usage, verify
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from tests import endpoints
from tests.tiers import STEPS

pytestmark = [
    pytest.mark.slow,
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner:DeprecationWarning"),
]

READS = ("SELECT", "SAVEPOINT", "RELEASE", "ROLLBACK", "PRAGMA", "EXPLAIN")


def gone(sql):
    error = sqlite3.OperationalError("disk I/O error")
    error.sqlite_errorcode = sqlite3.SQLITE_IOERR
    raise OperationalError(*error.args) from error


def at_its_limit(sql):
    """As psycopg has it: no connection was made, so there is no code."""
    raise OperationalError("connection failed: FATAL: sorry, too many clients already")


def closed(sql):
    raise InterfaceError("connection already closed")


def read_only(sql):
    """Really so, where a connection can be switched to it in the middle of a transaction."""
    if connection.vendor == "sqlite":
        _switch("ON")
    elif not sql.startswith(READS):
        error = Exception("cannot execute in a read-only transaction")
        error.sqlstate = "25006"
        raise InternalError(*error.args) from error


def _switch(state):
    if connection.vendor == "sqlite":
        connection.connection.execute(f"PRAGMA query_only = {state}")


STATES = {each.__name__: (each,) for each in (gone, at_its_limit, closed, read_only)}
#: A walk fails one query after another. Each is in the next of these states.
IN_TURN = {"in turn": (gone, at_its_limit, closed), "read_only": (read_only,)}
WALKS = [
    *IN_TURN,
    *(pytest.param(state, marks=pytest.mark.long) for state in STATES if state not in IN_TURN),
]


class Broken:
    """A database in a state, from the query with this number on."""

    def __init__(self, state, number=1):
        self.state, self.number, self.seen, self.writes = state, number, 0, []

    def __call__(self, execute, sql, params, many, context):
        self.seen += 1
        if not sql.startswith(READS):
            self.writes.append(self.seen)
        if self.seen >= self.number:
            self.state(sql)
        return execute(sql, params, many, context)


@pytest.fixture
def site(settings):
    settings.DEMO = True
    return endpoints.Site()


def send(site, name, state, number):
    """The answer to a request, and the database that it met; nothing is kept."""
    states = (STATES | IN_TURN)[state]
    broken = Broken(states[number % len(states)], number)
    with transaction.atomic():
        request = endpoints.EVERY[name](site)
        with connection.execute_wrapper(broken):
            response = site.send(request)
        _switch("OFF")
        transaction.set_rollback(True)
    cache.clear()
    keys_cache.forget_everything()
    usage._pending.clear()
    return response, broken


def is_told_to_come_back(response):
    return response.status_code == 503 and int(response["Retry-After"]) > 0


@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("state", WALKS)
@pytest.mark.parametrize("name", endpoints.EVERY)
def test_a_request_that_meets_an_outage_is_told_to_come_back(site, name, state, step):
    right, whole = send(site, name, "read_only", 10**6)
    assert right.status_code < 500, "it fails in any case"
    wrong = []
    # A database that only reads is noticed at a write, however long it has been so.
    for number in [1, *whole.writes[::step]] if state == "read_only" else count(1, step):
        response, broken = send(site, name, state, number)
        if broken.seen < number:
            break
        is_right = response.status_code == right.status_code
        if not (is_told_to_come_back(response) or (is_right and _is_same(response, right))):
            wrong.append((number, response.status_code, response.content[:200]))
    assert wrong == []


def _is_same(response, right):
    """Whether it says the same of a credential: an outage makes none live or dead."""
    if "json" not in right.get("Content-Type", ""):
        return True
    one, other = response.json(), right.json()
    if not isinstance(one, dict):
        return one == other
    return one.get("active") == other.get("active") and one.get("error") == other.get("error")


@pytest.mark.parametrize("name", [each for each in endpoints.EVERY if "introspection" in each])
def test_introspection_calls_no_key_dead_while_argon2_is_busy(site, name, monkeypatch):
    def busy(*args, **kwargs):
        raise Refused(refusals.VERIFICATION_BUSY)

    request = endpoints.EVERY[name](site)
    PersonalAccessToken.objects.update(pepper_id="lost")
    ProjectKey.objects.update(pepper_id="lost")
    keys_cache.forget_everything()
    monkeypatch.setattr(verify, "_check", busy)
    response = site.send(request)

    if "of a token" in name:
        assert response.json()["active"] is True
    else:
        assert is_told_to_come_back(response)
        assert "active" not in response.json()


@pytest.mark.parametrize("step", STEPS)
def test_every_url_is_answered_without_a_database(site, step):
    """Also without a good request: whatever its method, 503 or an answer that needs no data."""
    wrong = []
    methods = ("get", "post", "put", "patch", "delete", "options")
    headers_of = ({}, endpoints.bearer(site.manager.token))
    asked = list(product(methods, (site.browser, site.anyone), headers_of))
    for number, url in enumerate(sorted(_urls(get_resolver()))):
        for method, client, headers in asked[number % step :: step]:
            with connection.execute_wrapper(Broken(gone)):
                response = getattr(client, method)(f"/{url}", headers=headers)
            if response.status_code >= 500 and not is_told_to_come_back(response):
                wrong.append((method, url, client is site.browser, bool(headers)))
            keys_cache.forget_everything()
    assert wrong == []


def _urls(resolver, prefix=""):
    """The path of each pattern below ``resolver``, with something for each part of it."""
    for pattern in resolver.url_patterns:
        path = prefix + re.sub(r"<(?:(\w+):)?\w+>", _filled, str(pattern.pattern))
        if isinstance(pattern, URLResolver):
            yield from _urls(pattern, path)
        elif isinstance(pattern, URLPattern):
            yield path


def _filled(match):
    return {"int": "1", "slug": "engine", "uuid": "0" * 32}.get(match[1] or "", "x" * 16)
