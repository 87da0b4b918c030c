"""Which tools a caller sees and can call, and how others are refused."""

import pytest
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer

from apikeys import lifecycle, usage
from apikeys.mcp import TokenVerifier, ToolScopes, current_access, current_token
from apikeys.models import ScopeUse
from tests.factories import mint_key, mint_pat
from tests.mcp.asgi import ask, error, result, send, tools

pytestmark = pytest.mark.django_db(transaction=True)

RESOURCE = "http://127.0.0.1:9000/mcp"
METADATA = "http://127.0.0.1:9000/.well-known/oauth-protected-resource/mcp"


def make(**options):
    verifier = TokenVerifier(RESOURCE)
    auth = AuthSettings(
        issuer_url="http://127.0.0.1:9000/o",
        resource_server_url=RESOURCE,
        validate_token_resource=True,
    )
    server = MCPServer("Test", token_verifier=verifier, auth=auth, log_level="ERROR")
    scopes = ToolScopes(server, verifier, **options)

    @scopes.tool("payments:read")
    async def look() -> str:
        """Look."""
        access, token = current_access(), current_token()
        return f"{access.kind} {token.subject} {' '.join(token.scopes)}"

    @scopes.tool("payments:write", "reports:read", name="pay")
    async def pay_it(amount: int) -> str:
        """Pay."""
        return f"paid {amount}"

    @server.tool()
    async def forgotten() -> str:
        """Declare no scope."""
        return "secret"

    @server.resource("plans://all")
    def plans() -> str:
        """Plans."""
        return "secret"

    @server.resource("plans://{name}")
    def plan(name: str) -> str:
        """One plan."""
        return "secret"

    @server.prompt()
    def greet() -> str:
        """Greet."""
        return "secret"

    return scopes


@pytest.fixture
def app():
    return lambda: make().app(stateless_http=True, json_response=True)


def call(name, **arguments):
    return {"method": "tools/call", "params": {"name": name, "arguments": arguments}}


def text(response):
    return result(response)["content"][0]["text"]


def test_caller_sees_only_the_tools_that_its_scopes_allow(app):
    for scopes, seen in [
        (["payments:read"], ["look"]),
        (["payments:write"], ["look"]),
        (["payments:write", "reports:read"], ["look", "pay"]),
        (["reports:read"], []),
    ]:
        minted = mint_key(scopes=scopes)
        assert tools(ask(app, RESOURCE, "tools/list", minted.token)) == seen


def test_caller_is_known_in_the_tool(app):
    minted = mint_key(scopes=["payments:write"])
    answer = text(ask(app, RESOURCE, token=minted.token, **call("look")))
    subject = f"project:{minted.key.project.slug}"
    assert answer == f"project_key {subject} payments:read payments:write"


def test_call_without_the_scope_is_answered_with_a_step_up(app):
    minted = mint_key(scopes=["payments:read"])
    response = ask(app, RESOURCE, token=minted.token, **call("pay", amount=1))

    assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
    challenge = response.headers["WWW-Authenticate"]
    assert 'error="insufficient_scope"' in challenge
    # With the scopes that it has: the new token replaces the old one.
    assert 'scope="payments:read payments:write reports:read"' in challenge
    assert f'resource_metadata="{METADATA}"' in challenge


def test_call_with_the_scope_runs(app):
    minted = mint_key(scopes=["payments:write", "reports:read"])
    assert text(ask(app, RESOURCE, token=minted.token, **call("pay", amount=7))) == "paid 7"


@pytest.mark.parametrize("name", ["forgotten", "unknown"])
def test_tool_without_scopes_is_refused_to_everyone(app, name):
    token = mint_key(scopes=["payments:write", "reports:read"]).token
    assert "forgotten" not in tools(ask(app, RESOURCE, "tools/list", token))
    response = ask(app, RESOURCE, token=token, **call(name))
    assert "secret" not in response.text
    assert error(response)["message"] == "Your credential cannot use this tool."


OTHERS = [
    ("resources/read", {"uri": "plans://all"}),
    ("resources/read", {"uri": "plans://x"}),
    ("prompts/get", {"name": "greet"}),
]
LISTS = {
    "resources/list": "resources",
    "resources/templates/list": "resourceTemplates",
    "prompts/list": "prompts",
}


@pytest.mark.slow
def test_resources_and_prompts_without_scopes_are_refused_to_everyone(app):
    token = mint_key(scopes=["payments:write", "reports:read"]).token
    for method, params in OTHERS:
        response = ask(app, RESOURCE, method, token, params)
        assert "secret" not in response.text
        assert error(response)["message"] == "Your credential cannot use this method."
    for method, name in LISTS.items():
        assert result(ask(app, RESOURCE, method, token))[name] == []


@pytest.mark.slow
def test_resources_and_prompts_need_the_scopes_of_the_others():
    def app():
        return make(others=["reports:read"]).app(stateless_http=True, json_response=True)

    reader = mint_key(scopes=["reports:read"]).token
    other = mint_key(scopes=["payments:read"]).token
    for method, params in OTHERS:
        assert "secret" in str(result(ask(app, RESOURCE, method, reader, params)))
        response = ask(app, RESOURCE, method, other, params)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
        assert 'scope="payments:read reports:read"' in response.headers["WWW-Authenticate"]
    for method, name in LISTS.items():
        assert len(result(ask(app, RESOURCE, method, reader))[name]) == 1
        assert result(ask(app, RESOURCE, method, other))[name] == []


