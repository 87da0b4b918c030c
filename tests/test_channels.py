"""Websockets with credentials, through the real Django Channels."""

import asyncio
import json
from datetime import timedelta
from functools import partial

import pytest
from asgiref.sync import async_to_sync, sync_to_async
from asgiref.testing import ApplicationCommunicator
from channels.generic.websocket import AsyncJsonWebsocketConsumer
from channels.routing import ProtocolTypeRouter, URLRouter
from django.urls import path
from django.utils import timezone
from rest_framework.authtoken.models import Token as DRFToken

from apikeys import lifecycle, usage
from apikeys.channels import BearerMiddleware
from apikeys.legacy import verify as legacy_verify
from apikeys.models import PersonalAccessToken, ScopeUse
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.legacy.conftest import authtoken_of

pytestmark = pytest.mark.django_db(transaction=True)

SOON = 0.05  # seconds between two checks


class Echo(AsyncJsonWebsocketConsumer):
    ended = None

    async def connect(self):
        await self.accept()
        auth = self.scope["auth"]
        await self.send_json(
            {"who": str(self.scope.get("user")), "id": auth and auth.credential_id}
        )

    async def receive_json(self, content):
        await self.send_json(content)

    async def disconnect(self, code):
        Echo.ended = code


def site(**options):
    options = {"required_scopes": ["payments:read"], "interval": SOON} | options
    sockets = URLRouter([path("ws/", Echo.as_asgi())])
    return ProtocolTypeRouter({"websocket": BearerMiddleware(sockets, **options)})


class Socket(ApplicationCommunicator):
    def __init__(
        self, token=None, *, ip="203.0.113.7", response=False, app=None, headers=(), path="/ws/"
    ):
        headers = [*headers, (b"host", b"testserver")]
        if token is not None:
            headers.append((b"authorization", f"Bearer {token}".encode()))
        scope = {"type": "websocket", "path": path, "query_string": b"", "headers": headers}
        scope |= {"client": [ip, 4711], "subprotocols": []}
        if response:
            scope["extensions"] = {"websocket.http.response": {}}
        super().__init__(app or site(), scope)

    async def connect(self):
        """Return whether it is open, and otherwise the code."""
        await self.send_input({"type": "websocket.connect"})
        message = await self.receive_output(timeout=10)
        return message["type"] == "websocket.accept", message.get("code")

    async def send_json(self, data):
        await self.send_input({"type": "websocket.receive", "text": json.dumps(data)})

    async def receive_json(self):
        return json.loads((await self.receive_output(timeout=10))["text"])

    async def leave(self):
        await self.send_input({"type": "websocket.disconnect", "code": 1000})
        await self.wait(timeout=10)


def run(function):
    """Run an async test where the database is used from this thread."""
    Echo.ended = None
    return async_to_sync(function)()


async def opened(socket):
    connected, _ = await socket.connect()
    assert connected
    return await socket.receive_json()


async def closed(socket):
    """Return how the server closes the websocket, after messages that it sent before."""
    while (message := await socket.receive_output(timeout=10))["type"] != "websocket.close":
        pass
    return message["code"], message.get("reason")


@pytest.fixture(params=["token", "key"])
def minted(request, ada, engine):
    return mint_pat(ada) if request.param == "token" else mint_key(engine)


@pytest.fixture
def checked_again(monkeypatch):
    """Return a function that waits until the credential was checked a number of times."""
    checks = []
    check = BearerMiddleware._again
    monkeypatch.setattr(
        BearerMiddleware, "_again", lambda *args: (checks.append(1), check(*args))[1]
    )

    async def wait(times):
        async with asyncio.timeout(20):
            while len(checks) <= times:
                await asyncio.sleep(SOON)

    return wait


@pytest.mark.slow
def test_credential_opens_the_websocket_and_is_in_the_scope(minted, checked_again):
    async def test():
        socket = Socket(minted.token)
        seen = await opened(socket)
        assert seen["id"] == minted.key.public_id
        assert seen["who"] in ("ada", "project:analytical-engine")
        await socket.send_json({"hello": 1})
        assert await socket.receive_json() == {"hello": 1}
        await checked_again(3)
        await socket.send_json({"hello": 2})
        assert await socket.receive_json() == {"hello": 2}
        await socket.leave()

    run(test)
    assert Echo.ended == 1000


def test_revocation_closes_the_websocket(minted):
    async def test():
        socket = Socket(minted.token)
        await opened(socket)
        await sync_to_async(lifecycle.revoke)(minted.key)
        assert await closed(socket) == (4401, "revoked_key")
        await socket.wait(timeout=10)

    run(test)
    assert Echo.ended == 4401


