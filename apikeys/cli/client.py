"""Authlib's OAuth client over httpx."""

from typing import Any

import httpx
from authlib.oauth2 import OAuth2Error as OAuth2Error
from authlib.oauth2.client import OAuth2Client


class Client(OAuth2Client):
    """A public client (RFC 6749 section 2.1) with PKCE S256 (RFC 7636)."""

    def __init__(self, http: httpx.Client, client_id: str, **kwargs: Any) -> None:
        super().__init__(http, client_id=client_id, code_challenge_method="S256", **kwargs)

    def client_auth(self, auth_method: Any) -> httpx.Auth:
        return httpx.Auth()  # none; the client names itself in the body

    def fetch(self, url: str, **kwargs: Any) -> dict[str, Any]:
        return dict(self.fetch_token(url, client_id=self.client_id, **kwargs))

    def refresh(self, url: str, refresh_token: str) -> dict[str, Any]:
        self.scope = None  # as it was granted (RFC 6749 section 6)
        return dict(self.refresh_token(url, refresh_token=refresh_token, client_id=self.client_id))

    def revoke(self, url: str, token: str, hint: str) -> httpx.Response:
        body = f"client_id={self.client_id}"
        response: httpx.Response = self.revoke_token(url, token, hint, body=body)
        return response
