"""The settings pages name the keys that were created with a key, and end with it."""

from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import grants, lifecycle, usage
from apikeys.lifecycle import descendants
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

SCOPES = ["payments:read", "keys:write"]


@pytest.fixture
def parent(place, ada, engine):
    """A key of each kind that may create others."""
    if place.model is PersonalAccessToken:
        return mint_pat(ada, name="Parent", scopes=SCOPES)
    return mint_key(engine, name="Parent", scopes=SCOPES, by=ada)


@pytest.fixture
def create(ada, engine):
    """Return a function that creates keys with a key over the API, of the kind of ``maker``."""

    def create(maker, *names, project=None):
        using = verify(maker.token)
        common = {"expires_at": timezone.now() + timedelta(days=1), "scopes": ["payments:read"]}
        if project is not None or using.user is None:
            place = project or engine
            within = grants.for_project(place, using=using)
            return [mint_key(place, name=n, by=using.user, within=within, **common) for n in names]
        within = grants.for_tokens(ada, using)
        return [mint_pat(ada, name=n, within=within, **common) for n in names]

    return create


@pytest.mark.slow
def test_the_confirmation_and_the_message_name_what_ends_too(page, place, parent, create):
    made = create(parent, "deploy", "backup")
    url = f"{place.url}{parent.key.public_id}/revoke/"
    text = text_of(page.get(url))
    assert "eys that were created with it over the API are revoked too: backup , deploy" in text
    for each in made:
        assert f'href="{place.url}{each.key.public_id}/"' in page.get(url).content.decode()
    done = text_of(page.post(url, follow=True))
    nouns = "tokens" if place.model is PersonalAccessToken else "keys"
    assert f"Revoked “Parent”, and 2 {nouns} that were created with it." in done
    for each in made:
        each.key.refresh_from_db()
        assert each.key.revoked_at is not None


@pytest.mark.slow
def test_what_ends_has_another_kind(page, ada, engine, create):
    parent = mint_pat(ada, name="Parent", scopes=SCOPES)
    create(parent, "deploy", project=engine)
    url = f"{TOKENS}{parent.key.public_id}/"
    for path in (url, f"{url}revoke/"):
        assert f"deploy ({engine})" in text_of(page.get(path))
    create(parent, "laptop")
    done = text_of(page.post(f"{url}revoke/", follow=True))
    assert "Revoked “Parent”, and 2 tokens and keys that were created with it." in done


@pytest.mark.slow
def test_nothing_is_said_without_such_keys(page, place, parent, create):
    (made,) = create(parent, "deploy")
    lifecycle.revoke(made.key)
    url = f"{place.url}{parent.key.public_id}/"
    assert "reated with it" not in text_of(page.get(url))
    assert "created with it" not in text_of(page.get(f"{url}revoke/"))
    done = text_of(page.post(f"{url}revoke/", follow=True))
    assert "Revoked “Parent”." in done


def test_a_key_revoked_twice_ends_nothing_more(page, place, parent, create):
    create(parent, "deploy")
    lifecycle.revoke(parent.key)
    url = f"{place.url}{parent.key.public_id}/revoke/"
    assert "Revoked “Parent”." in text_of(page.post(url, follow=True))


@pytest.mark.slow
def test_keys_of_revoked_successors_are_counted_once(page, place, parent, create, ada):
    create(parent, "deploy")
    new = lifecycle.rotate(parent.key, by=ada)
    create(new, "backup")
    url = f"{place.url}{parent.key.public_id}/revoke/"
    done = text_of(page.post(url, {"also": "on"}, follow=True))
    assert "Revoked “Parent”, and 2 " in done


@pytest.mark.slow
def test_the_page_links_the_newest_twenty(page, place, parent, create):
    names = [f"job-{n:02}" for n in range(22)]
    made = create(parent, *names)
    for path in ("", "revoke/"):
        response = page.get(f"{place.url}{parent.key.public_id}/{path}")
        text = text_of(response)
        assert "job-02 and 2 more" in text
        assert "job-01" not in text
        shown = [each.key.public_id in response.content.decode() for each in made]
        assert shown == [False] * 2 + [True] * 20


@pytest.mark.slow
def test_the_number_of_queries_does_not_grow(page, place, parent, create):
    counts = []
    for names in (["a"], ["b", "c", "d", "e"]):
        create(parent, *names)
        for path in ("", "revoke/"):
            with CaptureQueriesContext(connection) as queries:
                page.get(f"{place.url}{parent.key.public_id}/{path}")
            counts.append(len(queries))
    assert counts[:2] == counts[2:]


