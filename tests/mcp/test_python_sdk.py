"""The official Python SDK connects to the running example from discovery alone."""

import asyncio
from urllib.parse import quote

import httpx
import pytest
from httpx2 import AsyncClient
from mcp import Client
from mcp.client.auth import OAuthClientProvider
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.auth import AuthorizationCodeResult, OAuthClientInformationFull, OAuthClientMetadata

from tests.mcp.browser import Person
from tests.mcp.document import CLIENT_ID

pytestmark = [pytest.mark.long, pytest.mark.process]


class Storage:
    def __init__(self, client=None):
        self.client, self.tokens = client, None

    async def get_tokens(self):
        return self.tokens

    async def set_tokens(self, tokens):
        self.tokens = tokens

    async def get_client_info(self):
        return self.client

    async def set_client_info(self, client):
        self.client = client


class Agent:
    """A program with the SDK, and its user."""

    def __init__(self, url, username="ada", client=None, document=None):
        self.person, self.storage, self.asked = Person(username), Storage(client), []
        self.url = url
        self.provider = OAuthClientProvider(
            url,
            OAuthClientMetadata(
                client_name="An agent",
                redirect_uris=["http://localhost:3030/callback"],
                grant_types=["authorization_code", "refresh_token"],
            ),
            self.storage,
            self._redirect,
            self._callback,
            client_metadata_url=document,
        )

    async def _redirect(self, url):
        self.asked.append(url)

    async def _callback(self):
        found = await asyncio.to_thread(self.person.authorize, self.asked[-1])
        return AuthorizationCodeResult(**found)

    def run(self, *steps):
        with self.person.http:
            return asyncio.run(run(self.url, steps, auth=self.provider))


async def run(url, steps, **options):
    """Connect to ``url``, run ``steps`` (functions of the client), and return their results."""
    async with (
        AsyncClient(timeout=60, trust_env=False, **options) as http,
        Client(streamable_http_client(url, http_client=http)) as client,
    ):
        return [await step(client) for step in steps]


def bearer(token):
    return {"headers": {"Authorization": f"Bearer {token}"}}


async def names(client):
    return sorted(tool.name for tool in (await client.list_tools()).tools)


def call(name, **arguments):
    return lambda client: client.call_tool(name, arguments)


@pytest.fixture(params=["url", "separate_url"])
def url(request, demo):
    """The URL of the server beside Django, and of the one that introspects."""
    return demo.credentials["mcp"][request.param]


def test_client_registers_itself_and_asks_for_more_when_a_tool_needs_it(url):
    agent = Agent(url)
    before, payments, paid, after = agent.run(
        names, call("list_payments"), call("make_payment", amount="1.50"), names
    )

    assert "list_payments" in before
    assert "make_payment" not in before
    assert not payments.is_error, payments
    assert not paid.is_error, paid
    assert "make_payment" in after
    first, second = agent.asked
    assert "payments%3Awrite" not in first
    assert "payments%3Awrite" in second
    assert "keys%3A" not in first + second
    assert set(agent.storage.tokens.scope.split()) >= {"payments:read", "payments:write"}


def test_client_that_was_registered_before_connects(demo):
    client = OAuthClientInformationFull(
        client_id="acme-cli",
        redirect_uris=["http://127.0.0.1:3030/callback"],
        token_endpoint_auth_method="none",
    )
    agent = Agent(demo.credentials["mcp"]["url"], client=client)
    agent.provider.context.client_metadata.redirect_uris = client.redirect_uris
    (tools,) = agent.run(names)
    assert tools == ["list_payments", "sum_payments"]
    assert "client_id=acme-cli" in agent.asked[0]


def test_client_with_a_metadata_document_needs_no_registration(url):
    agent = Agent(url, document=CLIENT_ID)
    before, paid = agent.run(names, call("make_payment", amount="1.50"))

    assert "list_payments" in before
    assert not paid.is_error, paid
    assert all(f"client_id={quote(CLIENT_ID, safe='')}" in each for each in agent.asked)
    assert agent.storage.client.client_id == CLIENT_ID


def test_client_asks_for_more_with_a_token_of_an_earlier_run(url):
    """It has no metadata yet, and a token that a refresh would not extend."""
    first = Agent(url)
    first.run(names)
    again = Agent(url, client=first.storage.client)
    again.storage.tokens = first.storage.tokens
    (paid,) = again.run(call("make_payment", amount="1.50"))

    assert not paid.is_error, paid
    assert len(again.asked) == 1
    assert "payments%3Aread" in again.asked[0]
    assert "payments%3Awrite" in again.asked[0]


