"""Read ``Authorization`` and write ``WWW-Authenticate`` (RFC 6750).

Every adapter uses this module, so that all accept and refuse the same way.
"""

import base64
import binascii
import re
from functools import lru_cache
from typing import Any, Final

from django.http import HttpRequest
from django.utils.text import format_lazy
from django.utils.translation import get_language, override
from django.views.decorators.debug import sensitive_variables

from .. import refusals, token
from ..conf import app_settings
from ..legacy import schemes
from ..refusals import Refusal, Refused

# RFC 6750 section 2.1: b64token. The length limit ends the search. Tokens of identity providers
# may list many groups.
_MOST: Final = 16_384
_BEARER = re.compile(rf"(?i:bearer) +([A-Za-z0-9\-._~+/]{{1,{_MOST}}}={{0,{_MOST}}})", re.ASCII)
_SCHEME = re.compile(r"(?i:bearer)(?![A-Za-z0-9])", re.ASCII)
_OF_CREDENTIAL = re.compile(r"(?i:bearer|dpop)(?![A-Za-z0-9])", re.ASCII)  # RFC 9449 section 7.1
_BASIC_SCHEME = re.compile(r"(?i:basic)(?![A-Za-z0-9])", re.ASCII)
# RFC 7617 section 2: token68.
_BASIC = re.compile(r"(?i:basic)(?: +([A-Za-z0-9+/]{1,8192}={0,2}))?", re.ASCII)


#: The variables of ``read_unhidden`` that hold a secret.
SENSITIVE: Final = ("header", "match", "own")


@sensitive_variables(*SENSITIVE)
def read_credential(request: HttpRequest) -> str | None:
    """Return the credential after ``Bearer``, or ``None`` without such a header.

    With ``BASIC_AUTH``, also accept a key as the user name after ``Basic``.

    Raises ``Refused`` (``invalid_request``, ``invalid_basic``) if it is not one credential.
    """
    return read_unhidden(request)


def read_unhidden(request: HttpRequest) -> str | None:
    """Read like ``read_credential``. The caller hides ``SENSITIVE`` from error reports."""
    header: str = request.META.get("HTTP_AUTHORIZATION", "").strip(" \t")
    if app_settings.HEADERS and (own := _read_others(request)) is not None:
        # RFC 6750 section 2: a request carries its credential in one way.
        if (
            _OF_CREDENTIAL.match(header)
            or (app_settings.BASIC_AUTH and _BASIC_SCHEME.match(header))
            or "HTTP_SIGNATURE_INPUT" in request.META
            or (app_settings.LEGACY and schemes.is_sent(request))
        ):
            raise Refused(refusals.INVALID_REQUEST)
        return own
    if (match := _BEARER.fullmatch(header)) is not None:
        return match[1]
    if _SCHEME.match(header):
        is_long_jwt = len(header) > _MOST and header.count(".") == 2
        raise Refused(refusals.TOKEN_TOO_LARGE if is_long_jwt else refusals.INVALID_REQUEST)
    if app_settings.BASIC_AUTH and _BASIC_SCHEME.match(header):
        return _read_user_name(header)
    return None


@sensitive_variables("value", "values")
def _read_others(request: HttpRequest) -> str | None:
    """Return the key in one of ``HEADERS``, or ``None``.

    An imported key in the same header is left to ``LEGACY``. Raises ``Refused``.
    """
    values = []
    for name in app_settings.HEADERS:
        meta = schemes.meta_of(name)
        value = request.META.get(meta, "").strip(" \t")
        if token.looks_like_key(value, app_settings.PREFIX):
            values.append(value)
        elif value and not schemes.reads(meta):
            raise Refused(refusals.MALFORMED_KEY)
    if len(values) > 1:
        raise Refused(refusals.INVALID_REQUEST)
    return values[0] if values else None


@sensitive_variables("text", "values")
def is_foreign(request: HttpRequest) -> bool:
    """Return whether the header of a request has a credential that does not begin with ``PREFIX``.

    Other headers count only without ``Authorization``.
    """
    scheme, _, text = request.META.get("HTTP_AUTHORIZATION", "").strip(" \t").partition(" ")
    text = text.strip(" ")
    if not scheme:
        values = [request.META.get(schemes.meta_of(name), "") for name in schemes.headers()]
        return any(values) and not any(map(_is_prefixed, values))
    if scheme.lower() == "basic" and app_settings.BASIC_AUTH:
        text = _decoded(f"{scheme} {text}")
    elif scheme.lower() != "bearer":
        return True
    return not _is_prefixed(text)


