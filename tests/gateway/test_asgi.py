"""The endpoint without middleware: decisions in memory are made in the event loop."""

import asyncio
import json
from datetime import timedelta

import pytest
from asgiref.sync import SyncToAsync
from django.core.asgi import get_asgi_application
from django.utils import timezone
from oauth2_provider.models import AccessToken, Application

from apikeys import lifecycle
from apikeys.cache import Cache, get_cache
from apikeys.conf import CACHE_DEFAULTS
from apikeys.gateway import decide
from apikeys.gateway.asgi import ForwardAuth
from apikeys.gateway.bindings import _BINDINGS
from apikeys.gateway.models import ResourceBinding
from apikeys.models import Membership
from apikeys.policy import Policy
from tests.factories import ProjectFactory, mint_key, mint_pat
from tests.servers import RedisServer, running

pytestmark = pytest.mark.django_db(transaction=True)

OWN = "/subscribers/1001/offers"


@pytest.fixture
def cached(settings):
    settings.APIKEYS = settings.APIKEYS | {"CACHE": {"TIMEOUT": 60}}


@pytest.fixture
def hops(monkeypatch):
    """Record the functions that run in another thread."""
    made = []
    call = SyncToAsync.__call__

    async def counted(self, *args, **kwargs):
        made.append(args[0] if args else self.func)
        return await call(self, *args, **kwargs)

    monkeypatch.setattr(SyncToAsync, "__call__", counted)
    return made


class Answered:
    def __init__(self, messages):
        start, *rest = messages
        self.status = start["status"]
        self.headers = {n.decode(): v.decode("latin-1") for n, v in start["headers"]}
        self.body = b"".join(message["body"] for message in rest)

    @property
    def code(self):
        assert self.headers["cache-control"] == "no-store"
        return self.status, json.loads(self.body)["code"]


@pytest.fixture
def ask():
    application = ForwardAuth(get_asgi_application())

    def ask(token=None, target=OWN, *headers, method="GET", path="/gateway/authorize/"):
        sent = [(b"x-original-method", b"GET"), (b"x-original-uri", target.encode()), *headers]
        if token:
            sent.append((b"authorization", b"Bearer " + token.encode()))
        scope = {
            "type": "http",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": b"",
            "headers": sent,
            "client": ("127.0.0.1", 4321),
            "server": ("localhost", 80),
        }
        messages, body = [], [{"type": "http.request", "body": b""}]

        async def receive():
            return body.pop() if body else await asyncio.Event().wait()

        async def send(message):
            messages.append(message)

        asyncio.run(application(scope, receive, send))
        return Answered(messages)

    return ask


def test_the_answers_equal_those_of_the_view(ask, client, key):
    other = "/subscribers/1002/offers"
    for token, target in [(key, OWN), (None, OWN), (key, other), (key, "/"), (key[:-1], OWN)]:
        headers = {"X-Original-Method": "GET", "X-Original-URI": target}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        view = client.get("/gateway/authorize/", headers=headers, SERVER_NAME="localhost")

        answered = ask(token, target)

        assert (answered.status, answered.body) == (view.status_code, view.content)
        theirs = {name.lower(): value for name, value in view.items()}
        of_middleware = {name for name in theirs if name not in answered.headers}
        assert of_middleware <= {
            *("x-frame-options", "vary", "content-language", "x-content-type-options"),
            *("referrer-policy", "cross-origin-opener-policy"),
        }
        assert answered.headers == {n: v for n, v in theirs.items() if n not in of_middleware} | {
            "content-length": str(len(view.content))
        }


def test_other_requests_go_to_the_site(ask):
    assert ask(path="/api/token/").status == 401
    assert ask(path="/gateway/nothing/").status == 404


def test_a_refusal_is_translated(ask):
    german, english = ask(None, OWN, (b"accept-language", b"de")), ask()
    assert german.code == english.code == (401, "not_authenticated")
    assert "Es wurden keine Zugangsdaten gesendet" in json.loads(german.body)["detail"]
    assert "No credential" in json.loads(english.body)["detail"]


def test_envoy_sends_the_original_request(ask, key, settings):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_PROXY": "envoy"}
    assert ask(key, path="/gateway/authorize" + OWN).status == 200
    assert ask(key, path="/gateway/authorize/subscribers/1002/offers").code == (403, "not_bound")
    assert ask(key).code == (403, "original_request_unknown")


