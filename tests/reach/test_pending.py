"""A token that a project has not approved yet says so to its owner."""

import io
import json

import pytest
from django.core.management import call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apikeys import lifecycle, reach
from apikeys.models import PersonalAccessToken, ProjectAccess
from apikeys.token import grant_id
from apikeys.verify import verify
from tests.factories import MembershipFactory, UserFactory, bearer, mint_key, mint_pat
from tests.web.conftest import TOKENS, open_form, text_of

pytestmark = pytest.mark.django_db
BADGE = "pending approval in 1 project"
SENTENCE = "Requests with this token do not reach this project until a manager"


@pytest.fixture
def bob(engine):
    user = UserFactory(username="bob")
    MembershipFactory(user=user, project=engine, role="developer")
    return user


@pytest.fixture
def other(bob):
    facts = {"project__slug": "loom", "project__name": "Loom"}
    return MembershipFactory(user=bob, role="owner", **facts).project


@pytest.fixture
def page(client, bob):
    client.force_login(bob)
    return client


@pytest.fixture
def strict(engine, ada):
    reach.require_approval(engine, True, by=ada)
    return engine


def of(page, minted):
    return page.get(f"{TOKENS}{minted.key.public_id}/")


def allow(project, minted):
    reach.allow(project, reach.find(project, minted.key.public_id))


@pytest.mark.slow
@pytest.mark.parametrize("selects", [False, True], ids=["all", "selected"])
def test_list_and_page_say_where_the_token_is_pending(page, bob, strict, other, selects):
    minted = mint_pat(bob, name="laptop", projects=[strict, other] if selects else None)
    assert not verify(minted.token).allows(project=strict)
    assert verify(minted.token).allows(project=other)

    assert f"laptop {BADGE} See payments" in text_of(page.get(TOKENS))
    text = text_of(of(page, minted))
    assert f"laptop {BADGE}" in text
    assert f"Pending approval in Analytical Engine . {SENTENCE}" in text
    assert "(pending approval in Analytical Engine)" in text
    assert "on the page Access" not in text, "bob manages no keys there"

    allow(strict, minted)
    assert verify(minted.token).allows(project=strict)
    for response in (page.get(TOKENS), of(page, minted)):
        assert "pending approval in" not in text_of(response).lower()


def test_who_may_approve_it_gets_a_link(page, bob, other):
    reach.require_approval(other, True)
    response = of(page, mint_pat(bob))
    assert "You can approve it in Loom on the page Approvals" in text_of(response)
    assert 'href="/settings/keys/approvals/"' in response.content.decode()


def test_several_projects_are_counted_and_named(page, bob, strict, other):
    reach.require_approval(other, True)
    minted = mint_pat(bob)
    assert "pending approval in 2 projects" in text_of(page.get(TOKENS))
    assert "Pending approval in Analytical Engine, Loom" in text_of(of(page, minted))


@pytest.mark.slow
def test_projects_that_do_not_concern_the_token_are_not_named(page, bob, strict, other):
    """Not selected, lost, or without approval."""
    elsewhere = mint_pat(bob, name="elsewhere", projects=[other])
    assert "pending approval in" not in text_of(of(page, elsewhere))
    mint_pat(bob, name="anywhere")
    assert BADGE in text_of(page.get(TOKENS))
    bob.project_memberships.filter(project=strict).delete()
    assert "pending approval in" not in text_of(page.get(TOKENS))


@pytest.mark.slow
def test_decision_about_another_token_does_not_count(page, bob, ada, strict):
    allow(strict, mint_pat(bob, name="phone"))
    minted = mint_pat(bob, name="laptop")
    text = text_of(page.get(TOKENS))
    assert f"laptop {BADGE}" in text
    assert f"phone {BADGE}" not in text
    # A decision about an application is no approval of the token that it created.
    PersonalAccessToken.objects.filter(pk=minted.key.pk).update(upstream=f"client:7 user:{bob.pk}")
    row = {"project": strict, "kind": "oauth", "credential": grant_id(7, bob.pk)}
    decision = ProjectAccess.objects.create(**row, is_denied=False)
    assert BADGE in text_of(of(page, minted))
    decision.is_denied = True
    decision.save()
    text = text_of(of(page, minted))
    assert "denied in 1 project" in text
    assert BADGE not in text


@pytest.mark.slow
def test_denied_and_ended_tokens_are_not_called_pending(page, bob, strict):
    denied, revoked = mint_pat(bob, name="denied"), mint_pat(bob, name="revoked")
    allow(strict, denied)
    reach.deny(strict, reach.find(strict, denied.key.public_id))
    lifecycle.revoke(revoked.key)
    text = text_of(page.get(TOKENS, {"state": "all"}))
    assert "denied in 1 project" in text
    assert "pending approval in" not in text
    assert "pending approval in" not in text_of(of(page, revoked))


def test_new_token_says_so_at_once(page, bob, strict):
    form = {"name": "x", "expiry": "30", "scopes:payments": "payments:read", "reach": "all"}
    response = page.post(f"{TOKENS}new/", form | open_form(page, TOKENS))
    assert f"Pending approval in Analytical Engine . {SENTENCE}" in text_of(response)


def test_project_key_is_never_pending_in_its_project(client, ada, strict):
    client.force_login(ada)
    key = mint_key(strict).key
    url = f"/settings/keys/projects/{strict.slug}/"
    for path in ("", f"{key.public_id}/"):
        assert "pending approval in" not in text_of(client.get(f"{url}{path}"))


@pytest.mark.slow
def test_list_makes_one_query_more_only_where_approval_is_required(page, bob, engine, other):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            page.get(TOKENS)
        return len(captured)

    for _ in range(3):
        mint_pat(bob)
    plain = queries()
    reach.require_approval(engine, True)
    queries()  # the number in the tab is remembered
    strict = queries()
    assert strict == plain + 1
    reach.require_approval(other, True)
    for _ in range(5):
        allow(engine, mint_pat(bob, projects=[engine, other]))
    assert queries() == strict


def test_record_names_the_projects(client, bob, strict, other):
    minted, reader = mint_pat(bob), mint_pat(bob, scopes=["keys:read"])
    url = f"/api/tokens/{minted.key.public_id}/"
    assert client.get(url, headers=bearer(reader.token)).json()["awaits_approval_in"] == [
        strict.slug
    ]
    out = io.StringIO()
    call_command("apikeys", "show", minted.key.public_id, "--json", stdout=out)
    assert json.loads(out.getvalue())["awaits_approval_in"] == [strict.slug]
    allow(strict, minted)
    assert client.get(url, headers=bearer(reader.token)).json()["awaits_approval_in"] == []
