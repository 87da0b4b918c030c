"""Limits on wrong passwords at the token endpoint."""

import pytest
from django.core.cache import cache
from oauth2_provider.models import Application

from apikeys.oauth.password_attempts import FROM_ADDRESS, OF_NAME, WINDOW
from tests.factories import PASSWORD, UserFactory

pytestmark = pytest.mark.filterwarnings(
    "ignore:The OAuth 2.0 resource owner password:DeprecationWarning"
)


@pytest.fixture(autouse=True)
def _counts(monkeypatch):
    cache.clear()
    # Start in the middle of a window, so that no window ends during a test.
    monkeypatch.setattr(
        "apikeys.oauth.password_attempts.time.time", lambda: 1000 * WINDOW + WINDOW / 2
    )
    yield
    cache.clear()


@pytest.fixture(autouse=True)
def _quick_hashes(settings):
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


def error(response):
    return response.status_code, response.json()["error"]


def test_wrong_passwords_of_one_name_are_limited(log_in):
    for number in range(OF_NAME):
        assert error(log_in(password=f"wrong {number}")) == (400, "invalid_grant")

    refused = log_in(password=PASSWORD)

    assert error(refused) == (429, "too_many_tries")
    assert refused.json()["error_description"] == (
        "Too many wrong passwords. Try again in 8 minutes."
    )
    assert refused["Retry-After"] == str(WINDOW // 2)
    assert refused["Cache-Control"] == "no-store"


@pytest.mark.parametrize(
    "name",
    [
        *("ADA", " ada ", "\u00e0d\u00e1", "\uff41da", "ada\x01", "a\u200bda", "ada\u00a0"),
        *("ad\u0301a", "\u202eada", "ada\U000e0001", "ada" + " " * 400),
    ],
)
def test_spellings_of_one_name_share_a_counter(log_in, name):
    for number in range(OF_NAME):
        log_in(username=name, password=f"wrong {number}")

    assert error(log_in(password=PASSWORD)) == (429, "too_many_tries")


def test_an_unknown_name_is_counted_too(log_in):
    for number in range(OF_NAME):
        assert error(log_in(username="nobody", password=f"{number}")) == (400, "invalid_grant")

    assert error(log_in(username="nobody")) == (429, "too_many_tries")
    assert log_in().status_code == 200


@pytest.mark.slow
def test_wrong_passwords_from_one_address_are_limited(log_in):
    for number in range(FROM_ADDRESS):
        assert error(log_in(username=f"nobody-{number}")) == (400, "invalid_grant")

    assert error(log_in()) == (429, "too_many_tries")


def test_names_that_the_database_treats_as_equal_share_a_counter(log_in, monkeypatch):
    """MariaDB ignores some characters and treats some different letters as equal."""
    users = type(UserFactory._meta.model._default_manager)
    find = users.get_by_natural_key

    def as_mariadb(self, name):
        return find(self, name.replace("\u00f8", "a"))

    monkeypatch.setattr(users, "get_by_natural_key", as_mariadb)
    for number in range(OF_NAME):
        log_in(username=("\u00f8da", "ad\u00f8")[number % 2], password=f"wrong {number}")

    assert error(log_in(password=PASSWORD)) == (429, "too_many_tries")


@pytest.mark.parametrize("name", ["\x00", "a" * 1_000_000, "\u0301\u0316" * 100_000])
def test_an_unusual_name_is_refused_quickly(log_in, name):
    assert log_in(username=name).json()["error"] in ("invalid_grant", "invalid_request")


@pytest.mark.slow
def test_an_address_over_its_limit_uses_no_attempts_of_a_name(log_in):
    for number in range(FROM_ADDRESS + OF_NAME):
        log_in(username=f"nobody-{number}", address="192.0.2.7")
    for _ in range(OF_NAME):
        refused = log_in(password="wrong", address="192.0.2.7")
        assert error(refused) == (429, "too_many_tries")

    assert log_in(address="192.0.2.8").status_code == 200


@pytest.mark.slow
def test_all_addresses_of_an_ipv6_64_count_as_one(log_in):
    for number in range(FROM_ADDRESS):
        log_in(username=f"nobody-{number}", address=f"2001:db8:0:1:{number:x}::1")

    assert error(log_in(address="2001:db8:0:1:ffff::1")) == (429, "too_many_tries")
    assert log_in(address="2001:db8:0:2::1").status_code == 200


def test_other_requests_do_not_evict_a_counter(log_in):
    for number in range(OF_NAME):
        log_in(password=f"wrong {number}")
    for number in range(400):  # Django's local-memory cache keeps 300 entries
        cache.set(f"stranger-{number}", 1)
    cache.clear()

    assert error(log_in()) == (429, "too_many_tries")


@pytest.mark.slow
def test_the_right_password_is_not_counted(log_in):
    for _ in range(OF_NAME + 1):
        assert log_in().status_code == 200


@pytest.mark.slow
def test_a_new_window_starts_at_zero(log_in, monkeypatch):
    for number in range(OF_NAME + 1):
        log_in(password=f"wrong {number}")
    monkeypatch.setattr("apikeys.oauth.password_attempts.time.time", lambda: 1001 * WINDOW)

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


@pytest.mark.slow
def test_other_users_can_still_log_in(log_in, ada):
    other = UserFactory(username="grace")
    other.set_password(PASSWORD)
    other.save()
    for number in range(OF_NAME + 1):
        log_in(password=f"wrong {number}")

    assert log_in(username="grace").status_code == 200
