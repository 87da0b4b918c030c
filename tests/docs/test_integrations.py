"""The guide to websockets, tasks and GraphQL: its code runs."""

import sys
from types import ModuleType, SimpleNamespace

import pytest
from asgiref.sync import async_to_sync
from django.test import RequestFactory

from apikeys.verify import verify
from tests.documents import blocks
from tests.factories import mint_key
from tests.test_channels import Echo, Socket, opened

ASGI, CONSUMER, SOCKETS, TASKS, SCHEMA = blocks(
    "docs/how-to/websockets-tasks-and-graphql.md", "python"
)


@pytest.mark.django_db(transaction=True)
def test_websocket_opens_for_a_key_with_the_scope(engine, monkeypatch):
    consumers = ModuleType("acme.consumers")
    exec(CONSUMER, vars(consumers))
    monkeypatch.setitem(sys.modules, "acme", ModuleType("acme"))
    monkeypatch.setitem(sys.modules, "acme.consumers", consumers)
    scope = {}
    exec(ASGI, scope)
    token = mint_key(engine).token

    async def connect():
        socket = Socket(token, app=scope["application"], path="/ws/payments/")
        assert await opened(socket) == {"kind": "project_key"}
        refused = Socket(app=scope["application"], path="/ws/payments/")
        assert await refused.connect() == (False, 4401)

    async_to_sync(connect)()


@pytest.mark.django_db(transaction=True)
def test_browser_gets_the_user_of_its_session_and_no_access(ada, engine, client, monkeypatch):
    class Payments(Echo):
        async def connect(self):
            await self.accept()
            await self.send_json({"who": str(self.scope["user"]), "auth": "auth" in self.scope})

    consumers = ModuleType("acme.consumers")
    consumers.Payments = Payments
    monkeypatch.setitem(sys.modules, "acme", ModuleType("acme"))
    monkeypatch.setitem(sys.modules, "acme.consumers", consumers)
    scope = {}
    exec(SOCKETS, scope)
    client.force_login(ada)
    cookie = (b"cookie", f"sessionid={client.cookies['sessionid'].value}".encode())
    own, foreign = (b"origin", b"http://testserver"), (b"origin", b"https://evil.example")
    token = mint_key(engine).token

    def connect(path, *headers, token=None):
        return Socket(token, app=scope["sockets"], path=path, headers=headers)

    async def test():
        browser = "/ws/browser/payments/"
        seen = await opened(connect(browser, own, cookie))
        assert seen == {"who": "ada", "auth": False}
        seen = await opened(connect(browser, own))
        assert seen == {"who": "AnonymousUser", "auth": False}
        seen = await opened(connect("/ws/payments/", token=token))
        assert seen == {"who": "project:analytical-engine", "auth": True}
        assert await connect("/ws/payments/", own, cookie).connect() == (False, 4401)
        for headers in ([foreign, cookie], [cookie]):
            is_open, _ = await connect(browser, *headers).connect()
            assert not is_open

    async_to_sync(test)()


def test_task_acts_for_the_caller(engine):
    scope = {"__name__": "acme.tasks"}
    exec(TASKS, scope)
    data = verify(mint_key(engine).token).to_dict()
    assert scope["export"](data) == ["analytical-engine"]


def test_field_lists_the_projects_of_the_key(engine, monkeypatch):
    module = ModuleType("acme.schema")
    monkeypatch.setitem(sys.modules, "acme.schema", module)
    scope = vars(module)
    exec(SCHEMA, scope)
    headers = {"Authorization": f"Bearer {mint_key(engine).token}"}
    context = SimpleNamespace(request=RequestFactory().get("/", headers=headers))
    result = scope["schema"].execute_sync("{ payments }", context_value=context)
    assert result.data == {"payments": ["Analytical Engine"]}
    context.request = RequestFactory().get("/")
    assert scope["schema"].execute_sync("{ payments }", context_value=context).data is None
