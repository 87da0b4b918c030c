"""No error report shows a secret: every endpoint, with every one of its queries failing.

A site's admins get the mails, and pictures of the debug page end up in tickets.
"""

import logging
from contextlib import contextmanager
from functools import cache as cache_calls
from itertools import count
from urllib.parse import quote

import oauthlib.common
import pytest
from django.core import mail
from django.core.cache import cache
from django.db import ProgrammingError, connection, transaction
from django.test import override_settings
from django.utils.html import escape
from django.utils.log import AdminEmailHandler
from django.views import debug
from oauth2_provider import generators
from oauthlib.oauth2.rfc8628.endpoints import device_authorization

from apikeys import token, usage
from example_project.payments.demo import PASSWORD
from tests import endpoints
from tests.tiers import STEPS

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:The OAuth 2.0 resource owner:DeprecationWarning"),
]

REPORTERS = {
    "own": {
        "DEFAULT_EXCEPTION_REPORTER": "apikeys.error_reports.ExceptionReporter",
        "DEFAULT_EXCEPTION_REPORTER_FILTER": "apikeys.error_reports.SafeExceptionReporterFilter",
    },
    "django": {
        "DEFAULT_EXCEPTION_REPORTER": "django.views.debug.ExceptionReporter",
        "DEFAULT_EXCEPTION_REPORTER_FILTER": "django.views.debug.SafeExceptionReporterFilter",
    },
}
_FIXED = {
    PASSWORD, endpoints.WRONG_PASSWORD, endpoints.VERIFIER, endpoints.CLIENT_SECRET,
    endpoints.ASSERTION,
}  # fmt: skip

_LENGTH_OF_CLIENT_IDS = 40


class Failing:
    """Make the query with this number fail, counted from one."""

    def __init__(self, number):
        self.number, self.seen = number, 0

    def __call__(self, execute, sql, params, many, context):
        self.seen += 1
        if self.seen == self.number:
            raise ProgrammingError("the query failed")
        return execute(sql, params, many, context)


@pytest.fixture
def secrets(monkeypatch):
    """Record every secret that is sent or created."""
    found = set(_FIXED)

    def remember(module, name):
        make = getattr(module, name)

        def made(*args, **kwargs):
            value = make(*args, **kwargs)
            found.add(getattr(value, "text", value))
            return value

        monkeypatch.setattr(module, name, made)

    remember(oauthlib.common, "generate_token")
    remember(device_authorization, "generate_token")
    remember(generators, "oauthlib_generate_client_id")  # it also generates secrets
    remember(token, "generate_secret")
    return found


def forms_of(secret):
    return {secret, escape(secret), quote(secret), repr(secret)[1:-1]}


def mails(log, *, html):
    """Return the reports that a site's admins get: the text mail, and with ``html`` the page."""
    sent = []
    for record in log:
        mail.outbox.clear()
        AdminEmailHandler(include_html=html).emit(record)
        for message in mail.outbox:
            sent.append(("mail", message.subject + message.body))
            sent += [("HTML mail", body) for body, _ in message.alternatives]
    return sent


class Records(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.records = []

    def emit(self, record):
        self.records.append(record)


@contextmanager
def using(reporter, **more):
    """Report errors by one of ``REPORTERS``.

    pytest-django's ``settings`` would wrap the settings once more for each change in the loop.
    """
    debug.get_default_exception_reporter_filter.cache_clear()
    with override_settings(**REPORTERS[reporter], **more):
        yield
    debug.get_default_exception_reporter_filter.cache_clear()


@pytest.fixture
def records(monkeypatch):
    """Collect the log records of a failing request, in place of the example's mails."""
    monkeypatch.setattr(logging.getLogger("django"), "handlers", [])
    handler = Records()
    logger = logging.getLogger()
    logger.addHandler(handler)
    yield handler.records
    logger.removeHandler(handler)


@pytest.fixture
def parsed_once(monkeypatch):
    """Parse Django's template of a report once, and not for each report."""
    monkeypatch.setattr(
        debug.DEBUG_ENGINE, "from_string", cache_calls(debug.DEBUG_ENGINE.from_string)
    )


@pytest.mark.usefixtures("parsed_once")
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("name", endpoints.EVERY)
def test_no_report_shows_a_secret(name, step, secrets, records, settings):
    settings.DEMO = True
    settings.ADMINS = [("Root", "root@example.com")]
    site = endpoints.Site()
    failed, found = 0, []
    for turn, number in enumerate(count(1, step)):
        failing = Failing(number)
        with transaction.atomic():
            request = endpoints.EVERY[name](site)
            records.clear()
            is_debugged = turn % 2 == 1
            with using("own", DEBUG=is_debugged), connection.execute_wrapper(failing):
                response = site.send(request)
            transaction.set_rollback(True)
        if failing.seen < number:
            break
        failed += response.status_code >= 500
        has_page = is_debugged and response.status_code >= 500
        sent = [("debug page", response.content.decode())] if has_page else []
        with using("own"):
            sent += mails(records, html=not has_page)  # the same page
        # Django's reporter documents that it hides nothing on the debug page.
        with using("django"):
            sent += mails(records, html=True)
        found += [
            (number, kind, text[max(0, text.find(form) - 300) : text.find(form) + 60])
            for kind, text in sent
            for secret in secrets
            if len(secret) >= 8 and len(secret) != _LENGTH_OF_CLIENT_IDS
            for form in forms_of(secret)
            if form in text
        ]
        cache.clear()
        usage._pending.clear()
    assert found == []
    assert failed, "no query of it failed"
