"""A key that replaces an ended one is linked with it, and with nothing else."""

import re
from datetime import timedelta

import pytest
from django.core import mail
from django.test import Client
from django.utils import timezone

from apikeys import leaks, lifecycle, usage
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.retention import ended_keys, prune_keys
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.threads import at_once
from tests.web.conftest import open_form, secret_of, text_of

DAY = timedelta(days=1)


@pytest.fixture
def make(place, ada, engine):
    """Create a key of the owner of the pages."""

    def create(**terms):
        if place.model is PersonalAccessToken:
            return mint_pat(ada, **{"name": "server"} | terms)
        return mint_key(engine, **terms)

    return create


def expire(key, ago=DAY):
    type(key).objects.filter(pk=key.pk).update(expires_at=timezone.now() - ago)
    return fresh(key)


def fresh(key):
    return type(key).objects.get(pk=key.pk)


@pytest.fixture
def expired(make):
    return expire(make().key)


def link(page, place, key):
    """Return the hidden field of the form that *Create a replacement* opens."""
    html = page.get(f"{place.url}new/?from={key.public_id}").content.decode()
    return re.findall(r'<input type="hidden" name="replaces" value="([^"]*)"', html)


def replace(page, place, public_id, **changes):
    form = place.form | open_form(page, place.url) | {"replaces": public_id} | changes
    return page.post(f"{place.url}new/", form)


def newest(place):
    return place.model.objects.order_by("-pk").first()


@pytest.mark.slow
@pytest.mark.parametrize("how", ["expired", "revoked"])
def test_old_and_new_key_name_each_other(page, place, make, how):
    old = make().key
    if how == "expired":
        expire(old)
    else:
        lifecycle.revoke(old)
    assert link(page, place, old) == [old.public_id]

    response = replace(page, place, old.public_id)

    assert response.status_code == 200
    ended = "expired" if how == "expired" else "was revoked"
    assert re.search(rf"Its predecessor {old.public_id} {ended} [^.]*(ago|now)", text_of(response))
    assert "has stopped working" not in text_of(response)
    new = newest(place)
    page_of_old = page.get(f"{place.url}{old.public_id}/")
    assert f"Replaced by {new.public_id}" in text_of(page_of_old)
    assert f'href="{place.url}{new.public_id}/"' in page_of_old.content.decode()
    assert "Create a replacement" not in text_of(page_of_old)
    page_of_new = page.get(f"{place.url}{new.public_id}/")
    assert f"Replaces {old.public_id}" in text_of(page_of_new)
    assert f'href="{place.url}{old.public_id}/"' in page_of_new.content.decode()
    ended = text_of(page.get(place.url, {"state": "ended"}))
    assert f"Replaced by {new.public_id}" in ended
    assert "Create a replacement" not in ended
    event = AuditEvent.objects.get(public_id=new.public_id, event="minted")
    assert event.changes["replaces"] == old.public_id
    activity = text_of(page.get(f"{place.url}activity/?key={new.public_id}"))
    assert f"was created to replace {old.public_id}" in activity


@pytest.mark.slow
def test_notice_of_expired_keys_does_not_count_a_replaced_one(page, place, make, expired):
    other = expire(make(name="other").key)
    assert "2 " in (text := text_of(page.get(place.url)))
    assert "expired in the last 7 days" in text

    replace(page, place, expired.public_id)

    text = text_of(page.get(place.url))
    assert re.search(r"\bother expired [^.]*(ago|now)", text)
    assert "expired in the last 7 days" not in text
    listed = page.get(place.url, {"state": "expired", "expires": "past-7"})
    assert [row["key"] for row in listed.context["rows"]] == [other]


@pytest.mark.slow
def test_form_is_shown_again_with_the_link(page, place, expired):
    """After an error, in the review, when changed, and after the password is asked for again."""
    hidden = f'<input type="hidden" name="replaces" value="{expired.public_id}"'
    response = replace(page, place, expired.public_id, name="")
    assert response.status_code == 422
    assert hidden in response.content.decode()

    response = replace(page, place, expired.public_id, step="review")
    assert hidden in response.content.decode()
    assert f"Replaces server {expired.public_id}" in text_of(response)

    response = replace(page, place, expired.public_id, step="edit")
    assert hidden in response.content.decode()
    assert f"Replaces server {expired.public_id}" in text_of(response)


def test_link_survives_the_confirmation_of_the_password(page, place, expired, monkeypatch):
    form = place.form | open_form(page, place.url) | {"replaces": expired.public_id}
    with monkeypatch.context() as patch:
        patch.setattr("apikeys.web.sudo._is_recent", lambda moment: False)
        assert page.post(f"{place.url}new/", form).status_code == 302
    html = page.get(f"{place.url}new/").content.decode()
    assert f'<input type="hidden" name="replaces" value="{expired.public_id}"' in html


