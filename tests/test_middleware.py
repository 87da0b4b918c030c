"""The middleware for Django's admin and the views of a site."""

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError, ProgrammingError
from django.http import HttpResponse
from django.test import AsyncClient, Client
from django.urls import path

from tests.factories import UserFactory
from tests.http.test_http import every_query_raising

pytestmark = [pytest.mark.django_db, pytest.mark.urls(__name__)]

OUTAGE = "apikeys.middleware.OutageMiddleware"
SESSION = [
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
]
LOGIN = "django.contrib.auth.middleware.LoginRequiredMiddleware"


def quiet(request):
    return HttpResponse("no query")


def failing(request):
    return HttpResponse("the view's own", status=500)


urlpatterns = [path("quiet/", quiet), path("failing/", failing)]


class Reads:
    """A middleware of the site that asks the database before the view."""

    def __init__(self, get_response):
        self.get_response = get_response

    def __call__(self, request):
        request.session.get("theme")
        return self.get_response(request)


@pytest.fixture
def client():
    client = Client(raise_request_exception=False)
    client.force_login(UserFactory())
    return client


@pytest.mark.parametrize(
    "more", [[LOGIN, OUTAGE], [OUTAGE, LOGIN], [OUTAGE, f"{__name__}.Reads"]], ids=lambda m: m[-1]
)
class TestOutageOfAnotherMiddleware:
    @pytest.fixture(autouse=True)
    def middleware(self, settings, more):
        settings.MIDDLEWARE = [*SESSION, *more]

    def test_it_is_answered_with_503(self, client):
        with every_query_raising(OperationalError("connection refused")):
            response = client.get("/quiet/")
        assert (response.status_code, response["Retry-After"]) == (503, "5")
        assert "connection refused" not in response.content.decode()
        assert client.get("/quiet/").content == b"no query"

    def test_a_bug_is_a_500(self, client, caplog):
        with every_query_raising(ProgrammingError("no such column")):
            assert client.get("/quiet/").status_code == 500
        raised = [each.exc_info[0] for each in caplog.records if each.exc_info]
        assert raised == [ProgrammingError]

    def test_a_500_of_the_view_stays(self, client):
        response = client.get("/failing/")
        assert (response.status_code, response.content) == (500, b"the view's own")


def test_an_async_site_is_answered_with_503(settings):
    settings.MIDDLEWARE = [*SESSION, LOGIN, OUTAGE]
    client = AsyncClient(raise_request_exception=False)
    client.cookies[settings.SESSION_COOKIE_NAME] = "x" * 32
    with every_query_raising(OperationalError("connection refused")):
        response = async_to_sync(client.get)("/quiet/")
    assert (response.status_code, response["Retry-After"]) == (503, "5")


def test_without_the_middleware_nothing_is_hidden(settings, client):
    settings.MIDDLEWARE = [*SESSION, LOGIN]
    with every_query_raising(OperationalError("connection refused")):
        assert client.get("/quiet/").status_code == 500
