"""Call an ASGI application with JSON-RPC, in this process."""

import asyncio
import json

import httpx


def ask(make, resource, method="ping", token=None, params=None, client=("127.0.0.1", 4321)):
    """Send one request of JSON-RPC to the application of ``make``; return the response."""
    headers = {"Accept": "application/json, text/event-stream"}
    if token:
        headers["Authorization"] = f"Bearer {token}"
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": params or {}}
    return send(make, "POST", resource, client=client, headers=headers, json=body)


def send(make, method, url, client=("127.0.0.1", 4321), **kwargs):
    """Send a request to the application that ``make`` returns: the SDK starts one only once."""
    application = make()

    async def run():
        transport = httpx.ASGITransport(application, client=client)
        async with lifespan(application), httpx.AsyncClient(transport=transport) as http:
            return await http.request(method, url, **kwargs)

    return asyncio.run(run())


class lifespan:  # noqa: N801 - it is used like a function
    """Start and stop an application, as a server does."""

    def __init__(self, application):
        self.application = application

    async def __aenter__(self):
        self.messages, self.answers = asyncio.Queue(), asyncio.Queue()
        scope = {"type": "lifespan", "asgi": {"version": "3.0"}, "state": {}}
        self.task = asyncio.ensure_future(
            self.application(scope, self.messages.get, self.answers.put)
        )
        await self.messages.put({"type": "lifespan.startup"})
        assert (await self.answers.get())["type"] == "lifespan.startup.complete"

    async def __aexit__(self, *args):
        await self.messages.put({"type": "lifespan.shutdown"})
        await self.answers.get()
        await self.task


def result(response):
    assert response.status_code == 200, response.text
    data = response.json()
    assert "result" in data, data
    return data["result"]


def tools(response):
    return [tool["name"] for tool in result(response)["tools"]]


def error(response):
    return json.loads(response.text)["error"]
