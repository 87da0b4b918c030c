"""Guesses, misses and odd texts against a scheme that follows the table of its package."""

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from rest_framework.authtoken.models import Token as DRFToken

from apikeys import refusals
from apikeys.models import AttemptCount, LegacyKey, PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import UserFactory
from tests.legacy.conftest import PATHS, TOMORROW, api_key, authtoken_of, knox_of

pytestmark = [pytest.mark.urls("tests.legacy.conftest"), pytest.mark.django_db(transaction=True)]

LIVE = {"SCOPES": ["payments:read"], "PROJECTS": ["shop"]}
OF_USERS = {"SCOPES": ["payments:read"]}
WORDS = {"authtoken": "Token", "knox": "Token", "drf_api_key": "Api-Key"}
#: Random texts as each package creates them. No table has them.
UNKNOWN = {
    "authtoken": "9b1f4c77e2d05a8836c1f0e94ab27d5568c3e1f7",
    "knox": "9b1f4c77e2d05a8836c1f0e94ab27d5568c3e1f79b1f4c77e2d05a8836c1f0e9",
    "drf_api_key": "k4Jd82hQ.9b1f4c77e2d05a8836c1f0e94ab27d55",
}
ODD = {
    "nul": "a1b2c3d4\0" * 4,
    "long": "a1B2c3D4e5" * 1000,
    "accents": "a1b2c3d4é" * 4,
    "a surrogate": "a1b2c3d4\udc80" * 4,
    "a line": "a1b2c3d4\ne5f6" * 3,
    "two words": "a1b2c3d4 e5f6a7b8c9d0e1f2",
}


@pytest.fixture(params=WORDS)
def scheme(request, takes, project, settings):
    takes(**{request.param: {"UNTIL": TOMORROW, "LIVE": of(request.param)}})
    return request.param


@pytest.fixture(params=WORDS)
def bearer_scheme(request, takes, project):
    entry = {"UNTIL": TOMORROW, "HEADERS": ["Bearer"], "LIVE": of(request.param)}
    takes(**{request.param: entry})
    return request.param


def of(scheme):
    return LIVE if scheme == "drf_api_key" else OF_USERS


def sent(scheme, text):
    return {"Authorization": f"{WORDS[scheme]} {text}"}


def create(scheme, number=0):
    user = UserFactory(username=f"user{number}")
    makers = {"authtoken": authtoken_of, "knox": knox_of, "drf_api_key": lambda user: api_key()}
    return makers[scheme](user)


def queries_of(call):
    with CaptureQueriesContext(connection) as queries:
        call()
    return [each["sql"] for each in queries]


class TestOddTexts:
    @pytest.mark.parametrize("odd", ODD)
    @pytest.mark.parametrize("where", PATHS)
    def test_they_are_refused_before_any_query(self, get, scheme, odd, where):
        answers = []
        found = queries_of(lambda: answers.append(get(sent(scheme, ODD[odd]), where)))
        assert answers == [(401, "malformed_key")]
        assert found == []

    @pytest.mark.parametrize("odd", ODD)
    def test_after_bearer_they_reach_no_table_of_keys(self, bearer_scheme, odd):
        """Introspection and your own code pass texts that no header could hold."""
        raised = []

        def call():
            with pytest.raises(Refused) as refused:
                verify(ODD[odd], RequestFactory().get("/"))
            raised.append(refused.value.refusal)

        found = queries_of(call)
        assert raised[0] in (refusals.INVALID_TOKEN, refusals.INVALID_KEY, refusals.MALFORMED_KEY)
        tables = ("authtoken_token", "knox_", "rest_framework_api_key", LegacyKey._meta.db_table)
        assert not [sql for sql in found if any(table in sql for table in tables)]

    def test_a_long_text_after_bearer_is_an_invalid_token(self, get, bearer_scheme):
        headers = {"Authorization": f"Bearer {ODD['long']}"}
        assert get(headers) == (401, "invalid_token")