@pytest.mark.parametrize("kind", ["foreign", "active", "paused", "nonsense", "\0", "other kind"])
def test_key_is_created_without_a_link(page, place, make, ada, engine, kind):
    """With an ID that somebody typed into the form."""
    names = {"nonsense": "nonsense", "\0": "\0"}
    if kind == "foreign":
        names[kind] = expire((mint_pat() if place.model is PersonalAccessToken else mint_key()).key)
    elif kind == "other kind":
        is_token = place.model is PersonalAccessToken
        names[kind] = expire((mint_key(engine) if is_token else mint_pat(ada)).key)
    elif kind in ("active", "paused"):
        names[kind] = make().key
        if kind == "paused":
            lifecycle.pause(names[kind])
        assert link(page, place, names[kind]) != [names[kind].public_id]
    old = names[kind]

    response = replace(page, place, getattr(old, "public_id", old))

    assert response.status_code == 200
    new = newest(place)
    assert verify(secret_of(response)).credential_id == new.public_id
    assert new.replaces is None
    assert "replaces" not in AuditEvent.objects.get(public_id=new.public_id).changes
    if hasattr(old, "public_id"):
        assert old.public_id not in text_of(page.get(f"{place.url}{new.public_id}/"))
        assert fresh(old).successor is None


def test_user_who_may_no_longer_manage_the_keys_links_nothing(client, engine):
    member = MembershipFactory(project=engine, role="admin")
    old = expire(mint_key(engine).key)
    client.force_login(member.user)
    url = f"/settings/keys/projects/{engine.slug}/"
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read"}
    form |= open_form(client, url) | {"replaces": old.public_id}
    member.role = "viewer"
    member.save()

    assert client.post(f"{url}new/", form).status_code == 403
    assert ProjectKey.objects.get() == old


@pytest.mark.slow
@pytest.mark.parametrize("how", ["replaced", "rotated"])
def test_second_replacement_is_created_without_a_link(page, place, make, how):
    old = make().key
    if how == "rotated":
        first = lifecycle.rotate(old, overlap=timedelta(0)).key
    else:
        old = expire(old)
        replace(page, place, old.public_id)
        first = newest(place)
    assert link(page, place, old) == [""] or link(page, place, old) == []

    response = replace(page, place, old.public_id)

    assert response.status_code == 200
    assert newest(place) != first
    assert newest(place).replaces is None
    assert fresh(old).successor == first


@pytest.mark.slow
def test_activity_of_the_new_key_includes_the_key_that_it_replaced(page, place, expired):
    replace(page, place, expired.public_id)
    key = newest(place)
    url = f"{place.url}activity/"
    assert (
        f"?key={key.public_id}&amp;replaced=1"
        in page.get(url, {"key": key.public_id}).content.decode()
    )
    found = page.get(url, {"key": key.public_id, "replaced": "1"})
    shown = {event.public_id for event in found.context["page"].rows}
    assert shown == {key.public_id, expired.public_id}


def test_successor_of_a_deleted_rotation_is_created_without_a_link(page, place, make):
    """The old key was rotated: a link would make the new one a part of its rotation."""
    old = make().key
    lifecycle.rotate(old, overlap=timedelta(0)).key.delete()
    replace(page, place, old.public_id)
    assert newest(place).replaces is None


@pytest.mark.slow
@pytest.mark.django_db(transaction=True)
def test_one_of_two_forms_at_once_gets_the_link(page, place, expired):
    forms = [
        place.form | open_form(page, place.url) | {"replaces": expired.public_id} for _ in range(3)
    ]

    def send(form):
        client = Client()
        client.cookies = page.cookies
        return client.post(f"{place.url}new/", form).status_code

    assert at_once(*[lambda form=form: send(form) for form in forms]) == [200] * 3
    made = place.model.objects.exclude(pk=expired.pk)
    assert sorted(key.replaces_id or 0 for key in made) == [0, 0, expired.pk]


def test_link_that_is_lost_in_a_race_costs_the_user_nothing(
    page, place, make, expired, monkeypatch
):
    """The other form is saved after this one looked whether the old key has a successor."""
    from apikeys.lifecycle import minting

    check = minting._replaceable

    def slow(old, key):
        found = check(old, key)
        if found is not None and not place.model.objects.filter(replaces=found).exists():
            faster = make(name="faster").key
            place.model.objects.filter(pk=faster.pk).update(replaces=found)
        return found

    monkeypatch.setattr(minting, "_replaceable", slow)
    response = replace(page, place, expired.public_id)
    assert response.status_code == 200
    assert verify(secret_of(response))
    assert newest(place).name == "laptop"
    assert newest(place).replaces is None