@pytest.mark.parametrize("is_off", [False, True], ids=["no member", "no project keys"])
def test_what_the_user_may_not_open_is_shown_by_its_id(page, ada, create, settings, is_off):
    other = MembershipFactory(user=ada, role="owner", project__name="Secret plan")
    parent = mint_pat(ada, name="Parent", scopes=SCOPES)
    (made,) = create(parent, "deploy", project=other.project)
    if is_off:
        settings.APIKEYS = settings.APIKEYS | {"PROJECT_KEYS": False}
    else:
        other.delete()
    for path, said in (("", "Created with it"), ("revoke/", "over the API are revoked too:")):
        response = page.get(f"{TOKENS}{parent.key.public_id}/{path}")
        text = text_of(response)
        assert f"{said} {made.key.public_id}" in text
        assert "deploy" not in text
        assert "Secret plan" not in text
        assert f"{made.key.public_id}/" not in response.content.decode()


def test_a_viewer_sees_what_was_created(client, viewer, engine, ada, create):
    parent = mint_key(engine, name="Parent", scopes=SCOPES, by=ada)
    (made,) = create(parent, "deploy")
    client.force_login(viewer)
    response = client.get(f"{KEYS}{parent.key.public_id}/")
    assert "Created with it deploy" in text_of(response)
    assert f'href="{KEYS}{made.key.public_id}/"' in response.content.decode()


def test_a_key_names_the_key_that_created_it(page, engine, ada, create):
    parent = mint_key(engine, name="Parent", scopes=SCOPES, by=ada)
    (made,) = create(parent, "deploy")
    text = text_of(page.get(f"{KEYS}{made.key.public_id}/"))
    assert f", over the API with {parent.key.public_id}" in text
    assert "the site" not in text
    listed = text_of(page.get(KEYS))
    assert f"Created by {parent.key.public_id}" in listed


@pytest.mark.slow
def test_revoking_one_selected_key_names_what_ends_too(page, place, parent, create):
    made = create(parent, "deploy", "backup")
    lifecycle.revoke(create(parent, "gone")[0].key)
    asked = page.post(f"{place.url}revoke/", {"id": parent.key.public_id})
    text = text_of(asked)
    assert "eys that were created with it over the API are revoked too: backup , deploy" in text
    assert "gone" not in text
    for each in made:
        assert f'href="{place.url}{each.key.public_id}/"' in asked.content.decode()
    data = {"ids": parent.key.public_id, "confirm": "yes"}
    done = text_of(page.post(f"{place.url}revoke/", data, follow=True))
    nouns = "tokens" if place.model is PersonalAccessToken else "keys"
    assert f"Revoked “Parent”, and 2 {nouns} that were created with it." in done


def test_revoking_one_selected_key_without_others_names_none(page, place, parent):
    text = text_of(page.post(f"{place.url}revoke/", {"id": parent.key.public_id}))
    assert "created with" not in text
    data = {"ids": parent.key.public_id, "confirm": "yes"}
    assert "Revoked “Parent”." in text_of(page.post(f"{place.url}revoke/", data, follow=True))


def test_revoking_several_names_what_ends_with_any_but_not_the_selected(
    page, place, parent, create, ada, engine
):
    (deploy,) = create(parent, "deploy")
    create(parent, "below")
    ids = [parent.key.public_id, deploy.key.public_id]
    text = text_of(page.post(f"{place.url}revoke/", {"id": ids}))
    assert "eys that were created with them over the API are revoked too: below" in text
    assert text.count("deploy") == 1  # in the list of the selected


def test_revoking_several_names_and_ends_the_predecessor_that_one_of_them_created(
    page, place, parent, create, ada
):
    (old,) = create(parent, "before rotation")
    new = lifecycle.rotate(old.key, by=ada)
    lifecycle.edit(new.key, name="after rotation", by=ada)
    ids = [parent.key.public_id, new.key.public_id]
    text = text_of(page.post(f"{place.url}revoke/", {"id": ids}))
    assert "created with them over the API are revoked too: before rotation" in text
    page.post(f"{place.url}revoke/", {"ids": " ".join(ids), "confirm": "yes"})
    for each in (parent, old, new):
        with pytest.raises(Refused):
            verify(each.token)