class TestMisses:
    @pytest.mark.slow
    def test_they_take_as_many_queries_whatever_the_tables_hold(self, get, scheme):
        def miss():
            assert get(sent(scheme, UNKNOWN[scheme])) == (401, "invalid_key")

        empty = queries_of(miss)
        for number in range(12):
            assert get(sent(scheme, create(scheme, number)))[0] == 200
        assert len(queries_of(miss)) == len(empty) == 3

    def test_a_missed_prefix_takes_as_many_as_one_that_exists(self, get, takes, project):
        takes(drf_api_key={"UNTIL": TOMORROW, "LIVE": LIVE})
        prefix = api_key().partition(".")[0]
        guesses = [f"{each}.9b1f4c77e2d05a8836c1f0e94ab27d55" for each in (prefix, "k4Jd82hQ")]
        counts = [
            len(queries_of(lambda text=text: get(sent("drf_api_key", text)))) for text in guesses
        ]
        assert counts[0] == counts[1]

    def test_they_import_nothing(self, get, scheme):
        create(scheme)
        get(sent(scheme, UNKNOWN[scheme]))
        assert not LegacyKey.objects.exists()
        assert not PersonalAccessToken.objects.exists()
        assert not ProjectKey.objects.exists()


class TestGuesses:
    """A person chose these texts, so someone may guess them."""

    @pytest.fixture(autouse=True)
    def few(self, takes, settings):
        takes(authtoken={"UNTIL": TOMORROW, "LIVE": OF_USERS})
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 2}

    def test_wrong_ones_are_counted_for_the_address(self, get, ada):
        authtoken_of(ada, "letmein")
        guesses = [f"letmein{number}" for number in range(3)]
        answers = [get(sent("authtoken", each))[1] for each in guesses]
        assert answers == ["invalid_key", "invalid_key", "verification_busy"]
        assert get(sent("authtoken", "letmein"))[1] == "verification_busy"
        assert not PersonalAccessToken.objects.exists()

    @pytest.mark.slow
    def test_wrong_ones_are_counted_for_all_addresses_together(self, get, ada):
        authtoken_of(ada, "letmein")
        codes = [
            get(sent("authtoken", f"letmein{n}"), REMOTE_ADDR=f"198.51.100.{n}")[1]
            for n in range(21)
        ]
        assert set(codes[:20]) == {"invalid_key"}
        assert codes[20] == "verification_busy"

    def test_the_table_is_not_read_over_the_limit(self, get, ada):
        authtoken_of(ada, "letmein")
        for number in range(2):
            get(sent("authtoken", f"letmein{number}"))
        found = queries_of(lambda: get(sent("authtoken", "letmein")))
        assert not [sql for sql in found if DRFToken._meta.db_table in sql]

    @pytest.mark.slow
    def test_the_right_one_does_not_count(self, get, ada):
        authtoken_of(ada, "letmein")
        assert get(sent("authtoken", "letmein"))[0] == 200
        assert sum(AttemptCount.objects.values_list("number", flat=True)) == 0

    @pytest.mark.slow
    def test_the_first_use_works_with_one_attempt(self, get, ada, settings):
        settings.APIKEYS = {**settings.APIKEYS, "ARGON2_TRIES": 1}
        authtoken_of(ada, "letmein")
        assert get(sent("authtoken", "letmein"))[0] == 200


def test_a_case_that_differs_is_no_match(get, takes, ada):
    """A collation may ignore case."""
    takes(authtoken={"UNTIL": TOMORROW, "LIVE": OF_USERS})
    text = authtoken_of(ada, "a1b2c3d4e5f6" * 3 + "abcd")
    assert get(sent("authtoken", text.upper())) == (401, "invalid_key")


def test_a_stored_hash_is_no_credential(get, takes, ada):
    """Someone who read the table of hashes cannot send one."""
    from knox.models import get_token_model

    takes(knox={"UNTIL": TOMORROW, "LIVE": OF_USERS})
    knox_of(ada)
    digest = get_token_model().objects.get().digest
    assert get(sent("knox", digest)) == (401, "invalid_key")
    assert Client().get("/plain/").status_code == 401
