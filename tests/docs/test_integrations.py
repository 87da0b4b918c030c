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

ASGI, TASKS, SCHEMA = blocks("docs/how-to/websockets-tasks-and-graphql.md", "python")


@pytest.mark.django_db(transaction=True)
def test_websocket_opens_for_a_key_with_the_scope(engine, monkeypatch):
    consumers = ModuleType("acme.consumers")
    consumers.Payments = Echo
    monkeypatch.setitem(sys.modules, "acme", ModuleType("acme"))
    monkeypatch.setitem(sys.modules, "acme.consumers", consumers)
    scope = {}
    exec(ASGI, scope)
    token = mint_key(engine).token

    async def connect():
        socket = Socket(token, app=scope["application"], path="/ws/payments/")
        assert (await opened(socket))["who"] == "project:analytical-engine"
        refused = Socket(app=scope["application"], path="/ws/payments/")
        assert await refused.connect() == (False, 4401)

    async_to_sync(connect)()


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
