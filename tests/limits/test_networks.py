"""Allowed IP ranges, and how the client's address is determined."""

import pytest
from django.core.management import call_command
from django.test import RequestFactory

from apikeys import audit, grants, lifecycle, policy, usage
from apikeys.checks import check_settings
from apikeys.lifecycle import LifecycleError
from apikeys.limits import networks
from apikeys.models import AuditEvent, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, bearer, mint_key, mint_pat, with_wrong_secret

INSIDE, OUTSIDE = "203.0.113.7", "198.51.100.7"


@pytest.fixture(autouse=True)
def nothing_noted(db):
    """Clear the recorded uses: keys of other tests had the same primary keys."""
    usage._pending.clear()


@pytest.fixture(params=[mint_pat, mint_key], ids=["pat", "key"])
def bound(request, db):
    return request.param(allowed_networks=["203.0.113.0/24", "2001:db8::/32"])


def asked(peer, forwarded=None, **headers):
    if forwarded is not None:
        headers["X-Forwarded-For"] = forwarded
    return RequestFactory().get("/", REMOTE_ADDR=peer, headers=headers)


def refusal(text, request):
    with pytest.raises(Refused) as info:
        verify(text, request)
    return info.value.refusal.code


@pytest.mark.parametrize("ip", [INSIDE, "2001:db8:ffff::1", "::ffff:203.0.113.7", "203.0.113.255"])
def test_an_address_inside_the_ranges_is_accepted(bound, ip, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert verify(bound.token, asked(ip)).credential_id == bound.key.public_id


@pytest.mark.parametrize(
    "ip", [OUTSIDE, "2001:db9::1", "::ffff:198.51.100.7", "203.0.114.1", "", "unix:", "not an ip"]
)
def test_an_address_outside_the_ranges_is_refused(bound, ip, django_assert_num_queries):
    with django_assert_num_queries(1):
        assert refusal(bound.token, asked(ip)) == "ip_not_allowed"


def test_without_a_request_it_fails_closed(bound):
    assert refusal(bound.token, None) == "ip_not_allowed"
    assert verify(mint_pat().token).kind


def test_a_wrong_secret_does_not_reveal_the_ranges(bound):
    assert refusal(with_wrong_secret(bound.token), asked(OUTSIDE)) == "invalid_key"


def test_a_wrong_address_gets_a_403(bound, client):
    answer = client.get("/api/token/", headers=bearer(bound.token), REMOTE_ADDR=OUTSIDE)
    assert answer.status_code == 403
    assert answer.json()["code"] == "ip_not_allowed"
    headers = bearer(bound.token)
    assert client.get("/api/token/", headers=headers, REMOTE_ADDR=INSIDE).status_code == 200


def test_a_spoofed_header_changes_nothing(bound, settings):
    for spoofed in (INSIDE, f"{INSIDE}, {INSIDE}", f"{OUTSIDE}, {INSIDE}"):
        assert refusal(bound.token, asked(OUTSIDE, spoofed)) == "ip_not_allowed"
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["10.0.0.0/8"]}
    for name in ("X-Forwarded-For", "X-Real-IP", "Forwarded", "Client-IP", "CF-Connecting-IP"):
        request = asked(OUTSIDE, **{name: INSIDE})
        assert refusal(bound.token, request) == "ip_not_allowed"


@pytest.mark.parametrize(
    ("peer", "forwarded", "client"),
    [
        ("10.0.0.1", INSIDE, INSIDE),
        ("10.0.0.1", f"{INSIDE}:4711", INSIDE),
        ("10.0.0.1", "[2001:db8::7]:4711", "2001:db8::7"),
        ("10.0.0.1", f"{OUTSIDE}, {INSIDE}, 10.2.0.1", INSIDE),
        ("::ffff:10.0.0.1", f" ::ffff:{INSIDE} ", INSIDE),
        # The client can only write entries on the left.
        ("10.0.0.1", f"{INSIDE}, {OUTSIDE}", OUTSIDE),
        ("10.0.0.1", f"{INSIDE}, 10.9.9.9, {OUTSIDE}", OUTSIDE),
        ("10.0.0.1", f"garbage, {OUTSIDE}", OUTSIDE),
        ("10.0.0.1", "10.3.0.1, 10.2.0.1", "10.3.0.1"),
        ("10.0.0.1", None, "10.0.0.1"),
        # An invalid entry of the proxy: the address is unknown, not the proxy's.
        ("10.0.0.1", f"{INSIDE}, garbage", None),
        ("10.0.0.1", f"{INSIDE},", None),
        ("10.0.0.1", "unknown", None),
        (OUTSIDE, INSIDE, OUTSIDE),
        ("", INSIDE, None),
    ],
)
def test_the_client_address_behind_proxies(settings, peer, forwarded, client):
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["10.0.0.0/8"]}
    assert networks.client_ip(asked(peer, forwarded)) == client


@pytest.mark.parametrize("proxies", [[], ["127.0.0.1"]])
def test_long_peers_do_not_fill_the_memory(settings, proxies):
    """Some servers set REMOTE_ADDR from a header of the client."""
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": proxies}
    networks._canonical.cache_clear()
    networks.parse_address.cache_clear()
    for number in range(5):
        peer = "a" * (10_000 + number)
        assert networks.client_ip(RequestFactory().get("/", REMOTE_ADDR=peer)) is None
    assert networks.parse_address.cache_info().currsize == 1