def test_request_without_a_credential_learns_what_to_request(app):
    response = ask(app, RESOURCE)
    assert response.status_code == 401
    assert response.headers["WWW-Authenticate"] == (
        f'Bearer scope="payments:read reports:read", resource_metadata="{METADATA}"'
    )
    assert response.headers["Cache-Control"] == "no-store"


@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
@pytest.mark.parametrize("header", ["Bearer made-up", "Bearer", "Basic eDp5", "made-up"])
def test_invalid_credential_is_refused_in_every_method(app, method, header):
    response = send(app, method, RESOURCE, headers={"Authorization": header})
    assert response.status_code == 401
    assert "resource_metadata" in response.headers["WWW-Authenticate"]


def test_two_credentials_are_refused(app):
    token = mint_key(scopes=["payments:read"]).token
    headers = [("Authorization", f"Bearer {token}"), ("Authorization", "Bearer x")]
    assert send(app, "POST", RESOURCE, headers=headers, json={}).status_code == 401


def test_revoked_key_is_refused_at_the_next_request(app):
    minted = mint_pat(scopes=["payments:read"])
    assert tools(ask(app, RESOURCE, "tools/list", minted.token)) == ["look"]
    lifecycle.revoke(minted.key)
    response = ask(app, RESOURCE, "tools/list", minted.token)
    assert (response.status_code, response.json()["code"]) == (401, "revoked_key")


def test_paused_key_is_refused_until_it_is_resumed(app):
    minted = mint_pat(scopes=["payments:read"])
    lifecycle.pause(minted.key)
    response = ask(app, RESOURCE, "tools/list", minted.token)
    assert (response.status_code, response.json()["code"]) == (401, "paused_key")
    lifecycle.resume(minted.key)
    assert tools(ask(app, RESOURCE, "tools/list", minted.token)) == ["look"]


def test_key_outside_its_ip_ranges_is_refused(app):
    minted = mint_key(scopes=["payments:read"], allowed_networks=["192.0.2.0/24"])
    inside = ask(app, RESOURCE, "tools/list", minted.token, client=("192.0.2.7", 1))
    outside = ask(app, RESOURCE, "tools/list", minted.token, client=("198.51.100.7", 1))
    assert tools(inside) == ["look"]
    assert (outside.status_code, outside.json()["code"]) == (403, "ip_not_allowed")
    # Another token would not help.
    assert "WWW-Authenticate" not in outside.headers


def test_rate_limit_holds_here_too(app):
    minted = mint_key(scopes=["payments:read"], rate_limits=["1/hour"])
    first, second = (ask(app, RESOURCE, "tools/list", minted.token) for _ in range(2))
    assert (first.status_code, second.status_code) == (200, 429)
    assert int(second.headers["Retry-After"]) > 0


def test_description_names_the_authorization_server(app):
    found = send(app, "GET", METADATA).json()
    assert found["resource"] == RESOURCE
    assert found["authorization_servers"] == ["http://127.0.0.1:9000/o"]
    assert found["scopes_supported"] == ["payments:read", "payments:write", "reports:read"]


def test_body_that_is_too_large_is_refused(app):
    token = mint_key(scopes=["payments:read"]).token
    headers = {"Authorization": f"Bearer {token}", "Accept": "application/json"}
    body = b"[" * (4 * 1024 * 1024 + 1)
    assert send(app, "POST", RESOURCE, headers=headers, content=body).status_code == 413
    assert send(app, "POST", RESOURCE, headers=headers, content=b"[" * 5000).status_code == 400


def test_tool_needs_a_scope():
    scopes = make()
    with pytest.raises(TypeError, match="at least one scope"):
        scopes.tool()


def test_other_paths_go_to_the_site():
    async def site(scope, receive, send):
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    def both():
        return make().beside(site, stateless_http=True)

    assert send(both, "GET", "http://127.0.0.1:9000/mcpx").status_code == 204
    assert send(both, "GET", "http://127.0.0.1:9000/").status_code == 204
    assert send(both, "GET", RESOURCE).status_code == 401
    assert send(both, "GET", METADATA).json()["resource"] == RESOURCE


@pytest.mark.parametrize("method", [{}, ["tools/list"]])
def test_method_that_is_no_text_is_refused(app, method):
    key = mint_key(scopes=["payments:read"])
    assert ask(app, RESOURCE, method, key.token).status_code < 500


@pytest.mark.slow
def test_call_counts_as_a_use_of_the_scopes_of_its_tool(app):
    minted = mint_key(scopes=["payments:write", "reports:read"])
    usage.flush()
    for name in ("look", "pay", "look"):
        arguments = {"amount": 7} if name == "pay" else {}
        text(ask(app, RESOURCE, token=minted.token, **call(name, **arguments)))
    ask(app, RESOURCE, "tools/list", minted.token)
    ask(app, RESOURCE, token=minted.token, **call("forgotten"))
    usage.flush()
    rows = ScopeUse.objects.filter(credential=minted.key.public_id, kind="project_key")
    assert dict(rows.values_list("scope", "count")) == {
        "payments:read": 2,
        "payments:write": 1,
        "reports:read": 1,
    }
    assert {row.project_pk for row in rows} == {str(minted.key.project.pk)}
