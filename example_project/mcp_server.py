"""An MCP server in its own process, without Django: it introspects each credential.

``python -m example_project.mcp_server`` serves on ``MCP_PORT`` (0 for a free port) and prints
its URL. It calls the payments API with a token that it got in exchange for the caller's.
"""

import os
import socket
from typing import Any

import httpx
import uvicorn
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError

from apikeys.mcp import TokenVerifier, ToolScopes, current_token

EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"


def make(resource: str, site: str, client: tuple[str, str]) -> ToolScopes:
    """Return the server at the URL ``resource``, for the API of ``site``."""
    client_id, client_secret = client
    verifier = TokenVerifier(
        resource, issuer=f"{site}/o", client_id=client_id, client_secret=client_secret
    )
    auth: Any = {
        "issuer_url": f"{site}/o",
        "resource_server_url": resource,
        "validate_token_resource": bool(os.environ.get("DEMO_STRICT_RESOURCE")),
    }
    server = MCPServer(
        "Acme Payments",
        token_verifier=verifier,
        auth=AuthSettings(**auth),
        log_level="WARNING",
    )
    tools = ToolScopes(server, verifier)

    async def call(method: str, path: str, scope: str, **kwargs: Any) -> Any:
        """Call the API for the caller of the tool, with a token that can do only this."""
        async with httpx.AsyncClient(base_url=site, trust_env=False) as http:
            form = {
                "grant_type": EXCHANGE,
                "subject_token": current_token().token,
                "subject_token_type": ACCESS_TOKEN,
                "scope": scope,
            }
            answer = await http.post("/o/token/", data=form, auth=client)
            if answer.is_error:
                raise ToolError("The credential cannot be exchanged for one of the API.")
            token = answer.json()["access_token"]
            headers = {"Authorization": f"Bearer {token}"}
            response = await http.request(method, path, headers=headers, **kwargs)
        if response.is_error:
            raise ToolError(response.text)
        return response.json()

    @tools.tool("payments:read")
    async def list_payments() -> list[dict[str, Any]]:
        """List the payments that you can see."""
        payments: list[dict[str, Any]] = await call("GET", "/api/payments/", "payments:read")
        return payments

    @tools.tool("payments:write")
    async def make_payment(
        amount: str, description: str = "", project: str | None = None
    ) -> dict[str, Any]:
        """Make a payment in euros. Name the project if you can pay in more than one."""
        body = {"amount": amount, "description": description}
        if project is not None:
            body["project"] = project
        made: dict[str, Any] = await call("POST", "/api/payments/", "payments:write", json=body)
        return made

    return tools


def main() -> None:
    listening = socket.create_server(("127.0.0.1", int(os.environ.get("MCP_PORT", "0"))))
    resource = f"http://127.0.0.1:{listening.getsockname()[1]}/mcp"
    client = (os.environ["MCP_CLIENT_ID"], os.environ["MCP_CLIENT_SECRET"])
    tools = make(resource, os.environ["MCP_SITE"], client)
    print(resource, flush=True)  # noqa: T201 - the parent process reads it
    app = tools.app(stateless_http=True, json_response=True)
    config = uvicorn.Config(app, log_level="error", server_header=False)
    uvicorn.Server(config).run(sockets=[listening])


if __name__ == "__main__":
    main()