@sensitive_variables("text")
def _is_prefixed(text: str) -> bool:
    return text.strip(" \t").startswith(f"{app_settings.PREFIX}_")


def _sent_as(form: str) -> Refusal:
    message = format_lazy(refusals.NOT_ACCEPTED_FORM, form=form)
    return Refusal(refusals.NOT_AUTHENTICATED.code, message, error=None)


# Schemes that clients use in place of Bearer. Do not repeat others: they may be a secret.
_SCHEMES: Final = {
    name.lower(): _sent_as(f"{name} <credential>")
    for name in (
        "Api-Key", "ApiKey", "Basic", "Digest", "DPoP", "JWT", "Key", "Negotiate", "OAuth",
        "PrivateToken", "Signature", "Token",
    )
}  # fmt: skip
_NO_SCHEME: Final = _sent_as("<credential>")
_OTHER_SCHEME: Final = _sent_as("<scheme> <credential>")


@sensitive_variables()
def not_authenticated(request: Any) -> Refusal:
    """Return the refusal of a request without a credential.

    It names the scheme of the Authorization header, if any, and never its content.
    """
    words = request.META.get("HTTP_AUTHORIZATION", "").split(None, 1)
    if not words:
        return refusals.NOT_AUTHENTICATED
    return _NO_SCHEME if len(words) == 1 else _SCHEMES.get(words[0].lower(), _OTHER_SCHEME)


@sensitive_variables()
def _read_user_name(header: str) -> str:
    user_name, colon, password = _decoded(header).partition(":")
    if not user_name or not colon or password:
        raise Refused(refusals.INVALID_BASIC)
    if not token.looks_like_key(user_name, app_settings.PREFIX):
        raise Refused(refusals.MALFORMED_KEY)
    return user_name


@sensitive_variables()
def _decoded(header: str) -> str:
    """Return the user name and the password after ``Basic``; ``""`` if they are not readable."""
    match = _BASIC.fullmatch(header)
    try:
        return base64.b64decode((match and match[1]) or "", validate=True).decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""


@lru_cache(maxsize=1024)
def challenge(refusal: Refusal, realm: str, scope: str = "", **params: str) -> str:
    """Return the value of ``WWW-Authenticate`` for ``refusal``."""
    parameters = {"realm": realm}
    if refusal.error is not None:
        with override(None):  # programs read headers: ASCII, always English
            description = str(refusal.message).format(scope=scope, **params)
        parameters |= {"error": refusal.error, "error_description": description}
    if scope:
        parameters["scope"] = scope
    return "Bearer " + ", ".join(f'{k}="{quotable(v)}"' for k, v in parameters.items())


def quotable(text: str) -> str:
    """Return ``text`` with the characters that a quoted parameter can have."""
    # RFC 6750 section 3 leaves out the quote and the backslash.
    return "".join(c if " " <= c <= "~" and c not in '"\\' else "'" for c in text)


def answer(
    refusal: Refusal, scope: str = "", **params: str
) -> tuple[dict[str, Any], dict[str, str]]:
    """Return the body and header fields of a refusal."""
    body, headers = _answer(refusal, app_settings.REALM, get_language(), scope, **params)
    return body.copy(), headers.copy()


@lru_cache(maxsize=1024)
def _answer(
    refusal: Refusal, realm: str, language: str | None, scope: str, **params: str
) -> tuple[dict[str, Any], dict[str, str]]:
    # Cached, so that a forged key takes no more time than a valid one.
    body = {"detail": str(refusal.message).format(scope=scope, **params), "code": refusal.code}
    headers = {}
    if refusal.status not in (429, 503):
        headers["WWW-Authenticate"] = challenge(refusal, realm, scope, **params)
    if refusal.retry_after is not None:
        headers["Retry-After"] = str(refusal.retry_after)
    return body, headers