def test_a_server_error_reveals_nothing(ask, key, monkeypatch, settings):
    settings.DEBUG = True
    monkeypatch.setattr("apikeys.gateway.routes.current", lambda: 1 / 0)
    answered = ask(key)
    assert answered.status == 500
    assert b"ZeroDivisionError" in answered.body
    assert key.split("_")[3].encode() not in answered.body


@pytest.mark.parametrize("kind", ["key", "pat", "oauth"])
def test_what_is_in_memory_is_decided_without_a_thread(ask, cached, hops, engine, ada, bind, kind):
    bind("1001", **({"project": engine} if kind == "key" else {"user": ada}))
    if kind == "oauth":
        text = "an-access-token"
        AccessToken.objects.create(
            user=ada,
            application=Application.objects.create(client_type=Application.CLIENT_PUBLIC),
            token=text,
            scope="payments:read",
            expires=timezone.now() + timedelta(minutes=1),
        )
    else:
        text = (mint_key(engine) if kind == "key" else mint_pat(ada)).token
    assert ask(text).status == 200
    assert len(hops) == 1
    hops.clear()

    assert ask(text).status == 200
    assert ask(text).status == 200
    assert ask(text, "/").code == (403, "no_route")
    assert ask("acme_pat_mistyped").code == (401, "malformed_key")
    assert ask().code == (401, "not_authenticated")
    assert hops == []


def test_a_removed_legacy_bearer_header_costs_no_thread(ask, cached, hops, bind, ada, settings):
    """While the legacy header is set, its keys need the database. Afterwards no request does."""
    before = settings.APIKEYS
    until = {"UNTIL": "2099-12-31", "HEADER": "Authorization: Bearer"}
    settings.APIKEYS = before | {"LEGACY": {"knox": until}}
    settings.APIKEYS = before
    test_what_is_in_memory_is_decided_without_a_thread(
        ask, cached, hops, None, ada, bind, kind="oauth"
    )


def test_a_cache_miss_takes_one_thread(ask, cached, hops, key, bind, engine, ada):
    def cost(*args, status=200):
        hops.clear()
        assert ask(*args).status == status
        return list(hops)

    assert cost(key) == [decide.decide]  # neither the key nor its binding nor the routes
    bind("1003", project=engine)
    assert cost(key, "/subscribers/1003/offers") == [decide.admit]
    assert cost(key, "/subscribers/1003/offers") == []
    assert cost(key, "/subscribers/1002/offers", status=403) == [decide.admit]
    # Bindings of a user's projects are never cached, because users leave projects.
    pat = mint_pat(ada).token
    assert cost(pat) == [decide.decide]
    assert cost(pat) == [decide.admit]


def test_a_rate_limit_in_redis_takes_a_thread(
    ask, cached, hops, engine, bind, settings, redis_server
):
    bind("1001", project=engine)
    minted = mint_key(engine, rate_limits=["3/hour"])
    assert [ask(minted.token).status for _ in range(2)] == [200, 200]
    assert len(hops) == 1  # counted in memory
    settings.APIKEYS = settings.APIKEYS | {"RATE_LIMIT_STORE": redis_server.url}
    hops.clear()

    assert [ask(minted.token).status for _ in range(4)] == [200, 200, 200, 429]
    assert len(hops) == 4


class Remembered(Policy):
    def allowed_networks(self, owner):
        return Membership.objects.filter(role="nowhere").values_list("role", flat=True)


def test_a_decision_with_a_query_in_the_policy_is_not_cached(ask, key, settings):
    settings.APIKEYS = settings.APIKEYS | {"GATEWAY_MAX_AGE": 30}
    assert ask(key).headers["cache-control"] == "private, max-age=30"
    settings.APIKEYS = settings.APIKEYS | {"POLICY": Remembered}

    answer = ask(key)

    assert (answer.status, answer.headers["cache-control"]) == (200, "no-store")


def test_every_use_counts_once(ask, cached, engine, bind):
    from apikeys import usage

    bind("1001", project=engine)
    minted = mint_key(engine)
    for _ in range(3):
        ask(minted.token)
    bind("1002", project=engine)
    ask(minted.token, "/subscribers/1002/offers")
    usage.flush()
    assert sum(usage.daily(type(minted.key), [minted.key.pk])[minted.key.pk]) == 4


