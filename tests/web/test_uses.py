"""The page of a key says what it used, narrows it to that, and undoes it."""

import pytest
from django.urls import reverse

from apikeys import lifecycle, usage
from apikeys.models import AuditEvent
from tests.factories import mint_key, mint_pat
from tests.lifecycle.test_narrowing import SCOPES, aged, used
from tests.web.conftest import KEYS, TOKENS, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[TOKENS, KEYS], ids=["token", "project-key"])
def key(request, ada, engine):
    used(mint_pat().key, "reports:read", days=365)
    is_token = request.param == TOKENS
    minted = mint_pat(ada, scopes=SCOPES) if is_token else mint_key(engine, scopes=SCOPES)
    minted.key.url = f"{request.param}{minted.key.public_id}/"
    return aged(minted.key, 200)


def logged_in_long_ago(client):
    session = client.session
    session["apikeys_logged_in_at"] = 0
    session.save()


def test_page_says_what_was_used(page, key):
    used(key, "reports:read", days=3, requests=1200)
    used(key, "payments:write", days=120)
    text = text_of(page.get(key.url))
    assert "Permissions granted: 3, used in the last 90 days: 1." in text
    assert "last used 3 days ago , 1,200 requests" in text
    assert "not used in 90 days, last 120 days ago" in text
    assert "never used" in text
    assert "Keep only what it used" in text


def test_page_of_a_young_key_counts_from_its_creation(page, key):
    aged(key, 30)
    used(key, "reports:read")
    text = text_of(page.get(key.url))
    assert "Permissions granted: 3, used since its creation on" in text


def test_page_of_an_unused_key_advises_to_revoke_it(page, key):
    text = text_of(page.get(key.url))
    assert "Permissions granted: 3, used in the last 90 days: 0. Revoke or pause it" in text
    assert "Keep only" not in text
    assert page.get(f"{key.url}keep-used/").status_code == 302
    response = page.post(f"{key.url}keep-used/", {"shown": "|"})
    assert response.status_code == 422
    assert "used none of its permissions." in text_of(response)
    key.refresh_from_db()
    assert set(key.scopes) == set(SCOPES)


def narrow(page, key):
    shown = page.get(f"{key.url}keep-used/").context["uses"].mark
    return page.post(f"{key.url}keep-used/", {"shown": shown})


@pytest.mark.slow
def test_preview_confirmation_and_undo(page, key):
    used(key, "payments:read")
    logged_in_long_ago(page)  # less access needs no new log-in
    text = text_of(page.get(f"{key.url}keep-used/"))
    assert "it only read, so it keeps no permission to write" in text
    assert "may not have run" in text
    assert narrow(page, key).status_code == 302
    key.refresh_from_db()
    assert key.scopes == ("payments:read",)
    assert "You can undo this until" in text_of(page.get(key.url))
    activity = page.get(key.url.replace(f"{key.public_id}/", "activity/"))
    assert "was narrowed to what it used." in text_of(activity)


def test_undo_needs_a_recent_log_in(page, key):
    used(key, "payments:read")
    narrow(page, key)
    logged_in_long_ago(page)
    for response in (page.get(f"{key.url}undo/"), page.post(f"{key.url}undo/")):
        assert response.status_code == 302
        assert "/confirm/" in response["Location"]
    key.refresh_from_db()
    assert key.scopes == ("payments:read",)


@pytest.mark.slow
def test_undo_restores_what_was_removed(page, key, ada):
    used(key, "payments:read")
    narrow(page, key)
    assert "keys:read" in text_of(page.get(f"{key.url}undo/"))
    assert page.post(f"{key.url}undo/").status_code == 302
    key.refresh_from_db()
    assert set(key.scopes) == set(SCOPES)
    assert AuditEvent.objects.filter(event="edited").first().by == ada.username
    assert page.get(f"{key.url}undo/").status_code == 302
    assert page.post(f"{key.url}undo/").status_code == 409