def test_a_unix_socket_is_trusted_if_listed(settings):
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": ["unix"]}
    assert networks.client_ip(asked("", INSIDE)) == INSIDE
    assert networks.client_ip(asked(OUTSIDE, INSIDE)) == OUTSIDE


def test_a_refusal_is_recorded_once_a_day_and_later(bound):
    for _ in range(3):
        refusal(bound.token, asked(OUTSIDE))
    usage.flush()
    refusal(bound.token, asked(OUTSIDE))
    usage.flush()

    events = AuditEvent.objects.filter(public_id=bound.key.public_id, event="refused_network")
    assert [event.ip for event in events] == [OUTSIDE]
    bound.key.refresh_from_db()
    assert bound.key.last_used_at is None


class Imposing(policy.Policy):
    def allowed_networks(self, owner):
        return ["203.0.113.0/24"]


def test_ranges_of_the_policy_apply_to_existing_keys(settings):
    minted, wider = mint_key(), mint_key(allowed_networks=["203.0.0.0/16"])
    settings.APIKEYS = settings.APIKEYS | {"POLICY": "tests.limits.test_networks.Imposing"}

    for each in (minted, wider):
        assert verify(each.token, asked(INSIDE)).kind
        assert refusal(each.token, asked("203.0.7.7")) == "ip_not_allowed"
    with pytest.raises(LifecycleError) as info:
        mint_key(allowed_networks=["198.51.100.0/24"])
    assert (info.value.code, info.value.field) == ("network_not_allowed", "allowed_networks")


def test_ranges_are_stored_in_canonical_form():
    given = ["2001:DB8::/32", "203.0.113.9", "::ffff:10.0.0.0/104", "203.0.113.9/32"]
    key = mint_key(allowed_networks=given).key
    assert key.allowed_networks == "10.0.0.0/8 203.0.113.9/32 2001:db8::/32"


@pytest.mark.parametrize(
    "text", ["203.0.113.7/24", "somewhere", "", "203.0.113.0/33", "0.0.0.0/-1"]
)
def test_an_invalid_range_is_refused(db, text):
    with pytest.raises(LifecycleError) as info:
        mint_key(allowed_networks=[text])
    assert (info.value.code, info.value.field) == ("invalid_network", "allowed_networks")
    assert not ProjectKey.objects.exists()


def test_too_many_ranges_are_refused(db):
    with pytest.raises(LifecycleError) as info:
        mint_key(allowed_networks=[f"10.0.{n}.0/24" for n in range(101)])
    assert info.value.code == "too_many_networks"


def test_an_edit_applies_to_the_next_request(bound):
    lifecycle.edit(bound.key, allowed_networks=[OUTSIDE])
    assert refusal(bound.token, asked(INSIDE)) == "ip_not_allowed"
    assert verify(bound.token, asked(OUTSIDE)).kind
    event = AuditEvent.objects.filter(event="edited").get()
    assert audit.record(event)["changes"]["allowed_networks"]["after"] == [f"{OUTSIDE}/32"]
    lifecycle.edit(bound.key, allowed_networks=[])
    assert verify(bound.token).kind


def test_a_successor_keeps_the_ranges(bound):
    assert refusal(lifecycle.rotate(bound.key).token, asked(OUTSIDE)) == "ip_not_allowed"


def test_a_restricted_key_cannot_create_an_unrestricted_one(db):
    ada = MembershipFactory(role="owner").user
    maker = mint_pat(
        ada, scopes=["keys:write", "payments:read"], allowed_networks=["203.0.113.0/24"]
    )
    within = grants.for_tokens(ada, verify(maker.token, asked(INSIDE)))

    inherits = mint_pat(ada, within=within).key
    narrower = mint_pat(ada, within=within, allowed_networks=["203.0.113.128/25"]).key
    assert inherits.allowed_networks == "203.0.113.0/24"
    assert narrower.allowed_networks == "203.0.113.128/25"
    for attempt in (
        lambda: mint_pat(ada, within=within, allowed_networks=["0.0.0.0/0"]),
        lambda: lifecycle.edit(narrower, allowed_networks=[], within=within),
        lambda: lifecycle.edit(maker.key, allowed_networks=[], within=within),
        lambda: lifecycle.rotate(mint_pat(ada).key, within=within),
    ):
        with pytest.raises(LifecycleError) as info:
            attempt()
        assert info.value.code == "network_not_grantable"
    assert lifecycle.edit(narrower, name="renamed", within=within)


def test_the_command_accepts_ranges(db, capsys):
    MembershipFactory(project__slug="engine")
    call_command(
        "apikeys", "mint", "--project", "engine", "--name", "server", "--scope", "payments:read",
        "--allow-network", "203.0.113.0/24", "--allow-network", "2001:db8::/32",
        "--rate-limit", "10/s", "--json",
    )  # fmt: skip
    key = ProjectKey.objects.get()
    assert key.allowed_networks == "203.0.113.0/24 2001:db8::/32"
    assert key.rate_limits == "10/second"


@pytest.mark.parametrize("value", ["10.0.0.0/8", ["10.0.0.1/8"], ["proxy"], [7], 7])
def test_invalid_trusted_proxies_are_reported(settings, value):
    settings.APIKEYS = settings.APIKEYS | {"TRUSTED_PROXIES": value}
    assert [message.id for message in check_settings()] == ["apikeys.E030"]