@pytest.mark.slow
def test_revoking_unused_keys_of_both_kinds_names_all_that_ends(page, ada, engine, create):
    parent, old = mint_pat(ada, scopes=SCOPES), mint_key(engine, scopes=SCOPES, by=ada)
    create(old, "of the old one")
    within = grants.for_project(engine, using=verify(parent.token))
    new = lifecycle.rotate(old.key, by=ada, within=within)  # so it ends with the parent
    usage.flush()
    ids = [parent.key.public_id, new.key.public_id]
    for model in (PersonalAccessToken, ProjectKey):
        model.objects.filter(public_id__in=ids).update(
            created_at=timezone.now() - timedelta(days=100), last_used_at=None, last_used_on=None
        )
    other = mint_pat()
    usage.note_use(PersonalAccessToken, other.key.pk, "203.0.113.7")  # the site records uses
    usage.flush()
    text = text_of(page.post(f"{TOKENS}unused/revoke/", {"id": ids}))
    assert "are revoked too: of the old one" in text
    assert "and 1 more" not in text
    data = {"ids": " ".join(ids), "confirm": "yes", "reason": "Unused."}
    done = text_of(page.post(f"{TOKENS}unused/revoke/", data, follow=True))
    assert "was not revoked" not in done
    new.key.refresh_from_db()
    assert new.key.revoked_reason == "Unused."
    ended = ProjectKey.objects.exclude(revoked_at=None)
    assert {key.name for key in ended} == {new.key.name, "of the old one"}


def test_revoking_unused_names_what_ends_too(page, place, parent, create):
    create(parent, "deploy")
    usage.flush()
    old = timezone.now() - timedelta(days=100)
    never = {"last_used_at": None, "last_used_on": None}
    place.model.objects.filter(pk=parent.key.pk).update(created_at=old, **never)
    other = mint_pat()
    usage.note_use(PersonalAccessToken, other.key.pk, "203.0.113.7")  # the site records uses
    usage.flush()
    text = text_of(page.post(f"{TOKENS}unused/revoke/", {"id": parent.key.public_id}))
    assert "are revoked too: deploy" in text


def test_bulk_confirmation_takes_as_many_queries_for_many_created_keys(page, place, parent, create):
    counts = []
    for names in (["a"], ["b", "c", "d", "e"]):
        create(parent, *names)
        with CaptureQueriesContext(connection) as queries:
            page.post(f"{place.url}revoke/", {"id": parent.key.public_id})
        counts.append(len(queries))
    assert counts[0] == counts[1]


@pytest.mark.slow
@pytest.mark.parametrize("many", [0, 500])
def test_what_ends_is_found_in_long_lineages_too(
    page, place, parent, create, ada, monkeypatch, many
):
    monkeypatch.setattr("apikeys.lifecycle.descendants._MANY", many)
    if place.model is PersonalAccessToken:
        below = mint_pat(
            ada,
            name="below",
            scopes=SCOPES,
            expires_at=timezone.now() + timedelta(days=2),
            within=grants.for_tokens(ada, verify(parent.token)),
        )
    else:
        below = mint_key(
            parent.key.project,
            name="below",
            scopes=SCOPES,
            by=ada,
            expires_at=timezone.now() + timedelta(days=2),
            within=grants.for_project(parent.key.project, using=verify(parent.token)),
        )
    create(below, "deeper")
    old = lifecycle.rotate(below.key, by=ada)  # a successor belongs to it
    create(old, "deepest")
    # Of other lineages, as a rotation with another credential leaves them.
    place.model.objects.filter(name="deepest").update(lineage="")
    place.model.objects.filter(name="deeper").update(lineage="a" * 16)
    new = lifecycle.rotate(parent.key, by=ada).key
    create(mint_pat(ada, name="other", scopes=SCOPES), "stray")
    for public_id in (parent.key.public_id, new.public_id):
        text = text_of(page.get(f"{place.url}{public_id}/revoke/"))
        for name in ("deeper", "deepest"):
            assert name in text
        assert text.count("below") == 2  # and its successor
        assert "stray" not in text


def test_revocation_walks_the_lineage_once(page, place, parent, create, monkeypatch):
    walks = []
    linked = descendants._linked
    monkeypatch.setattr(descendants, "_linked", lambda *args: walks.append(1) or linked(*args))
    create(parent, "deploy")
    page.post(f"{place.url}{parent.key.public_id}/revoke/")
    assert len(walks) == 2  # the second round finds nothing more