def test_a_use_after_the_preview_is_shown_first(page, key):
    used(key, "payments:read")
    shown = page.get(f"{key.url}keep-used/").context["uses"].mark
    used(key, "keys:read")
    response = page.post(f"{key.url}keep-used/", {"shown": shown})
    assert response.status_code == 422
    assert "have changed since you opened the page" in text_of(response)
    assert page.post(f"{key.url}keep-used/").status_code == 422
    key.refresh_from_db()
    assert set(key.scopes) == set(SCOPES)


@pytest.mark.parametrize("name", ["keep-used", "undo"])
def test_a_viewer_sees_uses_but_changes_nothing(client, viewer, engine, name):
    used(mint_pat().key, "reports:read", days=365)
    key = aged(mint_key(engine, scopes=SCOPES).key, 200)
    used(key, "reports:read")
    url = f"{KEYS}{key.public_id}/"
    client.force_login(viewer)
    text = text_of(client.get(url))
    assert "used in the last 90 days: 1." in text
    assert "Keep only" not in text
    for method in (client.get, client.post):
        assert method(f"{url}{name}/").status_code == 403
    key.refresh_from_db()
    assert set(key.scopes) == set(SCOPES)


@pytest.mark.parametrize("name", ["keep-used", "undo"])
def test_keys_of_others_do_not_exist(page, name):
    other = mint_pat(scopes=SCOPES).key
    for method in (page.get, page.post):
        assert method(f"{TOKENS}{other.public_id}/{name}/").status_code == 404


def test_pages_of_a_revoked_key_change_nothing(page, key):
    used(key, "reports:read")
    lifecycle.revoke(key)
    assert page.get(f"{key.url}keep-used/").status_code == 302
    assert page.post(f"{key.url}keep-used/", {"shown": "reports:read|"}).status_code == 409
    assert page.post(f"{key.url}undo/").status_code == 409


COUNTS = "A request that needs no permission counts as a use of the"


@pytest.mark.slow
def test_use_without_a_permission_does_not_contradict_the_permissions(page, key):
    aged(key, 2)
    assert COUNTS not in text_of(page.get(key.url))
    usage.note_use(type(key), key.pk, "203.0.113.7")
    usage.flush()
    text = text_of(page.get(key.url))
    assert "never used" in text
    noun = "token" if key.url.startswith(f"{TOKENS}{key.public_id}") else "key"
    assert f"{COUNTS} {noun}, but not of a permission." in text
    used(key, "reports:read", days=0)
    assert COUNTS not in text_of(page.get(key.url))


def test_test_on_the_page_of_the_secret_needs_no_permission(page, client, ada):
    used(mint_pat().key, "reports:read", days=365)
    minted = mint_pat(ada, scopes=SCOPES)
    url = reverse("apikeys-token")
    assert client.get(url, headers={"Authorization": f"Bearer {minted.token}"}).status_code == 200
    usage.flush()
    text = text_of(page.get(f"{TOKENS}{minted.key.public_id}/"))
    assert "Last used just now" in text
    assert f"{COUNTS} token" in text


@pytest.mark.parametrize("is_rejected", [False, True], ids=["pending", "rejected"])
def test_what_was_never_approved_was_requested_and_not_granted(page, ada, engine, is_rejected):
    used(mint_pat().key, "reports:read", days=365)
    for url, minted in ((TOKENS, mint_pat(ada, scopes=SCOPES)), (KEYS, mint_key(engine))):
        key = aged(minted.key, 30)
        type(key).objects.filter(pk=key.pk).update(is_pending=True)
        key.refresh_from_db()
        if is_rejected:
            lifecycle.reject(key, by=ada)
        text = text_of(page.get(f"{url}{key.public_id}/"))
        assert f"Permissions requested: {len(key.scopes)}." in text
        assert "granted" not in text
        assert "if nothing needs it" not in text
