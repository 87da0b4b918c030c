"""How many passwords somebody may try at the token endpoint."""

import pytest
from django.core.cache import cache
from oauth2_provider.models import Application

from apikeys.oauth.guesses import FROM_ADDRESS, OF_NAME, WINDOW
from example_project.payments.demo import PASSWORD
from tests.factories import UserFactory

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _counts(monkeypatch):
    cache.clear()
    # In the middle of a window, so that none ends within a test.
    monkeypatch.setattr("apikeys.oauth.guesses.time.time", lambda: 1000 * WINDOW + WINDOW / 2)
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def _quick_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def error(response):
    return response.status_code, response.json()["error"]


def test_guesses_of_one_name_are_bounded(log_in):
    for number in range(OF_NAME):
        assert error(log_in(password=f"wrong {number}")) == (400, "invalid_grant")

    refused = log_in(password=PASSWORD)

    assert error(refused) == (429, "too_many_tries")
    assert refused.json()["error_description"] == (
        "Too many wrong passwords. Try again in 8 minutes."
    )
    assert refused["Retry-After"] == str(WINDOW // 2)
    assert refused["Cache-Control"] == "no-store"


@pytest.mark.parametrize("name", ["ADA", " ada ", "\u00e0d\u00e1", "\uff41da"])
def test_other_writings_of_a_name_are_no_more_tries(log_in, name):
    for number in range(OF_NAME):
        log_in(username=name, password=f"wrong {number}")

    assert error(log_in(password=PASSWORD)) == (429, "too_many_tries")


def test_a_name_that_nobody_has_is_counted_alike(log_in):
    for number in range(OF_NAME):
        assert error(log_in(username="nobody", password=f"{number}")) == (400, "invalid_grant")

    assert error(log_in(username="nobody")) == (429, "too_many_tries")
    assert log_in().status_code == 200


def test_guesses_from_one_address_are_bounded(log_in):
    for number in range(FROM_ADDRESS):
        assert error(log_in(username=f"nobody-{number}")) == (400, "invalid_grant")

    assert error(log_in()) == (429, "too_many_tries")


def test_the_right_password_is_no_guess(log_in):
    for _ in range(OF_NAME + 1):
        assert log_in().status_code == 200


def test_those_of_the_last_window_are_forgotten(log_in, monkeypatch):
    for number in range(OF_NAME + 1):
        log_in(password=f"wrong {number}")
    monkeypatch.setattr("apikeys.oauth.guesses.time.time", lambda: 1001 * WINDOW)

    assert log_in().status_code == 200


def test_a_client_without_the_grant_does_not_learn_whether_a_password_is_right(log_in, db):
    Application.objects.create(
        client_id="stranger",
        client_type=Application.CLIENT_PUBLIC,
        authorization_grant_type=Application.GRANT_PASSWORD,
    )
    for password in (PASSWORD, "wrong"):
        response = log_in(client_id="stranger", password=password)
        assert error(response) == (400, "unauthorized_client")


def test_a_user_of_another_name_goes_on(log_in, ada):
    other = UserFactory(username="grace")
    other.set_password(PASSWORD)
    other.save()
    for number in range(OF_NAME + 1):
        log_in(password=f"wrong {number}")

    assert log_in(username="grace").status_code == 200
