import asyncio
from collections.abc import AsyncGenerator, Generator

import httpx

from .session import Session


class BearerAuth(httpx.Auth):
    """``auth=`` of httpx: requests to the session's site carry its access token.

    It is refreshed when it expires, and once more when the site refuses it. A request to
    anywhere else goes out without it.
    """

    requires_request_body = True  # so that a refused request can be sent again

    def __init__(self, session: Session) -> None:
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
