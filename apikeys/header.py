"""The two header fields: ``Authorization`` in, ``WWW-Authenticate`` out (RFC 6750).

Every way in reads the one and answers with the other from here, so that all of them take and
refuse alike.
"""

import base64
import binascii
import re
from functools import lru_cache
from typing import Any

from django.http import HttpRequest
from django.utils.translation import get_language, override
from django.views.decorators.debug import sensitive_variables

from . import refusals, token
from .conf import app_settings
from .refusals import Refusal, Refused

# RFC 6750 section 2.1: b64token, in which a bound ends the search.
_BEARER = re.compile(r"(?i:bearer) +([A-Za-z0-9\-._~+/]{1,8192}={0,8192})", re.ASCII)
_SCHEME = re.compile(r"(?i:bearer)(?![A-Za-z0-9])", re.ASCII)
_BASIC_SCHEME = re.compile(r"(?i:basic)(?![A-Za-z0-9])", re.ASCII)
# RFC 7617 section 2: token68.
_BASIC = re.compile(r"(?i:basic)(?: +([A-Za-z0-9+/]{1,8192}={0,2}))?", re.ASCII)


@sensitive_variables("header", "match")
def read_credential(request: HttpRequest) -> str | None:
    """What stands behind ``Bearer``; ``None`` without such a header.

    Where ``BASIC_AUTH`` is on, also the key that is the user name behind ``Basic``.

    Raises ``Refused`` (``invalid_request``, ``invalid_basic``) if it is not one credential.
    """
    header: str = request.META.get("HTTP_AUTHORIZATION", "").strip(" \t")
    if (match := _BEARER.fullmatch(header)) is not None:
        return match[1]
    if _SCHEME.match(header):
        raise Refused(refusals.INVALID_REQUEST)
    if app_settings.BASIC_AUTH and _BASIC_SCHEME.match(header):
        return _read_user_name(header)
    return None


@sensitive_variables()
def _read_user_name(header: str) -> str:
    match = _BASIC.fullmatch(header)
    try:
        pair = base64.b64decode((match and match[1]) or "", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        pair = ""
    user_name, colon, password = pair.partition(":")
    if not user_name or not colon or password:
        raise Refused(refusals.INVALID_BASIC)
    if not token.looks_like_key(user_name, app_settings.PREFIX):
        raise Refused(refusals.MALFORMED_KEY)
    return user_name


@lru_cache(maxsize=1024)
def challenge(refusal: Refusal, realm: str, scope: str = "", **params: str) -> str:
    """The value of ``WWW-Authenticate`` for ``refusal``."""
    parameters = {"realm": realm}
    if refusal.error is not None:
        with override(None):  # a header is for programs: ASCII, in one language
            description = str(refusal.message).format(scope=scope, **params)
        parameters |= {"error": refusal.error, "error_description": description}
    if scope:
        parameters["scope"] = scope
    return "Bearer " + ", ".join(f'{k}="{_quotable(v)}"' for k, v in parameters.items())


def _quotable(text: str) -> str:
    # RFC 6750 section 3 leaves out the quote and the backslash.
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)


def answer(
    refusal: Refusal, scope: str = "", **params: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """The body and the header fields that a refusal is told with."""
    body, headers = _answer(refusal, app_settings.REALM, get_language(), scope, **params)
    return body.copy(), headers.copy()


@lru_cache(maxsize=1024)
def _answer(
    refusal: Refusal, realm: str, language: str | None, scope: str, **params: str
) -> tuple[dict[str, Any], dict[str, str]]:
    # Kept, so that a forged key takes no more of the server's time than a good one.
    body = {"detail": str(refusal.message).format(scope=scope, **params), "code": refusal.code}
    headers = {}
    if refusal.status not in (429, 503):
        headers["WWW-Authenticate"] = challenge(refusal, realm, scope, **params)
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return body, headers
