"""Keep secrets out of logs and error reports.

Use these classes in ``LOGGING``, ``DEFAULT_EXCEPTION_REPORTER`` and
``DEFAULT_EXCEPTION_REPORTER_FILTER``, and the function as Sentry's ``before_send``. See
docs/reference/leaks.md.
"""

import base64
import json
import logging
import re
import traceback
from collections.abc import Iterator, Mapping
from contextlib import suppress
from types import FrameType
from typing import Any, Final, cast
from urllib.parse import quote, quote_plus, unquote_plus

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import escape
from django.utils.safestring import SafeString, mark_safe
from django.views import debug

from .legacy import schemes
from .redaction import MOST_OF_PAGE, REDACTED, redact, redact_strictly, redact_value

__all__ = ["ExceptionReporter", "RedactKeys", "SafeExceptionReporterFilter", "before_send"]

_OWN_FIELDS: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "exc_text", "taskName"}
)


class RedactKeys(logging.Filter):
    """Redact the secrets in a log record: message, arguments, traceback and extras.

    Add it to handlers, not to loggers: the filter of a logger does not see the records of its
    children.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - logging itself reports wrong arguments
            record.msg, record.args = redact_value(record.msg), redact_value(record.args)
        else:
            if (clean := redact(message)) != message:
                record.msg, record.args = clean, None
            elif record.args:  # some handlers, such as Sentry's, read them
                record.args = redact_value(record.args)
        if record.exc_info and record.exc_info[0] is not None:
            text = record.exc_text or "".join(traceback.format_exception(*record.exc_info)).rstrip()
            if (clean := redact(text)) != text:
                stand_in = _stand_in(record.exc_info[1])
                record.exc_text = clean
                record.exc_info = (type(stand_in), stand_in, record.exc_info[2])
        elif record.exc_text:
            record.exc_text = redact(record.exc_text)
        if record.stack_info:
            record.stack_info = redact(record.stack_info)
        for name, value in list(vars(record).items()):
            if name not in _OWN_FIELDS:
                setattr(record, name, redact_value(value))
        return True


def _stand_in(error: BaseException | None, depth: int = 8) -> BaseException:
    """Return an exception like ``error``, with redacted messages in its whole chain."""
    kind = type(error)
    members = {"__module__": kind.__module__, "__qualname__": kind.__qualname__}
    stand_in: BaseException = type(kind.__name__, (Exception,), members)(redact(str(error)))
    if error is not None and depth:
        stand_in.__traceback__ = error.__traceback__
        stand_in.__suppress_context__ = error.__suppress_context__
        if error.__cause__ is not None:
            stand_in.__cause__ = _stand_in(error.__cause__, depth - 1)
        if error.__context__ is not None and error.__context__ is not error.__cause__:
            stand_in.__context__ = _stand_in(error.__context__, depth - 1)
    return stand_in


class _Shown:
    """Replaces a value in a report. Its ``repr`` is the redacted one of the value."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class SafeExceptionReporterFilter(debug.SafeExceptionReporterFilter):
    """Django's filter, which also hides secrets on the debug page and in all variables."""

    def is_active(self, request: HttpRequest | None) -> bool:
        """Return True even with ``DEBUG``: screenshots of the debug page may become public."""
        return True

    def get_post_parameters(self, request: HttpRequest | None) -> Any:
        """Hide secret parameters even if the request failed before its view declared them."""
        parameters = super().get_post_parameters(request)
        return {name: (_is_secret(name) and REDACTED) or parameters[name] for name in parameters}

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        """Hide the headers of ``LEGACY`` too, whatever their names."""
        meta = super().get_safe_request_meta(request)
        return {name: _hidden(name) or value for name, value in meta.items()}

    def get_traceback_frame_variables(  # type: ignore[override]
        self, request: Any, tb_frame: FrameType
    ) -> list[tuple[str, Any]]:
        variables = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, _shown(value)) for name, value in variables]


