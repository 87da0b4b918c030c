"""The list of projects, and what users see who may not manage the keys of one."""

from datetime import timedelta

import pytest
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from tests.factories import MembershipFactory, ProjectFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

PROJECTS = f"{TOKENS}projects/"


@pytest.fixture
def several(ada, engine):
    for name, slug, role in (("zebra", "a-1", "viewer"), ("Compiler", "z-9", "admin")):
        MembershipFactory(user=ada, role=role, project__name=name, project__slug=slug)


def names(response):
    return [row["project"].name for row in response.context["rows"]]


def test_projects_are_sorted_by_name_with_role_and_number_of_keys(page, several, engine):
    mint_key(engine)
    lifecycle.revoke(mint_key(engine).key)
    response = page.get(PROJECTS)
    assert names(response) == ["Analytical Engine", "Compiler", "zebra"]
    told = text_of(response)
    assert "z-9 admin · 0 keys" in told
    assert "analytical-engine owner · 1 key" in told or "admin · 1 key" in told


def test_projects_count_the_keys_that_their_pages_list(page, engine):
    lifecycle.rotate(mint_key(engine).key, overlap=timedelta(hours=24))
    lifecycle.pause(mint_key(engine).key)
    assert page.get(KEYS).context["number"] == 3
    assert "analytical-engine owner · 3 keys" in text_of(page.get(PROJECTS))


def test_projects_are_searched(page, several):
    ProjectFactory(slug="compiler-of-others", name="Compiler of others")
    assert names(page.get(PROJECTS, {"q": "COMP"})) == ["Compiler"]
    assert names(page.get(PROJECTS, {"q": "a-1"})) == ["zebra"]
    response = page.get(PROJECTS, {"q": "nowhere"})
    assert "No project matches." in text_of(response)
    assert names(page.get(PROJECTS, {"q": "\0"})) == []


def test_many_projects_are_paged_by_name(page, ada):
    for n in range(40):
        MembershipFactory(user=ada, project__slug=f"p-{99 - n}", project__name=f"P {n:02}")
    first = page.get(PROJECTS)
    second = page.get(PROJECTS + first.context["page"].next)
    shown = [name for name in names(first) + names(second) if name.startswith("P ")]
    assert shown == [f"P {n:02}" for n in range(40)]


@pytest.mark.slow
def test_viewer_is_told_whom_to_ask(client, viewer, engine, ada):
    key = mint_key(engine, by=ada).key
    client.force_login(viewer)
    for url in (KEYS, f"{KEYS}{key.public_id}/"):
        assert "To create or change one, ask ada." in text_of(client.get(url))


def test_manager_is_not_told_whom_to_ask(page, engine):
    assert "ask ada" not in text_of(page.get(KEYS))


@pytest.mark.slow
def test_key_that_expires_soon_has_a_warning(page, place, ada, engine):
    end = timezone.now() + timedelta(days=2, minutes=1)
    is_token = place.model is PersonalAccessToken
    made = mint_pat(ada, expires_at=end) if is_token else mint_key(engine, expires_at=end)
    url = f"{place.url}{made.key.public_id}/"
    told = text_of(page.get(url)).replace(" .", ".")
    assert "Expires in 2 days. Requests are refused after that. Rotate it" in told
    new = lifecycle.rotate(made.key, by=ada, expires_at=None).key
    assert "Requests are refused after that" not in text_of(page.get(url))
    assert f'href="{place.url}{new.public_id}/"' in page.get(url).content.decode()
    newer = page.get(f"{place.url}{new.public_id}/").content.decode()
    assert newer.count(f'href="{url}"') == 2  # in the note and in the history


@pytest.mark.slow
def test_creator_of_a_project_key_is_named_correctly(page, engine):
    maker = MembershipFactory(user__username="grace", project=engine, role="admin").user
    kept, orphan = mint_key(engine, by=maker).key, mint_key(engine, by=None).key
    assert ProjectKey.objects.get(pk=orphan.pk).created_by is None
    for url in (KEYS, f"{KEYS}{orphan.public_id}/"):
        assert "deleted" not in text_of(page.get(url))
    assert "by the site" in text_of(page.get(f"{KEYS}{orphan.public_id}/"))
    assert "by grace" in text_of(page.get(f"{KEYS}{kept.public_id}/"))
    maker.delete()
    assert "by a deleted user" in text_of(page.get(f"{KEYS}{kept.public_id}/"))


def test_a_pasted_secret_is_not_shown(page, several, ada):
    token = mint_pat(ada).token
    response = page.get(PROJECTS, {"q": token}, follow=True)

    assert token not in response.content.decode()
    assert "You entered a key or its secret" in text_of(response)