def test_resubmitted_form_of_a_replacement_creates_no_second_key(page, place, expired):
    form = place.form | open_form(page, place.url) | {"replaces": expired.public_id}
    page.post(f"{place.url}new/", form)
    assert page.post(f"{place.url}new/", form).status_code == 409
    assert place.model.objects.count() == 2


class TestOldKeyDoesNotDecideAboutItsReplacement:
    """Whoever has the old secret never knew the new one."""

    @pytest.fixture
    def old(self, make):
        return make()

    @pytest.fixture
    def replaced(self, page, place, old):
        expire(old.key)
        response = replace(page, place, old.key.public_id)
        return newest(place), secret_of(response)

    def test_code_of_the_refusal_stays(self, old, replaced):
        with pytest.raises(Refused) as refused:
            verify(old.token)
        assert refused.value.refusal.code == "expired_key"

    def test_use_of_the_old_one_pauses_nothing(self, settings, make, page, place):
        """Not even if the old one had been rotated before."""
        settings.APIKEYS = settings.APIKEYS | {"PAUSE_SUCCESSOR": True}
        first = make()
        old = lifecycle.rotate(first.key, overlap=timedelta(0))
        expire(old.key)
        secret = secret_of(replace(page, place, old.key.public_id))
        for text in (first.token, old.token):
            with pytest.raises(Refused):
                verify(text)
        usage.flush()
        used = AuditEvent.objects.filter(event="used_after_end").values_list("public_id", flat=True)
        assert {*used} == {first.key.public_id, old.key.public_id}
        assert verify(secret)

    def test_mail_about_the_old_one_names_the_replacement(
        self, old, replaced, django_capture_on_commit_callbacks
    ):
        with pytest.raises(Refused):
            verify(old.token)
        with django_capture_on_commit_callbacks(execute=True):
            usage.flush()
        (sent,) = [each for each in mail.outbox if "after its end" in each.subject]
        assert f"Replaced by: laptop ({replaced[0].public_id})" in sent.body
        assert "revoke the successor" not in sent.body

    def test_leak_of_the_old_one_ends_nothing(self, old, replaced):
        report = leaks.report(old.token, source="a scanner")
        assert report.successors == ()
        assert verify(replaced[1])

    def test_end_of_the_key_that_created_the_old_one_ends_nothing(
        self, page, place, make, old, replaced
    ):
        maker = make(name="maker").key
        type(old.key).objects.filter(pk=old.key.pk).update(
            minted_with=maker.public_id, lineage=maker.public_id
        )
        lifecycle.revoke(maker)
        assert verify(replaced[1])
        assert fresh(replaced[0]).replaces == old.key

    def test_page_offers_to_end_only_the_new_one(self, page, place, old, replaced):
        text = text_of(page.get(f"{place.url}{replaced[0].public_id}/revoke/"))
        assert old.key.public_id not in text

    def test_old_one_is_pruned(self, page, place, old, replaced):
        """It is no link of a chain that a revocation must follow."""
        expire(old.key, ago=timedelta(days=400))
        type(old.key).objects.filter(pk=old.key.pk).update(minted_with="0123456789abcdef")
        until = timezone.now() - timedelta(days=365)
        assert ended_keys(until) == 1
        assert prune_keys(until) == 1
        assert fresh(replaced[0]).replaces is None
        assert page.get(f"{place.url}{replaced[0].public_id}/").status_code == 200

    def test_old_one_that_works_again_can_be_rotated(self, page, place, old, replaced):
        """The policy of the site may end keys early, and then change."""
        type(old.key).objects.filter(pk=old.key.pk).update(expires_at=timezone.now() + 9 * DAY)
        text = text_of(page.get(f"{place.url}{old.key.public_id}/"))
        assert "Both work until" not in text
        successor = lifecycle.rotate(fresh(old.key)).key
        assert fresh(old.key).successor == successor
        assert fresh(replaced[0]).replaces is None
        assert verify(replaced[1])


@pytest.mark.parametrize("how", ["replacement", "duplicate"])
def test_form_that_another_key_filled_in_offers_no_presets(page, place, make, settings, how):
    preset = {"name": "nightly", "scopes": ["reports:read"]}
    settings.APIKEYS = settings.APIKEYS | {"PRESETS": {"Nightly report": preset}}
    key = make().key
    if how == "replacement":
        expire(key)
    text = text_of(page.get(f"{place.url}new/?from={key.public_id}"))
    assert "Filled in from" in text
    assert "Nightly report" not in text
    assert "Nightly report" in text_of(page.get(f"{place.url}new/"))
