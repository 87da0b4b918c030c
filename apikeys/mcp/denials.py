from collections.abc import Iterable, Mapping
from typing import Any, Final
from urllib.parse import urlsplit

#: The form of a missing credential. RFC 6750 section 3.1: it has no error code.
_MESSAGES: Final = {
    "not_authenticated": "No credential was sent. Send one as `Authorization: Bearer …`.",
    "invalid_token": "This credential is not valid here. Get a new one.",
    "temporarily_unavailable": "Credentials cannot be checked right now. Try again in a moment.",
}


class Denied(Exception):  # noqa: N818 - a refusal, not a fault
    """The MCP server refuses a request. ``code`` is for programs, ``detail`` for people."""

    def __init__(
        self,
        code: str,
        detail: str = "",
        *,
        status: int = 401,
        error: str | None = "invalid_token",
        scopes: Iterable[str] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(code)
        self.code = code
        self.detail = detail or _MESSAGES.get(code, code)
        self.status = status
        self.error = error
        self.scopes = tuple(scopes)
        self.headers = dict(headers or {})

    @classmethod
    def step_up(cls, required: Iterable[str], granted: Iterable[str]) -> "Denied":
        """Return the refusal of a caller that needs ``required`` beside what it has."""
        names = sorted(required)
        return cls(
            "insufficient_scope",
            f"This request needs the scope {' '.join(names)}, which your credential does not have.",
            status=403,
            error="insufficient_scope",
            # A client replaces its token, so it must request what it has as well.
            scopes=sorted({*names, *granted}),
        )

    def challenge(self, resource: str, scopes: Iterable[str] = ()) -> str | None:
        """Return ``WWW-Authenticate`` (RFC 6750, RFC 9728); ``None`` if no token would help."""
        if self.status not in (401, 403) or (self.error is None and self.status == 403):
            return None
        parts = {} if self.error is None else {"error": self.error}
        if self.error is not None:
            parts["error_description"] = self.detail
        if names := " ".join(self.scopes or tuple(scopes)):
            parts["scope"] = names
        parts["resource_metadata"] = metadata_url(resource)
        return "Bearer " + ", ".join(f'{k}="{_quotable(v)}"' for k, v in parts.items())

    def body(self) -> dict[str, Any]:
        """Return the JSON of the response, for OAuth clients and for clients of the site."""
        return {
            "error": self.error or "invalid_request",
            "error_description": self.detail,
            "detail": self.detail,
            "code": self.code,
        }


def metadata_path(resource: str) -> str:
    """Return the path of the description of ``resource`` (RFC 9728 section 3.1)."""
    path = urlsplit(resource).path
    return "/.well-known/oauth-protected-resource" + ("" if path == "/" else path)


def metadata_url(resource: str) -> str:
    """Return the URL of the description of ``resource``."""
    parts = urlsplit(resource)
    return f"{parts.scheme}://{parts.netloc}{metadata_path(resource)}"


def _quotable(text: str) -> str:
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)
