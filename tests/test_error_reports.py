"""No key appears in a log record, an error report or a Sentry event."""

import io
import json
import logging

import pytest
from django.core import mail
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import path
from django.utils.log import AdminEmailHandler

from apikeys import hashing, token
from apikeys.error_reports import ExceptionReporter, RedactKeys, before_send
from apikeys.redaction import redact

KEY = token.compose("acme", "pat", "7k2m4q0x9c1v8b3n", "S" * token.SECRET_LENGTH)
SECRET = KEY[26:69]
LEFT = KEY[:26] + "[redacted]"


@pytest.fixture
def log():
    """Return a logger and the output of a handler with the filter."""
    out = io.StringIO()
    logger = logging.Logger("of this test")  # noqa: LOG001 - has only this handler
    handler = logging.StreamHandler(out)
    handler.setFormatter(logging.Formatter("%(message)s %(body)s", defaults={"body": ""}))
    handler.addFilter(RedactKeys())
    logger.addHandler(handler)
    return logger, out


@pytest.mark.parametrize(
    "write",
    [
        lambda log: log.error("Refused " + KEY),  # noqa: G003
        lambda log: log.error("Refused %s", KEY),
        lambda log: log.error("Refused %(key)s", {"key": KEY}),
        lambda log: log.error("Refused %s_%s", KEY[:25], KEY[26:]),
        lambda log: log.error("Refused %s of %r", KEY[:40], {"header": [KEY.encode()]}),
        lambda log: log.error("Refused", extra={"body": {"keys": [f"Bearer {KEY}"]}}),
        lambda log: log.error("Refused", extra={"body": f"?token={KEY}&x=1".encode()}),
        lambda log: log.error("Wrong arguments %s %s", KEY),
    ],
)
def test_a_key_in_a_log_record_is_redacted(log, write, capsys):
    logger, out = log
    write(logger)
    assert SECRET not in out.getvalue()
    assert SECRET[:20] not in out.getvalue()


def test_a_key_in_a_traceback_is_redacted(log):
    logger, out = log
    try:
        try:
            raise KeyError(KEY)
        except KeyError as error:
            raise RuntimeError("It failed.") from error
    except RuntimeError:
        logger.exception("Failed", stack_info=True)

    assert SECRET not in out.getvalue()
    assert "RuntimeError: It failed." in out.getvalue()
    assert f"KeyError: '{LEFT}'" in out.getvalue()


def test_records_without_a_key_are_unchanged(log):
    logger, _out = log
    records = []
    logger.handlers[0].emit = records.append
    marker = object()
    try:
        raise ValueError("as it is")
    except ValueError:
        logger.exception("%d of %s", 3, marker, extra={"body": [1, None, marker]})

    (record,) = records
    assert record.args == (3, marker)
    assert record.body[2] is marker
    assert record.exc_info[1].args == ("as it is",)


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        (KEY, LEFT),
        (KEY[:30], LEFT),
        (f"x={KEY}&y", f"x={LEFT}&y"),
        ("Authorization: Bearer abcdefghijklmnop.qrstuv==", "Authorization: Bearer [redacted]"),
        ("the bearer of good news", "the bearer of good news"),
        (KEY[:25], KEY[:25]),
        ("other_key_7k2m4q0x9c1v8b3n_abc", "other_key_7k2m4q0x9c1v8b3n_[redacted]"),
    ],
)
def test_redacted_text(text, clean):
    assert redact(text) == clean


def fail(request):
    body, header = request.body, request.headers.get("Authorization")
    parsed = token.parse(KEY, "acme")
    nested = {"long": [b"x" * 300 + KEY.encode() + b"y" * 300], "header": header, "p": parsed}
    secret = parsed.secret
    raise RuntimeError(f"Failed with {KEY} of {len(body)} {len(nested)} {len(secret)}")


def deep(request):
    return HttpResponse(hashing.make_digest(7))


urlpatterns = [path("fail/", fail), path("deep/", deep)]


