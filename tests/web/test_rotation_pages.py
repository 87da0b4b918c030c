"""The pages of a rotated key and of its successor say whether the old secret is used."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, live
from tests.factories import mint_key, mint_pat
from tests.lifecycle.test_narrowing import used
from tests.web.conftest import KEYS, TOKENS, text_of

pytestmark = pytest.mark.django_db


@pytest.fixture(params=[TOKENS, KEYS], ids=["token", "project-key"])
def pair(request, ada, engine):
    """A rotated key and its successor, and the URLs of both pages."""
    minted = mint_pat(ada) if request.param == TOKENS else mint_key(engine)
    old = minted.key
    new = lifecycle.rotate(old, by=ada, overlap=timedelta(hours=24)).key
    for key in (old, new):
        key.url = f"{request.param}{key.public_id}/"
    return old, new


def use(key, at, ip="203.0.113.7"):
    type(key).objects.filter(pk=key.pk).update(
        last_used_at=at, last_used_on=at.date(), last_used_ip=ip
    )


def rotated(key, ago):
    at = timezone.now() - ago
    type(key).objects.filter(pk=key.pk).update(rotated_at=at)


def test_old_secret_used_after_the_rotation_is_named_on_both_pages(page, pair):
    old, _new = pair
    rotated(old, timedelta(hours=2))
    use(old, timezone.now() - timedelta(minutes=5, seconds=1))
    for key, which in zip(pair, ("This one", "The old one"), strict=True):
        text = text_of(page.get(key.url))
        assert f"{which} was last used 5 minutes ago from 203.0.113.7 , after the rotation." in text
        assert "has not been used since the rotation." not in text


def test_old_secret_without_an_address_is_named_too(page, pair):
    old, new = pair
    rotated(old, timedelta(hours=2))
    use(old, timezone.now() - timedelta(minutes=5, seconds=1), ip=None)
    for key, which in zip((old, new), ("This one", "The old one"), strict=True):
        text = text_of(page.get(key.url))
        assert f"{which} was last used 5 minutes ago , after the rotation." in text


@pytest.mark.parametrize("is_used", [True, False], ids=["used-before", "never"])
def test_old_secret_unused_since_the_rotation_is_named_on_both_pages(page, pair, is_used):
    old, _new = pair
    if is_used:
        use(old, timezone.now() - timedelta(hours=1))
    for key, which in zip(pair, ("This one", "The old one"), strict=True):
        text = text_of(page.get(key.url))
        assert f"{which} has not been used since the rotation." in text
        assert "after the rotation" not in text


def test_ended_predecessor_is_not_mentioned(page, pair):
    old, _new = pair
    lifecycle.revoke(old)
    for key in pair:
        assert "since the rotation" not in text_of(page.get(key.url))


@pytest.mark.slow
def test_use_with_the_key_that_was_replaced_is_called_so(page, ada):
    old = mint_pat(ada, scopes=["payments:read", "reports:read"]).key
    used(old, "payments:read", days=0)
    new = lifecycle.rotate(old, by=ada).key
    url = f"{TOKENS}{new.public_id}/"
    assert ", 3 requests, with the token it replaced" in text_of(page.get(url))
    assert "never used" in text_of(page.get(url))
    used(new, "payments:read", days=0, requests=2)
    text = text_of(page.get(url))
    assert ", 5 requests, some with the token it replaced" in text


def test_use_of_a_key_that_replaced_none_is_its_own(page, ada, engine):
    key = mint_key(engine).key
    used(key, "payments:read", days=0)
    text = text_of(page.get(f"{KEYS}{key.public_id}/"))
    assert ", 3 requests" in text
    assert "it replaced" not in text


def test_history_and_title_use_one_word(page, pair):
    _old, new = pair
    html = page.get(new.url).content.decode()
    history = html[html.index("<ol") :]
    assert history.count("being replaced") == 1
    assert history.count(">active<") == 1


@pytest.mark.parametrize("place", ["rotate/", "edit/"])
def test_form_of_a_key_without_an_expiry_offers_that_once(page, ada, place):
    key = mint_pat(ada, expires_at=None).key
    text = text_of(page.get(f"{TOKENS}{key.public_id}/{place}"))
    assert text.count("No expiry") == 1
    assert "Keep no expiry" not in text
    asked = {"overlap": "0", "expiry": "keep", "name": "ci", "scopes:payments": "payments:read"}
    page.post(f"{TOKENS}{key.public_id}/{place}", asked | {"reach": "all"})
    ends = PersonalAccessToken.objects.filter(live()).values_list("expires_at", flat=True)
    assert set(ends) == {None}


def test_expired_key_says_when_it_expired(page, ada):
    key = mint_pat(ada).key
    ended = timezone.now() - timedelta(hours=21, minutes=1)
    PersonalAccessToken.objects.filter(pk=key.pk).update(expires_at=ended)
    text = text_of(page.get(f"{TOKENS}{key.public_id}/"))
    assert "Expired " in text
    assert "21 hours ago )" in text
    assert "Expires " not in text


def test_revoked_key_whose_expiry_has_passed_does_not_count_down(page, ada):
    key = mint_pat(ada).key
    lifecycle.revoke(key)
    PersonalAccessToken.objects.filter(pk=key.pk).update(
        expires_at=timezone.now() - timedelta(days=3)
    )
    text = text_of(page.get(f"{TOKENS}{key.public_id}/"))
    assert "in 0" not in text


def test_rotation_page_says_that_the_old_secret_expires_before_the_longest_overlap(page, pair):
    _old, new = pair
    sentence = "stops working then at the latest."
    assert sentence not in text_of(page.get(f"{new.url}rotate/"))
    ends = timezone.now() + timedelta(days=5)
    type(new).objects.filter(pk=new.pk).update(expires_at=ends)
    assert sentence in text_of(page.get(f"{new.url}rotate/"))


def test_rotate_form_says_that_the_expiry_is_that_of_the_new_one(page, ada, engine):
    for url, key, noun in (
        (TOKENS, mint_pat(ada).key, "token"),
        (KEYS, mint_key(engine).key, "key"),
    ):
        html = page.get(f"{url}{key.public_id}/rotate/").content.decode()
        legends = re.findall(r"<legend>([^<]*)</legend>", html)
        assert legends == ["The old one stops working", f"New {noun} expires"]


@pytest.mark.slow
def test_page_of_the_new_one_offers_to_end_an_unused_old_one(page, client, viewer, pair):
    old, new = pair
    link = f'<a href="{old.url}revoke/">Revoke the old one now</a>'
    assert link not in page.get(new.url).content.decode()  # too early to say
    type(old).objects.filter(pk=old.pk).update(rotated_at=timezone.now() - timedelta(hours=1))
    assert link in page.get(new.url).content.decode()
    use(old, timezone.now())
    assert "Revoke the old one now" not in page.get(new.url).content.decode()
    use(old, timezone.now() - timedelta(days=1))
    assert link in page.get(new.url).content.decode()
    if KEYS in new.url:
        client.force_login(viewer)
        assert "Revoke the old one now" not in client.get(new.url).content.decode()
