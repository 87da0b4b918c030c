"""Serve tools to agents for `manage.py demo --mcp`."""

import os
import secrets
import socket
import subprocess
import sys
from contextlib import AbstractContextManager
from types import TracebackType
from typing import Any, Final

from django.conf import settings
from django.contrib.staticfiles.handlers import ASGIStaticFilesHandler
from django.core.asgi import get_asgi_application
from django.core.management.base import CommandError
from oauth2_provider.models import Application

from apikeys.oauth.conf import oauth_settings

#: The OAuth client of the server in the other process.
CLIENT_ID: Final = "acme-mcp"


class Agents(AbstractContextManager["Agents"]):
    """Serve Django with an MCP server beside it, and start a second MCP server."""

    def __init__(self, bound: socket.socket, base_url: str) -> None:
        try:
            import uvicorn

            from . import mcp
        except ImportError as error:
            raise CommandError(
                f"The demo's MCP server needs {error.name}: pip install 'apikeys[mcp]' uvicorn"
            ) from error
        self._bound = bound
        self.url = f"{base_url}/mcp"
        tools = mcp.make(self.url, f"{base_url}/o")
        site: Any = ASGIStaticFilesHandler(get_asgi_application())
        app: Any = tools.beside(site, stateless_http=True, json_response=True)
        config = uvicorn.Config(app, log_level="error", server_header=False, ws="none")
        self._server = uvicorn.Server(config)
        secret = secrets.token_urlsafe(32)
        Application.objects.filter(client_id=CLIENT_ID).delete()
        Application.objects.create(
            client_id=CLIENT_ID,
            name="Acme's tools for agents",
            client_type=Application.CLIENT_CONFIDENTIAL,
            authorization_grant_type=Application.GRANT_CLIENT_CREDENTIALS,
            client_secret=secret,
        )
        self._separate = subprocess.Popen(
            [sys.executable, "-m", "example_project.mcp_server"],
            cwd=settings.BASE_DIR,
            env=os.environ
            | {"MCP_SITE": base_url, "MCP_CLIENT_ID": CLIENT_ID, "MCP_CLIENT_SECRET": secret},
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._separate.stdout is None:
            raise RuntimeError("the second MCP server has no standard output")
        self.separate_url = self._separate.stdout.readline().strip()
        if not self.separate_url:
            raise CommandError("The second MCP server did not start.")
        servers = {CLIENT_ID: [self.separate_url]}
        settings.APIKEYS = {**settings.APIKEYS, "RESOURCE_SERVERS": servers}
        oauth_settings.reload()

    def serve(self) -> None:
        """Serve until a signal ends the process."""
        self._server.run(sockets=[self._bound])

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._bound.close()
        self._separate.terminate()
        self._separate.wait(5)