@pytest.fixture
def reports(settings):
    settings.ROOT_URLCONF = "tests.test_error_reports"
    settings.DEFAULT_EXCEPTION_REPORTER = "apikeys.error_reports.ExceptionReporter"
    settings.DEFAULT_EXCEPTION_REPORTER_FILTER = "apikeys.error_reports.SafeExceptionReporterFilter"
    settings.ALLOWED_HOSTS = ["testserver"]
    return settings


@pytest.mark.parametrize("accept", ["text/html", "text/plain"])
def test_the_debug_page_is_redacted(reports, accept):
    reports.DEBUG = True
    response = Client(raise_request_exception=False).post(
        f"/fail/?key={KEY}",
        json.dumps({"token": KEY}),
        "application/json",
        headers={"Authorization": f"Bearer {KEY}", "X-Note": KEY, "Accept": accept},
        HTTP_COOKIE=f"note={KEY}",
    )
    page = response.content.decode()
    assert response.status_code == 500
    assert "RuntimeError" in page
    assert "test_error_reports.py" in page
    assert SECRET not in page
    assert KEY[26:] not in page
    assert SECRET[:30] not in page


def test_the_mail_to_the_admins_is_redacted(reports):
    reports.ADMINS = [("Ada", "ada@example.com")]
    handler = AdminEmailHandler(include_html=True)
    handler.addFilter(RedactKeys())
    request = RequestFactory().post(
        "/fail/", {"token": KEY}, headers={"Authorization": f"Bearer {KEY}", "X-Note": KEY}
    )
    try:
        fail(request)
    except RuntimeError as error:
        exc_info = (type(error), error, error.__traceback__)
    record = logging.makeLogRecord({"msg": "Failed", "levelno": 40, "levelname": "ERROR"})
    record.exc_info, record.request, record.status_code = exc_info, request, 500
    # Even if a handler has no filter.
    AdminEmailHandler(include_html=True).emit(record)
    handler.handle(record)

    assert len(mail.outbox) == 2
    for message in mail.outbox:
        assert SECRET not in str(message.message())
        assert SECRET not in message.alternatives[0][0]
        assert "RuntimeError" in message.body


@pytest.mark.parametrize("name", ["X-Api-Key", "X-Customer", "Authorization"])
@pytest.mark.parametrize("as_sent", ["{}", " {}\t", "Key {}"])
def test_a_key_in_any_header_is_redacted_everywhere(reports, name, as_sent):
    """Also the text of an imported key, which has no form of its own."""
    legacy = {"csv": {"UNTIL": "2100-01-01", "HEADERS": ["X-Customer"]}}
    reports.APIKEYS = {**reports.APIKEYS, "HEADERS": ["X-Api-Key"], "LEGACY": legacy}
    old = "f3b1-9a0d77b2-4f0f9b7d-zz81-4444"
    request = RequestFactory().get("/fail/", headers={name: as_sent.format(old)})
    try:
        raise ValueError(f"Cannot parse {old!r}")
    except ValueError as error:
        report = ExceptionReporter(request, type(error), error, error.__traceback__)
    for text in (report.get_traceback_html(), report.get_traceback_text()):
        assert "Cannot parse" in text
        assert old not in text


def test_a_sentry_event_is_redacted():
    event = {
        "message": f"Failed with {KEY}",
        "exception": {"values": [{"value": KEY, "stacktrace": {"frames": [
            {"vars": {"text": repr(KEY), "secret": repr(SECRET), "n": 7}},
        ]}}]},
        "request": {"headers": {"Authorization": "Bearer opaque", "X": KEY}, "data": {"t": [KEY]}},
        "breadcrumbs": {"values": [{"message": KEY, "data": {KEY: (KEY,)}}]},
    }  # fmt: skip
    sent = before_send(event, {"exc_info": None})

    assert SECRET not in json.dumps(sent)
    assert sent["request"]["headers"]["Authorization"] == "[redacted]"
    assert sent["exception"]["values"][0]["stacktrace"]["frames"][0]["vars"]["n"] == 7
    assert sent["message"] == f"Failed with {LEFT}"
