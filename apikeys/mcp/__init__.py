"""Protect a server of the Model Context Protocol (MCP) with the credentials of a site.

``TokenVerifier`` verifies them for the SDK ``mcp``, and ``ToolScopes`` says which tools a caller
can use. Both work in the process of the site, and in another one without Django. The tools
themselves are yours. Needs the extra ``mcp``.
"""

from .denials import Denied
from .tools import ToolScopes
from .verifier import TokenVerifier, VerifiedToken, current_access, current_token

__all__ = [
    "Denied",
    "TokenVerifier",
    "ToolScopes",
    "VerifiedToken",
    "current_access",
    "current_token",
]
