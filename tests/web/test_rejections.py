"""The owner of a rejected token or key reads who rejected it and why, for seven days."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.utils import timezone

from apikeys import lifecycle
from tests.factories import MembershipFactory, UserFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of


@pytest.fixture
def rejected(place, ada, engine):
    """Reject a new request of the place, some days ago."""

    def reject(name="Staging keys", days=1, reason="Too many permissions."):
        key = (mint_pat(ada, name=name) if place.url == TOKENS else mint_key(engine, name=name)).key
        place.model.objects.filter(pk=key.pk).update(is_pending=True)
        key.refresh_from_db()
        lifecycle.reject(key, by=UserFactory(username=f"boss of {name}"), reason=reason)
        ended = timezone.now() - timedelta(days=days, minutes=1)
        place.model.objects.filter(pk=key.pk).update(revoked_at=ended)
        return key

    return reject


def banners(response):
    found = re.findall(r'(?s)<p class="ak-notice ak-warn">(.*?)</p>', response.content.decode())
    return [" ".join(unescape(re.sub("<[^>]*>", "", each)).split()) for each in found]


def noun(place):
    return "token" if place.url == TOKENS else "key"


def test_list_names_a_rejected_request_with_its_reason(page, place, rejected):
    key = rejected()
    response = page.get(place.url)

    (told,) = banners(response)
    assert told == (
        "Staging keys was rejected 1 day ago by boss of Staging keys. "
        "Reason: Too many permissions. Create a replacement"
    )
    html = response.content.decode()
    assert f'href="{place.url}{key.public_id}/"' in html
    assert f'href="{place.url}new/?from={key.public_id}"' in html


@pytest.mark.slow
def test_list_counts_several_and_links_to_them(page, place, rejected):
    rejected("one")
    rejected("two")
    rejected("earlier", days=8)
    revoked = mint_pat(page.get(place.url).wsgi_request.user, name="revoked").key
    lifecycle.revoke(revoked)

    response = page.get(place.url)

    (told,) = banners(response)
    assert told.startswith(f"2 {noun(place)}s were rejected in the last 7 days.")
    assert f'href="{place.url}?state=rejected"' in response.content.decode()
    shown = page.get(place.url, {"state": "rejected"})
    assert [row["key"].name for row in shown.context["rows"]] == ["two", "one", "earlier"]


@pytest.mark.slow
def test_banner_ends_after_seven_days_or_with_a_replacement(page, place, rejected):
    key = rejected(days=8)
    assert banners(page.get(place.url)) == []
    place.model.objects.filter(pk=key.pk).update(revoked_at=timezone.now())
    assert len(banners(page.get(place.url))) == 1
    for state in ("ended", "all"):
        assert banners(page.get(place.url, {"state": state})) == []
    new = (mint_pat(key.user) if place.url == TOKENS else mint_key(key.project)).key
    place.model.objects.filter(pk=new.pk).update(replaces=key)
    assert banners(page.get(place.url)) == []


def test_requests_of_others_are_not_told(page, place, rejected):
    key = rejected()
    other = mint_pat().key.user if place.url == TOKENS else mint_key().key.project
    place.model.objects.filter(pk=key.pk).update(**{place.model.OWNER: other})
    assert banners(page.get(place.url)) == []


@pytest.mark.parametrize("place", [KEYS], indirect=True)
def test_viewer_is_told_but_offered_no_replacement(client, viewer, place, rejected):
    key = rejected()
    client.force_login(viewer)
    response = client.get(place.url)
    assert banners(response)[0].endswith("Reason: Too many permissions.")
    assert f"?from={key.public_id}" not in response.content.decode()


def test_row_and_page_give_the_reason(page, place, rejected):
    key = rejected()
    row = page.get(place.url, {"state": "ended"})
    assert "Reason: Too many permissions." in text_of(row)

    (told,) = banners(page.get(f"{place.url}{key.public_id}/"))
    assert told == (
        f"Rejected 1 day ago by boss of Staging keys. This {noun(place)} will never work. "
        "Reason: Too many permissions."
    )


def test_row_of_a_revoked_key_gives_the_reason(page, place, ada, engine):
    key = (mint_pat(ada) if place.url == TOKENS else mint_key(engine)).key
    lifecycle.revoke(key, reason="It was lost.")
    assert "Reason: It was lost." in text_of(page.get(place.url, {"state": "ended"}))


def test_rejected_key_of_a_deleted_user_has_no_name(page, place, rejected):
    key = rejected()
    place.model.objects.filter(pk=key.pk).update(revoked_by=None)
    assert banners(page.get(place.url))[0].startswith("Staging keys was rejected 1 day ago. Reason")
    told = banners(page.get(f"{place.url}{key.public_id}/"))[0]
    assert told.startswith("Rejected 1 day ago. This")


@pytest.fixture
def request_of_bob(engine):
    bob = MembershipFactory(user__username="bob", project=engine, role="viewer").user
    bob.email = "bob@example.com"
    bob.save()
    token = mint_pat(bob, name="desk", projects=[engine]).key
    type(token).objects.filter(pk=token.pk).update(is_pending=True)
    return token


def reject_form(response):
    html = response.content.decode()
    return " ".join(re.sub("<[^>]*>", "", re.search(r"(?s)ak-reject.*?</form>", html)[0]).split())


@pytest.mark.slow
def test_page_of_approvals_promises_the_mail_that_is_sent(
    page, request_of_bob, mailoutbox, settings, django_capture_on_commit_callbacks
):
    url, promise = f"{TOKENS}approvals/", "Its owner gets a mail."
    form = {"id": f"pat:{request_of_bob.public_id}", "decision": "reject"}
    assert promise in reject_form(page.get(url))
    asked = page.post(f"{url}decide/", form)
    assert "Owners get a mail." in text_of(asked)

    settings.APIKEYS = settings.APIKEYS | {"NOTICES": ["minted"]}
    assert promise not in reject_form(page.get(url))
    asked = page.post(f"{url}decide/", form)
    assert "get a mail" not in text_of(asked)
    settings.APIKEYS = {k: v for k, v in settings.APIKEYS.items() if k != "NOTICES"}
    mailoutbox.clear()
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.reject(request_of_bob, by=None, reason="No.")
    assert [mail.to for mail in mailoutbox] == [[request_of_bob.user.email]]


def test_own_request_promises_no_mail(page, ada, mailoutbox, django_capture_on_commit_callbacks):
    token = mint_pat(ada, name="mine").key
    type(token).objects.filter(pk=token.pk).update(is_pending=True)
    token.refresh_from_db()
    mailoutbox.clear()
    ada.is_superuser = True
    ada.save()
    assert "gets a mail" not in reject_form(page.get(f"{TOKENS}approvals/"))
    with django_capture_on_commit_callbacks(execute=True):
        lifecycle.reject(token, by=ada)
    assert mailoutbox == []


def test_page_of_a_key_names_who_gets_the_mail(page, engine):
    key = mint_key(engine, name="server").key
    type(key).objects.filter(pk=key.pk).update(is_pending=True)
    told = "The other managers of the project's keys get a mail."
    for url in (f"{TOKENS}approvals/", f"{KEYS}{key.public_id}/"):
        assert told in unescape(reject_form(page.get(url)))
