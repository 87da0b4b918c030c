import pytest

from apikeys import lifecycle
from apikeys.models import AuditEvent, PersonalAccessToken
from tests.admin.conftest import TOKENS, mint_form
from tests.factories import mint_pat

EVENTS = "/admin/apikeys/auditevent/"


def test_actions_in_the_admin_are_logged_with_ip_address(root, client):
    response = client.post(f"{TOKENS}add/", mint_form(user=root.pk))
    assert response.status_code == 200, response.content
    event = AuditEvent.objects.get()
    assert (event.event, event.by, event.ip) == ("minted", "root", "127.0.0.1")


@pytest.mark.slow
def test_events_can_be_viewed(root, client):
    key = mint_pat(root).key
    lifecycle.revoke(key, by=root, reason="Lost.")
    event = AuditEvent.objects.get(event="revoked")
    page = client.get(f"{EVENTS}{event.pk}/change/").content.decode()

    assert "Lost." in page
    assert 'name="_save"' not in page
    assert key.public_id in client.get(f"{EVENTS}?q={key.public_id[:6]}").content.decode()
    for term in (f"acme_pat_{key.public_id}", f"ACME_PAT_{key.public_id.upper()}_"):
        assert key.public_id in client.get(EVENTS, {"q": term}).content.decode()
    assert client.get(f"{EVENTS}?event=minted").status_code == 200


def test_events_cannot_be_added_changed_or_deleted(root, client):
    event = AuditEvent.objects.get(public_id=mint_pat(root).key.public_id)
    assert client.get(f"{EVENTS}add/").status_code == 403
    assert client.post(f"{EVENTS}add/", {"event": "minted"}).status_code == 403
    assert client.post(f"{EVENTS}{event.pk}/change/", {"name": "forged"}).status_code == 403
    assert client.post(f"{EVENTS}{event.pk}/delete/", {"post": "yes"}).status_code == 403
    data = {"action": "delete_selected", "_selected_action": [event.pk], "post": "yes"}
    client.post(EVENTS, data)
    assert AuditEvent.objects.get().name == "ci"


def test_staff_without_permission_cannot_view_events(staff, client):
    client.force_login(staff("view"))
    assert client.get(EVENTS).status_code == 403


@pytest.mark.parametrize(
    ("bad", "told"),
    [
        (
            "203.0.113.7/24",
            "203.0.113.7/24 has host bits set. Did you mean 203.0.113.0/24?",
        ),
        ("x", "x is not an IP range"),
    ],
)
def test_ip_ranges_and_rate_limits_are_entered_in_the_admin(root, client, bad, told):
    bounds = {"allowed_networks": "203.0.113.0/24, 2001:db8::/32", "rate_limits": "10/s"}
    client.post(f"{TOKENS}add/", mint_form(user=root.pk, **bounds))
    key = PersonalAccessToken.objects.get()
    assert key.allowed_networks == "203.0.113.0/24 2001:db8::/32"
    assert key.rate_limits == "10/second"

    form = mint_form(rate_limits="10/second", allowed_networks=bad)
    refused = client.post(f"{TOKENS}{key.pk}/change/", form)
    assert told in refused.content.decode()
    form |= {"allowed_networks": "203.0.113.7"}
    client.post(f"{TOKENS}{key.pk}/change/", form)
    key.refresh_from_db()
    assert key.allowed_networks == "203.0.113.7/32"
    edited = AuditEvent.objects.get(event="edited")
    assert "rate_limits" not in edited.changes