class ExceptionReporter(debug.ExceptionReporter):
    """Django's reporter, which redacts the whole report: messages, queries, bodies, settings."""

    def get_traceback_html(self) -> SafeString:
        text = super().get_traceback_html()
        return mark_safe(self._clean(text))  # noqa: S308 - as safe as before

    def get_traceback_text(self) -> SafeString:
        return mark_safe(self._clean(super().get_traceback_text()))  # noqa: S308

    def _clean(self, text: str) -> str:
        """Return ``text`` without keys and without the secrets in the request.

        These secrets may be in any frame, under any name and in any text.
        """
        text = redact(text, MOST_OF_PAGE)
        for secret in _presented(self.request):
            for form in {secret, repr(secret)[1:-1], quote(secret), quote_plus(secret)}:
                text = text.replace(escape(form), REDACTED).replace(form, REDACTED)
        return text


# Names of passwords, codes, tokens and other secrets in forms and JSON bodies.
_SECRET_NAME: Final = re.compile(
    r"passw|secret|token|assertion|verifier|credential|api-?_?key|(?:^|_)(?:code|otp|pin)$",
    re.IGNORECASE,
)
_NAMES_OF_NO_SECRET: Final = ("_type", "_hint", "_uri", "_method")
#: Do not redact a shorter text, because it occurs in too many words.
_SHORTEST: Final = 5
_MOST_OF_BODY: Final = 100_000
_MOST_SECRETS: Final = 50


def _is_secret(name: str) -> bool:
    return not name.endswith(_NAMES_OF_NO_SECRET) and _SECRET_NAME.search(name[:100]) is not None


def _presented(request: Any) -> list[str]:
    """Return the secrets in the form, query, JSON body and headers of ``request``."""
    if request is None:
        return []
    found: set[str] = set()
    for form in (getattr(request, "_post", None), request.GET):
        for name, values in form.lists() if form else ():
            if _is_secret(name):
                found.update(values)
    body = getattr(request, "_body", b"")
    if "json" in (request.content_type or "") and len(body) <= _MOST_OF_BODY:
        with suppress(ValueError, RecursionError):
            found.update(_secrets_of(json.loads(body)))
    for name in schemes.headers():
        header = request.META.get(schemes.meta_of(name), "").strip(" \t")
        found.update((header, header.partition(" ")[2]))
    header = request.META.get("HTTP_AUTHORIZATION", "").strip(" \t")
    scheme, _space, text = header.partition(" ")
    found.update((header, text))
    if scheme.lower() == "basic":
        with suppress(ValueError):
            secret = base64.b64decode(text).decode().partition(":")[2]
            found.update((secret, unquote_plus(secret)))
    longest = sorted(filter(None, found), key=len, reverse=True)[:_MOST_SECRETS]
    return [secret for secret in longest if len(secret) >= _SHORTEST]


def _secrets_of(data: Any, is_secret: bool = False) -> Iterator[str]:
    if isinstance(data, dict):
        for name, value in data.items():
            yield from _secrets_of(value, is_secret or _is_secret(name))
    elif isinstance(data, list):
        for value in data:
            yield from _secrets_of(value, is_secret)
    elif is_secret and isinstance(data, str):
        yield data


def _shown(value: Any) -> Any:
    if isinstance(value, QuerySet):  # its repr would make a query
        return value
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - Django shows the error
        return value
    # Redact before printing, which may break or truncate a long text.
    return value if (clean := redact_strictly(text)) == text else _Shown(clean)


def before_send(event: Any, hint: Any = None) -> Any:
    """Redact a whole Sentry event: messages, frames, headers, bodies and breadcrumbs.

    Pass it to ``sentry_sdk.init(before_send=…, before_send_transaction=…)``.
    """
    return _clean(event)


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return redact_strictly(value)
    if isinstance(value, Mapping):
        return {
            _clean(key): _hidden(key) or _clean(each) for key, each in cast("Any", value).items()
        }
    if isinstance(value, list | tuple):
        return [_clean(each) for each in value]
    return redact_value(value)


def _hidden(name: Any) -> str | None:
    header = str(name).lower().replace("_", "-").removeprefix("http-")
    return REDACTED if header in ("authorization", *map(str.lower, schemes.headers())) else None
