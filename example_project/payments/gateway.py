"""Start the gateway of `manage.py demo --gateway` and the server that it protects."""

import socket
import subprocess
import sys
import threading
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError
from oauth2_provider.settings import oauth2_settings

from . import seed


@dataclass(frozen=True)
class Example:
    """A request and its expected status."""

    title: str
    status: int
    curl: str


class Gateway(AbstractContextManager["Gateway"]):
    """Serve on the bound socket ``listening`` until the context ends."""

    def __init__(self, listening: socket.socket, site: str) -> None:
        try:
            import uvicorn

            from apikeys.gateway.proxy import ReverseProxy
        except ImportError as error:
            raise CommandError(
                f"The demo's gateway needs {error.name}: pip install 'apikeys[gateway]' uvicorn"
            ) from error
        self._listening = listening
        self.base_url = "http://{}:{}".format(*listening.getsockname()[:2])
        self._blackbox = subprocess.Popen(
            [sys.executable, "-m", "example_project.blackbox"],
            cwd=settings.BASE_DIR,
            stdout=subprocess.PIPE,
            text=True,
        )
        if self._blackbox.stdout is None:
            raise RuntimeError("the server behind the gateway has no standard output")
        port = self._blackbox.stdout.readline().strip()
        if not port:
            raise CommandError("The server behind the gateway did not start.")
        self.upstream = f"http://127.0.0.1:{port}"
        settings.APIKEYS = {
            **settings.APIKEYS,
            "GATEWAY_UPSTREAM": self.upstream,
            "GATEWAY_URL": self.base_url,
        }
        settings.OAUTH2_PROVIDER = {
            **settings.OAUTH2_PROVIDER,
            "OAUTH2_PROTECTED_RESOURCE_AUTHORIZATION_SERVERS": [f"{site}/o"],
        }
        from apikeys.gateway.conf import gateway_settings

        gateway_settings.reload()
        oauth2_settings.reload()
        self._server: Any = uvicorn.Server(
            uvicorn.Config(
                ReverseProxy(), log_level="error", server_header=False, date_header=False
            )
        )
        self._thread = threading.Thread(
            target=self._server.run, kwargs={"sockets": [listening]}, daemon=True
        )

    def __enter__(self) -> "Gateway":
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._server.should_exit = True
        self._thread.join(5)
        self._listening.close()
        self._blackbox.terminate()
        self._blackbox.wait(5)


def examples(base_url: str, made: seed.Credentials) -> list[Example]:
    own, other = (f"{base_url}/subscribers/{n}/offers" for n in ("1001", "1002"))
    key = f"-H 'Authorization: Bearer {made.project_key.token}'"
    pat = f"-H 'Authorization: Bearer {made.pat.token}'"
    return [
        Example("200: the project key reads its own subscriber's offers:", 200, f"{key} {own}"),
        Example("200: ada's personal access token reads the same offers:", 200, f"{pat} {own}"),
        Example("403: the project key reads other offers:", 403, f"{key} {other}"),
        Example(
            "403: the same with an encoded path that tries to get around the rule:",
            403,
            f"--path-as-is {key} {base_url}/subscribers/1001/%2e%2e/1002/offers",
        ),
        Example("401: a request without a key:", 401, own),
    ]