@pytest.fixture(scope="module")
def redis_server(tmp_path_factory):
    with running(RedisServer(tmp_path_factory.mktemp("redis"))) as server:
        yield server


@pytest.fixture(params=["alone", pytest.param("with redis", marks=pytest.mark.process)])
def kept(request, settings):
    if request.param == "alone":
        settings.APIKEYS = settings.APIKEYS | {"CACHE": {"TIMEOUT": 60}}
    else:
        server = request.getfixturevalue("redis_server")
        settings.APIKEYS = settings.APIKEYS | {"CACHE": {"LOCATION": server.url}}
        assert get_cache().tracking.wait(10)


def _delete(binding):
    binding.delete()


def _delete_all(binding):
    ResourceBinding.objects.filter(pk=binding.pk).delete()


def _rename(binding):
    binding.identifier = "1009"
    binding.save()


def _give_away(binding):
    binding.user, binding.project = None, ProjectFactory()
    binding.save()


@pytest.mark.parametrize("change", [_delete, _delete_all, _rename, _give_away])
@pytest.mark.parametrize("owner", ["user", "project"])
def test_a_removed_binding_refuses_the_next_request(ask, kept, engine, ada, bind, change, owner):
    binding = bind("1001", **({"user": ada} if owner == "user" else {"project": engine}))
    token = (mint_pat(ada) if owner == "user" else mint_key(engine)).token
    assert ask(token).status == ask(token).status == 200

    change(binding)

    assert ask(token).code == (403, "not_bound")


def test_a_new_binding_takes_effect_at_once(ask, kept, engine, bind):
    token = mint_key(engine).token
    assert ask(token).code == ask(token).code == (403, "not_bound")
    bind("1001", project=engine)
    assert ask(token).status == 200


@pytest.mark.slow
def test_a_missing_binding_is_not_cached(ask, kept, engine, bind):
    token = mint_key(engine).token
    other = ProjectFactory()
    for number in range(20):
        bind(str(number), project=other)
        assert ask(token, f"/subscribers/{number}/offers").status == 403
    assert len(get_cache().rows) == 1  # the key


def test_a_former_member_is_refused_at_once(ask, kept, engine, ada, bind):
    bind("1001", project=engine)
    token = mint_pat(ada).token
    assert ask(token).status == ask(token).status == 200
    ada.project_memberships.all().delete()
    assert ask(token).code == (403, "not_bound")


def test_a_cached_binding_keeps_the_restriction_to_projects(ask, kept, engine, ada, bind):
    bind("1001", user=ada)
    free, restricted = mint_pat(ada).token, mint_pat(ada, projects=[engine]).token
    assert ask(free).status == ask(free).status == 200
    assert ask(restricted).code == (403, "not_bound")


def test_an_ended_key_is_refused_at_once(ask, kept, engine, bind):
    bind("1001", project=engine)
    minted = mint_key(engine)
    assert ask(minted.token).status == ask(minted.token).status == 200
    lifecycle.revoke(minted.key)
    assert ask(minted.token).code == (401, "revoked_key")


@pytest.mark.process
def test_every_process_drops_a_binding_before_removing_it_returns(
    redis_server, settings, engine, bind
):
    settings.APIKEYS = settings.APIKEYS | {"CACHE": {"LOCATION": redis_server.url}}
    workers = [Cache({**CACHE_DEFAULTS, "LOCATION": redis_server.url}) for _ in range(3)]
    try:
        for worker in workers:
            assert worker.tracking.wait(10)
        for _ in range(5):
            binding = bind("1001", project=engine)
            value = ("project_id", engine.pk, binding.kind, "1001")
            for worker in workers:
                for _ in range(100):  # an earlier invalidation may keep the row out of the cache
                    assert worker.find(_BINDINGS, value)
                    if worker.peek(_BINDINGS, value):
                        break
            assert all(worker.peek(_BINDINGS, value) for worker in workers)

            binding.delete()

            assert [worker.peek(_BINDINGS, value) for worker in workers] == [None] * 3
    finally:
        for worker in workers:
            worker.close()