def narrow(key):
    lifecycle.edit(key, scopes=["reports:read"])


def move(key):
    lifecycle.edit(key, allowed_networks=["198.51.100.0/24"])


def expire(key):
    type(key).objects.filter(pk=key.pk).update(expires_at=timezone.now())


def deactivate(key):
    owner = key.owner
    owner.is_active = False
    owner.save()


@pytest.mark.parametrize(
    ("change", "code"), [(narrow, 4403), (move, 4403), (expire, 4401), (deactivate, 4401)]
)
def test_changes_of_a_key_close_the_websocket(minted, change, code):
    async def test():
        socket = Socket(minted.token)
        await opened(socket)
        await sync_to_async(change)(minted.key)
        assert (await closed(socket))[0] == code

    run(test)


def lose_a_scope(key, engine):
    lifecycle.edit(key, scopes=["payments:read"])


def leave_a_project(key, engine):
    lifecycle.edit(key, projects=[engine])


def slow_down(key, engine):
    lifecycle.edit(key, rate_limits=["5/hour"])


@pytest.mark.parametrize("change", [lose_a_scope, leave_a_project, slow_down])
@pytest.mark.parametrize("limited", [False, True])
def test_a_narrowed_token_closes_the_websocket_that_holds_its_old_rights(
    ada, engine, change, limited
):
    other = MembershipFactory(user=ada, role="owner").project
    scopes = ["payments:read", "reports:read"]
    minted = mint_pat(ada, scopes=scopes, projects=[engine, other] if limited else None)

    async def test():
        socket = Socket(minted.token)
        await opened(socket)
        await sync_to_async(change)(minted.key, engine)
        assert await closed(socket) == (4403, "insufficient_scope")

    run(test)


@pytest.mark.slow
def test_a_widened_token_leaves_the_websocket_open(ada, engine, checked_again):
    MembershipFactory(user=ada, role="owner")
    minted = mint_pat(ada, projects=[engine], rate_limits=["5/hour"])

    async def test():
        socket = Socket(minted.token)
        await opened(socket)
        wider = {"scopes": ["payments:write"], "projects": None, "rate_limits": []}
        await sync_to_async(lifecycle.edit)(minted.key, **wider)
        await checked_again(3)
        await socket.send_json({"hello": 1})
        assert await socket.receive_json() == {"hello": 1}
        await socket.leave()

    run(test)


@pytest.fixture
def live(settings):
    """Return a function that follows the tokens of REST framework in a form of the header."""

    def live(word):
        entry = {"UNTIL": "2999-12-31", "HEADERS": [word], "LIVE": {"SCOPES": ["payments:read"]}}
        settings.APIKEYS = {**settings.APIKEYS, "LEGACY": {"authtoken": entry}}

    return live


@pytest.mark.slow
@pytest.mark.parametrize("word", ["Token", "Bearer"])
@pytest.mark.parametrize("text", [None, "a-weak-word"])
def test_an_imported_token_that_its_package_deleted_closes_the_websocket(live, ada, text, word):
    live(word)
    header = (b"authorization", f"{word} {authtoken_of(ada, text)}".encode())

    async def test():
        socket = Socket(headers=[header])
        await opened(socket)
        await sync_to_async(DRFToken.objects.all().delete)()
        assert await closed(socket) == (4401, "revoked_key")

    legacy_verify._found.clear()
    run(test)
    assert PersonalAccessToken.objects.get().revoked_at is not None


@pytest.mark.slow
@pytest.mark.parametrize("word", ["Token", "Bearer"])
def test_an_imported_token_keeps_its_websocket_while_its_package_has_it(
    live, ada, word, checked_again
):
    live(word)
    old = (b"authorization", f"{word} {authtoken_of(ada)}".encode())
    own = (b"authorization", f"Bearer {mint_pat(ada).token}".encode())

    async def test(header):
        socket = Socket(headers=[header])
        await opened(socket)
        await checked_again(3)
        await socket.send_json({"hello": 1})
        assert await socket.receive_json() == {"hello": 1}
        await socket.leave()

    for header in (old, own):
        run(partial(test, header))


@pytest.mark.slow
def test_expiry_closes_the_websocket_at_once(ada):
    async def test():
        ends = timezone.now() + timedelta(milliseconds=300)
        minted = await sync_to_async(mint_pat)(ada)
        await PersonalAccessToken.objects.aupdate(expires_at=ends)
        socket = Socket(minted.token, app=site(interval=3600))
        await opened(socket)
        assert await closed(socket) == (4401, "expired_key")

    run(test)


