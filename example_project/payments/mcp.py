"""An MCP server for the payments, beside Django: ``example_project.asgi`` and ``demo --mcp``."""

import os
from types import SimpleNamespace
from typing import Any

from asgiref.sync import sync_to_async
from django.db.models import Count, Sum
from mcp.server.auth.settings import AuthSettings
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ToolError
from rest_framework.exceptions import APIException

from apikeys.access import Access
from apikeys.mcp import TokenVerifier, ToolScopes, current_access

from .api import PaymentSerializer
from .models import Payment


def make(resource: str, issuer: str) -> ToolScopes:
    """Return the server at the URL ``resource``. ``issuer`` is the site's authorization server."""
    verifier = TokenVerifier(resource)
    auth: Any = {
        "issuer_url": issuer,
        "resource_server_url": resource,
        # Also accept tokens for the whole site. `TokenVerifier` refuses those for others.
        "validate_token_resource": bool(os.environ.get("DEMO_STRICT_RESOURCE")),
    }
    server = MCPServer(
        "Acme Payments",
        token_verifier=verifier,
        auth=AuthSettings(**auth),
        log_level="WARNING",
    )
    tools = ToolScopes(server, verifier)

    @tools.tool("payments:read")
    async def list_payments() -> list[dict[str, Any]]:
        """List the payments that you can see."""
        return await sync_to_async(_list)(current_access())

    @tools.tool("payments:write")
    async def make_payment(
        amount: str, description: str = "", project: str | None = None
    ) -> dict[str, Any]:
        """Make a payment in euros. Name the project if you can pay in more than one."""
        data = {"amount": amount, "description": description}
        if project is not None:
            data["project"] = project
        return await sync_to_async(_make)(current_access(), data)

    @tools.tool("reports:read")
    async def sum_payments() -> list[dict[str, Any]]:
        """Sum the payments of each project that you can see reports of."""
        return await sync_to_async(_sum)(current_access())

    return tools


def _list(access: Access) -> list[dict[str, Any]]:
    rows = Payment.objects.filter(project__in=access.projects("payments:read"))
    return [_facts(each) for each in rows.select_related("project")]


def _make(access: Access, data: dict[str, Any]) -> dict[str, Any]:
    serializer = PaymentSerializer(data=data, context={"request": SimpleNamespace(auth=access)})
    try:
        serializer.is_valid(raise_exception=True)
    except APIException as error:
        raise ToolError(str(error.detail)) from None
    return _facts(serializer.save())


def _sum(access: Access) -> list[dict[str, Any]]:
    rows = (
        Payment.objects.filter(project__in=access.projects("reports:read"))
        .values("project__slug", "currency")
        .annotate(payments=Count("pk"), total=Sum("amount"))
        .order_by("project__slug", "currency")
    )
    return [
        {
            "project": row["project__slug"],
            "currency": row["currency"],
            "payments": row["payments"],
            "total": str(row["total"]),
        }
        for row in rows
    ]


def _facts(payment: Payment) -> dict[str, Any]:
    return {
        "number": payment.number,
        "project": payment.project.slug,
        "amount": str(payment.amount),
        "currency": payment.currency,
        "description": payment.description,
    }
