"""How often a key may be used; ``tests.limits`` has more."""

import pytest

from apikeys import verify
from apikeys.lifecycle import LifecycleError
from apikeys.limits import counting
from apikeys.restrictions import BY_NAME, rates_of
from tests.factories import mint_key

NARROW = ["5/hour"]
WIDER = []

rates = BY_NAME["rate_limits"]


def refused_key():
    minted = mint_key(rate_limits=["1/hour"])
    counting.spend(verify.verify(minted.token))
    return minted


def test_rates_are_stored_with_the_shortest_time_first():
    assert rates.parse(["100/day", "10/m", "10/minute"]) == "10/minute 100/day"


@pytest.mark.parametrize("text", ["0/hour", "often", "", "5"])
def test_text_that_is_not_a_rate_is_refused(text):
    with pytest.raises(LifecycleError) as error:
        rates.parse([text])

    assert (error.value.code, error.value.field) == ("invalid_rate_limit", "rate_limits")


def test_more_rates_than_a_key_may_have_are_refused():
    with pytest.raises(LifecycleError, match="at most 5"):
        rates.parse([f"{n}/hour" for n in range(1, 7)])


def test_requests_are_counted_against_the_rates_of_the_key(db):
    minted = mint_key(rate_limits=["5/hour", "9/day"])

    assert rates_of(verify.verify(minted.token)) == "5/hour 9/day"
    assert rates_of(verify.verify(mint_key().token)) == ""


def test_pages_say_how_often_a_key_works():
    assert rates.sentence("5/hour 9/day") == "Limited to 5/hour, 9/day."
