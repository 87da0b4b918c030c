import re

import pytest

from apikeys.limits import rates


@pytest.mark.parametrize(
    ("text", "stored"),
    [
        ("1000/hour", "1000/hour"),
        (" 1000 per hour ", "1000/hour"),
        ("10/s", "10/second"),
        ("5/15minutes", "5/15minute"),
        ("7/2D", "7/2day"),
    ],
)
def test_spellings_of_a_rate_are_understood(text, stored):
    assert str(rates.parse(text)) == stored
    assert str(rates.parse(stored)) == stored


@pytest.mark.parametrize(
    "text", ["", "often", "0/hour", "10/0minute", "-1/hour", "1.5/hour", "10/month", "\u0661/hour"]
)
def test_an_invalid_rate_is_refused(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        rates.parse(text)


def test_rates_are_stored_in_canonical_form():
    given = [rates.parse(text) for text in ("1000/hour", "10/s", "60/minute", "10/second")]
    assert rates.join(given) == "10/second 60/minute 1000/hour"
    assert rates.parse_all("10/second 1000/hour")[1].seconds == 3600
