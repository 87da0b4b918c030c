"""The search of each list finds an ID among all tokens and keys that the user may see."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apikeys import lifecycle
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.policy import get_policy
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

PROJECTS = f"{TOKENS}projects/"
FOUND = "Found by ID outside these results:"


@pytest.fixture
def server(ada, engine):
    return mint_key(engine, name="server", by=ada).key


@pytest.fixture
def laptop(ada):
    return mint_pat(ada, name="laptop").key


def search(page, url, term):
    return page.get(url, {"q": term})


@pytest.mark.slow
@pytest.mark.parametrize("form", ["{}", "acme_{kind}_{}", "acme_{kind}_{}_[redacted]", " {:.6} "])
def test_id_of_a_key_is_found_from_every_tab(page, server, laptop, form):
    term = form.format(server.public_id, kind=server.KIND)
    for url in (TOKENS, PROJECTS, f"{TOKENS}?state=ended"):
        response = page.get(url, {"q": term, "state": "ended" if "ended" in url else ""})
        assert f"{FOUND} server {server.public_id} key of Analytical Engine active" in text_of(
            response
        )
        assert f'href="{KEYS}{server.public_id}/"' in response.content.decode()


@pytest.mark.slow
def test_id_of_a_token_is_found_among_project_keys(page, laptop, engine):
    lifecycle.revoke(laptop)
    for url in (KEYS, PROJECTS, TOKENS):
        response = search(page, url, laptop.public_id)
        assert f"{FOUND} laptop {laptop.public_id} your token revoked" in text_of(response)
        assert f'href="{TOKENS}{laptop.public_id}/"' in response.content.decode()


@pytest.mark.slow
def test_no_list_says_that_nothing_matches_above_a_hit(page, server, laptop):
    for url, key in ((TOKENS, server), (KEYS, laptop), (PROJECTS, laptop)):
        text = text_of(search(page, url, key.public_id))
        assert FOUND in text
        assert "matches." not in text
        assert "Search in all states" not in text
        text = text_of(search(page, url, "nowhere"))
        assert "matches." in text


def test_key_of_another_project_of_the_user_is_found(page, ada, engine):
    project = MembershipFactory(user=ada, role="viewer", project__name="Compiler").project
    other = mint_key(project, name="theirs").key
    assert f"{FOUND} theirs {other.public_id} key of Compiler" in text_of(
        search(page, KEYS, other.public_id)
    )


def test_what_the_list_shows_is_not_repeated(page, server, laptop):
    for url, key in ((TOKENS, laptop), (KEYS, server)):
        response = search(page, url, key.public_id)
        assert [row["key"].name for row in response.context["rows"]] == [key.name]
        assert FOUND not in text_of(response)


@pytest.mark.slow
@pytest.mark.parametrize("length", [16, 8])
def test_keys_that_the_user_may_not_see_are_not_found(page, engine, length):
    theirs = mint_pat(name="secret token").key, mint_key(name="secret key").key
    for url in (TOKENS, KEYS, PROJECTS):
        for key in theirs:
            response = search(page, url, key.public_id[:length])
            assert FOUND not in text_of(response)
            assert key.name not in response.content.decode()


def test_keys_of_a_former_member_are_not_found(page, ada, server):
    ada.project_memberships.all().delete()
    assert FOUND not in text_of(search(page, TOKENS, server.public_id))


def test_project_keys_are_not_found_without_their_pages(page, server, settings):
    settings.APIKEYS = settings.APIKEYS | {"PROJECT_KEYS": False}
    assert FOUND not in text_of(search(page, TOKENS, server.public_id))


def test_policy_decides_on_each_project(page, server, monkeypatch):
    monkeypatch.setattr(type(get_policy()), "may_see_keys", lambda self, user, project: False)
    for term in (server.public_id, server.public_id[:8]):
        assert FOUND not in text_of(search(page, TOKENS, term))


@pytest.mark.slow
@pytest.mark.parametrize("term", ["", "abc", "nothing like it", "\0abcd", "abcd%", "x" * 17])
def test_other_text_is_no_id(page, server, laptop, term):
    for model in (PersonalAccessToken, ProjectKey):
        model.objects.update(public_id=f"abcd{model.KIND}000000000"[:16])
    for url in (TOKENS, KEYS, PROJECTS):
        response = search(page, url, term)
        assert response.status_code == 200
        assert FOUND not in text_of(response)


@pytest.mark.slow
def test_number_of_queries_is_bounded(page, ada, engine):
    def make(number):
        for _ in range(number):
            key = mint_key(engine, name="k").key
            ProjectKey.objects.filter(pk=key.pk).update(public_id=f"abcd{key.pk:012}")
            token = mint_pat(ada, name="t").key
            PersonalAccessToken.objects.filter(pk=token.pk).update(public_id=f"abcd{token.pk:012}")

    counts = []
    for number in (2, 9):
        make(number)
        for url in (TOKENS, KEYS, PROJECTS):
            with CaptureQueriesContext(connection) as caught:
                response = search(page, url, "abcd")
            assert FOUND in text_of(response)
            counts.append(len(caught))
    assert counts[:3] == counts[3:]


def test_whole_key_is_not_searched(page, ada, engine):
    secret = mint_key(engine).token
    response = search(page, PROJECTS, secret)
    assert response.status_code == 302
    assert "q=" not in response["Location"]
