"""The addresses from which a key may be used; ``tests.limits.test_networks`` has more."""

import pytest

from apikeys.lifecycle import LifecycleError
from apikeys.restrictions import BY_NAME
from tests.factories import mint_key

NARROW = ["192.0.2.0/25"]
WIDER = ["192.0.2.0/24"]

networks = BY_NAME["allowed_networks"]


def refused_key():
    return mint_key(allowed_networks=["198.51.100.0/24"])


def test_networks_are_stored_in_order_each_once():
    assert networks.parse(["2001:db8::/32", "192.0.2.7", "192.0.2.7/32"]) == (
        "192.0.2.7/32 2001:db8::/32"
    )


@pytest.mark.parametrize("text", ["192.0.2.1/24", "somewhere", "", "1.2.3"])
def test_text_that_is_not_a_network_is_refused(text):
    with pytest.raises(LifecycleError) as error:
        networks.parse([text])

    assert (error.value.code, error.value.field) == ("invalid_network", "allowed_networks")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "203.0.113.1/24",
            "203.0.113.1/24 has host bits set. Did you mean 203.0.113.0/24?",
        ),
        ("2001:db8::1/32", "2001:db8::1/32 has host bits set. Did you mean 2001:db8::/32?"),
        (
            "::ffff:10.0.0.5/104",
            "::ffff:10.0.0.5/104 has host bits set. Did you mean 10.0.0.0/8?",
        ),
        ("203.0.113.1/33", "203.0.113.1/33 is not an IP range. Enter a range such as"),
    ],
)
def test_the_network_of_an_address_with_host_bits_is_suggested(text, message):
    with pytest.raises(LifecycleError) as error:
        networks.parse([text])

    assert error.value.message.startswith(message)


def test_all_wrong_ranges_are_named_and_only_the_first_ten():
    given = [f"192.0.{n}.1/24" for n in range(6)] + [f"x{n}" for n in range(6)]
    with pytest.raises(LifecycleError) as error:
        networks.parse(given)

    told = error.value.message
    assert "192.0.5.1/24 has host bits set. Did you mean 192.0.5.0/24? x0, x1, x2, x3 … are" in told
    assert "x4" not in told


def test_more_networks_than_a_key_may_have_are_refused():
    with pytest.raises(LifecycleError, match="at most 100"):
        networks.parse([f"192.0.{n}.0/24" for n in range(101)])


@pytest.mark.parametrize(
    ("bound", "value", "covered"),
    [
        ("192.0.2.0/24", "192.0.2.0/25", True),
        ("192.0.2.0/24", "192.0.2.0/25 198.51.100.0/24", False),
        ("192.0.2.0/24", "", False),
        ("", "192.0.2.0/24", True),
    ],
)
def test_networks_cover_those_within_them(bound, value, covered):
    assert networks.covers(bound, value) is covered


def test_pages_say_from_where_a_key_works():
    assert networks.sentence("192.0.2.0/24 2001:db8::/32") == (
        "Works only from 192.0.2.0/24, 2001:db8::/32."
    )