def test_address_of_the_client_counts(engine, settings):
    minted = mint_key(engine, allowed_networks=["203.0.113.0/24"])

    async def test():
        await opened(Socket(minted.token))
        assert (await Socket(minted.token, ip="198.51.100.1").connect())[0] is False
        settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["127.0.0.1"]}
        forwarded = [(b"x-forwarded-for", b"203.0.113.9")]
        await opened(Socket(minted.token, ip="127.0.0.1", headers=forwarded))
        assert (await Socket(minted.token, ip="127.0.0.1").connect())[0] is False

    run(test)


@pytest.mark.parametrize(
    ("token", "status", "code"),
    [
        (None, 401, "not_authenticated"),
        ("two words", 400, "invalid_request"),
        ("acme_pat_0000000000000000_x", 401, "malformed_key"),
    ],
)
def test_refusal_before_the_websocket_opens(db, token, status, code):
    async def test():
        connected, close_code = await Socket(token).connect()
        assert (connected, close_code) == (False, 4000 + status)
        socket = Socket(token, response=True)
        await socket.send_input({"type": "websocket.connect"})
        start, body = await socket.receive_output(), await socket.receive_output()
        headers = dict(start["headers"])
        assert start["status"] == status
        assert headers[b"www-authenticate"].startswith(b"Bearer realm=")
        assert f'"code": "{code}"'.encode() in body["body"]

    run(test)


def test_missing_scope_is_refused(ada):
    minted = mint_pat(ada, scopes=["reports:read"])

    async def test():
        assert await Socket(minted.token).connect() == (False, 4403)

    run(test)


def test_kind_that_is_not_accepted_is_refused(engine):
    minted = mint_key(engine)

    async def test():
        app = site(accepts=["personal_access_token"])
        assert await Socket(minted.token, app=app).connect() == (False, 4403)

    run(test)


def test_without_required_scopes_the_application_decides(ada):
    minted = mint_pat(ada)

    async def test():
        assert (await opened(Socket(app=site(required_scopes=()))))["id"] is None
        seen = await opened(Socket(minted.token, app=site(required_scopes=())))
        assert seen == {"who": "None", "id": minted.key.public_id}  # no user without a scope
        wrong = minted.token[:-1] + "~"
        assert (await Socket(wrong, app=site(required_scopes=())).connect())[0] is False

    run(test)


@pytest.mark.slow
def test_checks_while_it_is_open_are_no_use_of_the_key(ada, checked_again):
    from apikeys import usage

    minted = mint_pat(ada)

    async def test():
        socket = Socket(minted.token)
        await opened(socket)
        await checked_again(3)
        await socket.leave()

    run(test)
    usage.flush()
    assert sum(minted.key.usage.values_list("count", flat=True)) == 1


def test_application_that_ends_closes_nothing_else(ada):
    async def over(scope, receive, send):
        await receive()
        await send({"type": "websocket.close", "code": 3000})

    minted = mint_pat(ada)

    async def test():
        socket = Socket(minted.token, app=BearerMiddleware(over, interval=SOON))
        assert await socket.connect() == (False, 3000)
        await socket.wait(timeout=10)

    run(test)


def test_other_protocols_pass():
    seen = []

    async def app(scope, receive, send):
        seen.append(scope)

    async def test():
        await BearerMiddleware(app)({"type": "lifespan"}, None, None)

    run(test)
    assert seen == [{"type": "lifespan"}]


@pytest.mark.parametrize("wrong", [{"required_scopes": "payments:read"}, {"accepts": ["cookie"]}])
def test_wrong_arguments_are_refused(wrong):
    with pytest.raises(TypeError):
        BearerMiddleware(None, **wrong)


def test_handshake_counts_as_one_use_of_the_required_scopes():
    minted = mint_pat(scopes=["payments:write"])
    usage.flush()

    async def talk():
        socket = Socket(minted.token)
        assert await socket.connect() == (True, None)
        await socket.leave()
        refused = Socket(minted.token, app=site(required_scopes=["reports:read"]))
        assert (await refused.connect())[0] is False

    async_to_sync(talk)()
    usage.flush()
    rows = ScopeUse.objects.filter(credential=minted.key.public_id)
    assert list(rows.values_list("scope", "count")) == [("payments:read", 1)]
