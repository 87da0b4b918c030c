"""Keeps keys out of logs and error reports, whatever brought them there.

Name them in ``LOGGING``, ``DEFAULT_EXCEPTION_REPORTER``,
``DEFAULT_EXCEPTION_REPORTER_FILTER`` and Sentry's ``before_send``: see docs/reference/leaks.md.
"""

import logging
import traceback
from collections.abc import Mapping
from types import FrameType
from typing import Any, Final, cast

from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString, mark_safe
from django.views import debug

from .legacy import schemes
from .redaction import REDACTED, redact, redact_strictly, redact_value

__all__ = ["ExceptionReporter", "RedactKeys", "SafeExceptionReporterFilter", "before_send"]

_OWN_FIELDS: Final = frozenset(
    {*vars(logging.makeLogRecord({})), "message", "asctime", "exc_text", "taskName"}
)


class RedactKeys(logging.Filter):
    """Takes the secrets of keys out of a log record: message, arguments, traceback, extras.

    Give it to handlers, not to loggers: those do not filter what their children log.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            message = record.getMessage()
        except Exception:  # noqa: BLE001 - wrong arguments, which logging tells of by itself
            record.msg, record.args = redact_value(record.msg), redact_value(record.args)
        else:
            if (clean := redact(message)) != message:
                record.msg, record.args = clean, None
            elif record.args:  # handlers like Sentry's read them
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
    """An exception that tells the same as ``error``, which holds a key, without the key."""
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
    """Stands for a value in a report; its ``repr`` is what is left of the value's."""

    def __init__(self, text: str) -> None:
        self._text = text

    def __repr__(self) -> str:
        return self._text


class SafeExceptionReporterFilter(debug.SafeExceptionReporterFilter):
    """Django's, which also hides secrets on the debug page and in any variable of a frame."""

    def is_active(self, request: HttpRequest | None) -> bool:
        """Also with ``DEBUG`` on: a screenshot of the page is as public as a mail."""
        return True

    def get_safe_request_meta(self, request: Any) -> dict[str, Any]:
        """Also without the header of a predecessor, whatever it is called."""
        meta = super().get_safe_request_meta(request)
        return {name: _hidden(name) or value for name, value in meta.items()}

    def get_traceback_frame_variables(  # type: ignore[override]
        self, request: Any, tb_frame: FrameType
    ) -> list[tuple[str, Any]]:
        variables = super().get_traceback_frame_variables(request, tb_frame)
        return [(name, _shown(value)) for name, value in variables]


class ExceptionReporter(debug.ExceptionReporter):
    """Django's, which redacts all that it reports: messages, queries, bodies, settings."""

    def get_traceback_html(self) -> SafeString:
        return mark_safe(redact(super().get_traceback_html()))  # noqa: S308 - as safe as before

    def get_traceback_text(self) -> SafeString:
        return mark_safe(redact(super().get_traceback_text()))  # noqa: S308


def _shown(value: Any) -> Any:
    if isinstance(value, QuerySet):  # its repr is a query
        return value
    try:
        text = repr(value)
    except Exception:  # noqa: BLE001 - Django tells what is wrong with it
        return value
    # Before it is printed, which may break a long text into lines or cut it off.
    return value if (clean := redact_strictly(text)) == text else _Shown(clean)


def before_send(event: Any, hint: Any = None) -> Any:
    """For Sentry: ``sentry_sdk.init(before_send=…, before_send_transaction=…)``.

    Takes secrets out of all of an event: messages, frames, headers, bodies, breadcrumbs.
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