@pytest.mark.parametrize("document", [CLIENT_ID, None], ids=["document", "registration"])
@pytest.mark.parametrize("server", ["url", "separate_url"])
def test_strict_server_accepts_only_tokens_that_name_it(strict, server, document):
    url = strict.credentials["mcp"][server]
    agent = Agent(url, document=document)
    _, paid = agent.run(names, call("make_payment", amount="1.50"))
    assert not paid.is_error, paid
    assert all(f"resource={quote(url, safe='')}" in each for each in agent.asked)

    for kind in ("pat", "project_key"):
        token = strict.credentials[kind]["token"]
        assert asyncio.run(run(url, [names], **bearer(token)))[0]
    headers = {"Authorization": f"Bearer {strict.credentials['oauth']['access_token']}"}
    response = httpx.post(url, json={}, headers=headers, trust_env=False, timeout=60)
    assert response.status_code == 401


@pytest.mark.parametrize("kind", ["pat", "project_key"])
def test_keys_are_accepted_too(url, demo, kind):
    token = demo.credentials[kind]["token"]
    tools, paid = asyncio.run(
        run(url, [names, call("make_payment", amount="2.50")], **bearer(token))
    )
    assert {"list_payments", "make_payment"} <= set(tools)
    assert not paid.is_error, paid


def test_access_token_of_the_page_is_accepted(demo, url):
    token = demo.credentials["oauth"]["access_token"]
    (payments,) = asyncio.run(run(url, [call("list_payments")], **bearer(token)))
    assert not payments.is_error, payments


@pytest.mark.parametrize("token", [None, "made-up"])
def test_request_without_a_valid_credential_is_pointed_to_the_metadata(url, token):
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    response = httpx.post(url, json={}, headers=headers, trust_env=False, timeout=60)

    assert response.status_code == 401
    challenge = response.headers["WWW-Authenticate"]
    assert 'scope="payments:read' in challenge
    at = url.replace("/mcp", "/.well-known/oauth-protected-resource/mcp")
    assert f'resource_metadata="{at}"' in challenge
    described = httpx.get(at, trust_env=False, timeout=60).json()
    assert described["resource"] == url
    assert {"payments:read", "payments:write"} <= set(described["scopes_supported"])


def test_token_of_one_server_is_refused_by_the_other(demo):
    """RFC 8707: each token names the server that it is for."""
    one, other = (demo.credentials["mcp"][name] for name in ("url", "separate_url"))
    agent = Agent(one)
    agent.run(names)
    token = agent.storage.tokens.access_token
    for url, status in ((one, 200), (other, 401), (f"{demo.base_url}/api/payments/", 401)):
        body = {"jsonrpc": "2.0", "id": 1, "method": "ping"}
        headers = {
            "Authorization": f"Bearer {token}",
            "Accept": "application/json, text/event-stream",
        }
        method = "GET" if "/api/" in url else "POST"
        response = httpx.request(
            method, url, json=body, headers=headers, trust_env=False, timeout=60
        )
        assert (response.status_code == 401) == (status == 401), (url, response.text)


def test_revoked_token_is_refused_at_once(demo, url):
    agent = Agent(url)
    agent.run(names)
    tokens = agent.storage.tokens
    client = agent.storage.client
    form = {"token": tokens.access_token, "client_id": client.client_id}
    form |= {"client_secret": client.client_secret} if client.client_secret else {}
    answer = httpx.post(f"{demo.base_url}/o/revoke_token/", data=form, trust_env=False, timeout=60)
    assert answer.status_code == 200
    headers = {"Authorization": f"Bearer {tokens.access_token}"}
    assert httpx.post(url, json={}, headers=headers, trust_env=False, timeout=60).status_code == 401


def test_viewer_sees_the_tools_but_cannot_pay(demo):
    """The role of the user counts, whatever the token says."""
    agent = Agent(demo.credentials["mcp"]["url"], username="luigi")
    tools, payments = agent.run(names, call("list_payments"))
    assert tools == ["list_payments", "sum_payments"]
    assert len(payments.structured_content["result"]) >= 3
