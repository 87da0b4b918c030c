import re

import pytest

from apikeys import rates


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
def test_what_is_meant(text, stored):
    assert str(rates.parse(text)) == stored
    assert str(rates.parse(stored)) == stored


@pytest.mark.parametrize(
    "text", ["", "often", "0/hour", "10/0minute", "-1/hour", "1.5/hour", "10/month", "\u0661/hour"]
)
def test_what_is_no_rate(text):
    with pytest.raises(ValueError, match=f"^{re.escape(text)}$"):
        rates.parse(text)


def test_how_they_are_stored():
    given = [rates.parse(text) for text in ("1000/hour", "10/s", "60/minute", "10/second")]
    assert rates.join(given) == "10/second 60/minute 1000/hour"
    assert rates.parse_all("10/second 1000/hour")[1].seconds == 3600
