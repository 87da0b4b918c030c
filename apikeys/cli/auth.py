import asyncio
from collections.abc import AsyncGenerator, Generator
from typing import Protocol

import httpx

from .session import Site


class Tokens(Protocol):
    """A source of access tokens: a ``Session`` or a ``Workload``."""

    site: Site

    def token(self) -> str:
        """Return a valid access token."""

    def refreshed(self, used: str) -> str:
        """Return a newer access token than ``used``."""


class BearerAuth(httpx.Auth):
    """Authenticate httpx requests with the session's access token: ``httpx.get(…, auth=…)``.

    Refreshes the token when it expires, and once if the site refuses it. Requests to other
    sites are sent without the token. Raises ``LoginError``.
    """

    requires_request_body = True  # a refused request is sent again with its body

    def __init__(self, session: Tokens) -> None:
        self._session = session

    def sync_auth_flow(
        self, request: httpx.Request
    ) -> Generator[httpx.Request, httpx.Response, None]:
        if not self._session.site.owns(request.url):
            yield request
            return
        request.read()
        token = self._session.token()
        response = yield _with(request, token)
        if response.status_code == 401:
            yield _with(request, self._session.refreshed(token))

    async def async_auth_flow(
        self, request: httpx.Request
    ) -> AsyncGenerator[httpx.Request, httpx.Response]:
        if not self._session.site.owns(request.url):
            yield request
            return
        await request.aread()
        token = await asyncio.to_thread(self._session.token)
        response = yield _with(request, token)
        if response.status_code == 401:
            yield _with(request, await asyncio.to_thread(self._session.refreshed, token))


def _with(request: httpx.Request, token: str) -> httpx.Request:
    request.headers["Authorization"] = f"Bearer {token}"
    return request
