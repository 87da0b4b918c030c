"""How secrets are hashed, and what a new pepper changes."""

import hmac
import sys

import pytest
from argon2 import extract_parameters
from django.test import RequestFactory
from django.views.debug import ExceptionReporter

from apikeys import hashing, token
from apikeys.conf import app_settings

OLD, NEW = b"o" * 32, b"n" * 32


@pytest.fixture
def peppers(settings):
    def use(*peppers):
        settings.APIKEYS = {**settings.APIKEYS, "PEPPERS": peppers}

    use(OLD)
    return use


def test_a_digest_depends_on_secret_and_pepper(peppers):
    digest = hashing.make_digest("secret")

    assert len(digest.value) == 64
    assert hashing.check_digest("secret", *digest) is True
    assert hashing.check_digest("Secret", *digest) is False
    peppers(NEW)
    assert hashing.make_digest("secret") != digest


@pytest.mark.parametrize("length", [32, 64, 65, 200])
def test_a_digest_is_hmac_sha_256(peppers, length):
    pepper = bytes(range(length))
    peppers(pepper)

    expected = hmac.digest(pepper, b"secret", "sha256").hex()
    assert hashing.make_digest("secret").value == expected


def test_a_digest_under_an_older_pepper_still_decides(peppers):
    digest = hashing.make_digest("secret")
    peppers(NEW, OLD)

    assert hashing.check_digest("secret", *digest) is True
    assert hashing.check_digest("other", *digest) is False
    assert hashing.current_pepper_id() != digest.pepper_id


def test_a_digest_with_a_lost_pepper_is_undecided(peppers):
    digest = hashing.make_digest("secret")
    peppers(NEW)

    assert hashing.check_digest("secret", *digest) is None
    assert hashing.check_digest("other", *digest) is None


def test_the_id_of_a_pepper_does_not_reveal_it(peppers):
    name = hashing.current_pepper_id()

    assert len(name) == 8
    assert OLD.decode() not in name
    assert name != hashing.pepper_id(NEW)


def test_peppers_follow_djangos_secret_key(settings):
    settings.SECRET_KEY = "first" * 10
    digest = hashing.make_digest("secret")
    settings.SECRET_KEY, settings.SECRET_KEY_FALLBACKS = "second" * 10, ["first" * 10]

    assert hashing.check_digest("secret", *digest) is True
    settings.SECRET_KEY_FALLBACKS = []
    assert hashing.check_digest("secret", *digest) is None


def test_a_pepper_is_not_the_secret_key_itself(settings):
    assert all(settings.SECRET_KEY.encode() not in pepper for pepper in app_settings.PEPPERS)


def test_a_root_needs_no_pepper(peppers):
    root = hashing.make_root("secret")
    peppers(NEW)

    assert hashing.check_root("secret", root)
    assert not hashing.check_root("Secret", root)
    assert hashing.make_root("secret") != root, "no salt"


@pytest.mark.slow
def test_a_root_is_argon2id_with_the_parameters_of_rfc_9106(real_argon2):
    parameters = extract_parameters(real_argon2.hash("secret"))

    assert parameters.type.name == "ID"
    # RFC 9106 section 4, second recommended option.
    assert (parameters.memory_cost, parameters.time_cost, parameters.parallelism) >= (65536, 3, 4)


@pytest.mark.parametrize(
    "damage", [lambda root: "", lambda root: root[:-5], lambda root: "plain", lambda root: "é"]
)
def test_a_damaged_root_matches_no_secret(damage):
    assert hashing.check_root("secret", damage(hashing.make_root("secret"))) is False


@pytest.mark.parametrize(
    "work",
    [
        hashing.make_root,
        hashing.make_digest,
        lambda secret: hashing.check_root(secret, "$argon2id$"),
        lambda secret: hashing.check_digest(secret, "0" * 64, hashing.current_pepper_id()),
    ],
)
def test_an_error_page_shows_no_secret(work, monkeypatch):
    monkeypatch.setattr(hashing, "_argon2", None)
    monkeypatch.setattr(hashing, "_keyed", None)
    secret = token.generate_secret()
    try:
        (lambda work, hidden: work(*hidden()))(work, lambda: [secret])
    except (AttributeError, TypeError):
        kind, error, trace = sys.exc_info()
    # The frames of this test contain the secret; the frames of the package start below.
    while trace.tb_frame.f_globals["__name__"] != "apikeys.hashing":
        trace = trace.tb_next
    page = ExceptionReporter(RequestFactory().get("/"), kind, error, trace)
    assert secret not in page.get_traceback_text()
    assert secret not in page.get_traceback_html()
