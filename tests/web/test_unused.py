"""One page of everything of a user that was not used in 90 days."""

import re
from datetime import timedelta
from html import unescape

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import lifecycle
from apikeys.models import AuditEvent, PersonalAccessToken
from apikeys.policy import Policy
from apikeys.verify import Refused, verify
from apikeys.web import unused
from apikeys.web.views import unused as views
from tests.factories import MembershipFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, text_of

URL = f"{TOKENS}unused/"
REVOKE = f"{URL}revoke/"


def aged(minted, *, created=200, used=None):
    """Move the creation and the last use of a key into the past, by days."""
    now = timezone.now()
    at = None if used is None else now - timedelta(days=used)
    on = None if at is None else at.date()
    type(minted.key).objects.filter(pk=minted.key.pk).update(
        created_at=now - timedelta(days=created), last_used_at=at, last_used_on=on
    )
    return minted


@pytest.fixture(autouse=True)
def used(db):
    """A used token of another user: the site records uses, though the tests write none."""
    return aged(mint_pat(name="used by another user"), used=1)


@pytest.fixture
def mine(ada, engine):
    """Ada's unused token, and an unused key of her project."""
    return aged(mint_pat(ada, name="laptop"), used=91), aged(mint_key(engine, name="server"))


def confirm(page, response, **changes):
    html = unescape(response.content.decode())
    hidden = dict(re.findall(r'type="hidden" name="(\w+)" value="([^"]*)"', html))
    hidden.pop("csrfmiddlewaretoken", None)
    return page.post(REVOKE, hidden | changes)


def is_revoked(minted):
    minted.key.refresh_from_db()
    return minted.key.revoked_at is not None


def test_what_was_not_used_in_90_days_is_listed_by_owner(page, mine):
    html = page.get(URL).content.decode()
    text = text_of(page.get(URL))
    assert 0 < text.index("Your tokens") < text.index("laptop")
    assert text.index("laptop") < text.index("Keys of ") < text.index("server")
    assert re.findall(r'name="id" value="(\w+)"', html) == [m.key.public_id for m in mine]


def test_young_used_ended_and_foreign_ones_are_not_listed(page, ada, engine):
    aged(mint_pat(ada, name="young"), created=89)
    aged(mint_pat(ada, name="busy"), used=89)
    ended = aged(mint_pat(ada, name="ended"))
    lifecycle.revoke(ended.key)
    aged(mint_pat(name="of another user"))
    aged(mint_key(name="of another project"))
    text = text_of(page.get(URL))
    assert "No unused tokens or keys." in text
    for name in ("young", "busy", "ended", "of another"):
        assert name not in text


@pytest.mark.slow
def test_it_lists_what_the_filter_of_the_lists_lists(page, ada, engine, mine):
    paused = aged(mint_pat(ada, name="paused job"))
    lifecycle.pause(paused.key)
    expired = aged(mint_pat(ada, name="expired job"))
    PersonalAccessToken.objects.filter(pk=expired.key.pk).update(
        expires_at=timezone.now() - timedelta(days=1)
    )

    def listed(url):
        return set(re.findall(r'name="id" value="(\w+)"', page.get(url).content.decode()))

    assert paused.key.public_id in listed(URL)
    assert listed(URL) == listed(f"{TOKENS}?used=not-90") | listed(f"{KEYS}?used=not-90")


@pytest.mark.slow
def test_everything_is_revoked_with_one_confirmation(page, mine, engine):
    asked = page.post(REVOKE, {"which": "all"})
    text = text_of(asked)
    assert "Revoke 2 unused tokens and keys?" in text
    assert "laptop" in text
    assert f"key of {engine}" in text
    assert "This cannot be undone." in text
    assert not any(map(is_revoked, mine))

    late = aged(mint_key(engine, name="late"))  # matches now, but was not shown
    done = confirm(page, asked, reason="Not needed.")
    assert done["Location"] == URL
    assert "Revoked “laptop”, “server”." in text_of(page.get(URL))
    for gone in mine:
        with pytest.raises(Refused, match="revoked"):
            verify(gone.token)
    assert not is_revoked(late)
    events = AuditEvent.objects.filter(event="revoked")
    assert {(each.by, each.changes["reason"]) for each in events} == {("ada", "Not needed.")}
    assert {each.public_id for each in events} == {each.key.public_id for each in mine}


def test_only_the_selected_are_revoked(page, mine):
    token, key = mine
    confirm(page, page.post(REVOKE, {"id": key.key.public_id, "which": "selected"}))
    assert is_revoked(key)
    assert not is_revoked(token)


@pytest.mark.slow
def test_many_names_are_summed_up(page, ada):
    for n in range(7):
        aged(mint_pat(ada, name=f"job {n}"))
    confirm(page, page.post(REVOKE, {"which": "all"}))
    assert "“job 4” and 2 more." in text_of(page.get(URL))


@pytest.mark.slow
def test_what_is_used_while_the_user_confirms_stays(page, mine):
    token, key = mine
    asked = page.post(REVOKE, {"which": "all"})
    aged(key, used=0)
    confirm(page, asked)
    text = text_of(page.get(URL))
    assert "Revoked “laptop”." in text
    assert "1 of the selected was not revoked." in text
    assert is_revoked(token)
    assert not is_revoked(key)


def test_without_a_selection_nothing_is_revoked(page, mine):
    assert page.post(REVOKE, {"confirm": "yes"})["Location"] == URL
    assert "Select at least one token or key." in text_of(page.get(URL))
    assert page.get(REVOKE)["Location"] == URL
    assert not any(map(is_revoked, mine))


def test_an_invalid_reason_revokes_nothing(page, mine):
    response = confirm(page, page.post(REVOKE, {"which": "all"}), reason="x" * 201)
    assert response.status_code == 422
    assert mine[0].key.public_id in text_of(response)
    assert not any(map(is_revoked, mine))


@pytest.mark.parametrize("confirmed", [{}, {"confirm": "yes"}], ids=["asked", "confirmed"])
def test_what_belongs_to_others_is_left_out(page, mine, confirmed):
    """Another user's token, and a key of a project that the user is no member of, by hand."""
    others = [aged(mint_pat(name="theirs")), aged(mint_key(name="theirs"))]
    ids = [each.key.public_id for each in (*others, mine[0])]
    response = page.post(REVOKE, {"id": [*ids, "nonsense", "\0"]} | confirmed)
    assert "theirs" not in text_of(response)
    assert not any(map(is_revoked, others))
    assert is_revoked(mine[0]) is bool(confirmed)
    # Alone, they leave nothing to confirm.
    response = page.post(REVOKE, {"ids": " ".join(ids[:2])} | confirmed)
    assert response["Location"] == URL
    assert not any(map(is_revoked, others))


@pytest.mark.slow
@pytest.mark.parametrize("role", ["viewer", "developer"])
def test_who_may_only_view_keys_neither_sees_nor_revokes_them(client, engine, mine, role):
    user = MembershipFactory(project=engine, role=role).user
    own = aged(mint_pat(user, name="desk"))
    client.force_login(user)
    text = text_of(client.get(URL))
    assert "desk" in text
    assert "server" not in text
    key = mine[1]
    data = {"id": [key.key.public_id, own.key.public_id]}
    assert "server" not in text_of(client.post(REVOKE, data))
    client.post(REVOKE, data | {"confirm": "yes"})
    assert is_revoked(own)
    assert not is_revoked(key)


def test_who_loses_the_project_while_confirming_revokes_nothing_there(page, ada, mine):
    asked = page.post(REVOKE, {"which": "all"})
    ada.project_memberships.update(role="viewer")
    confirm(page, asked)
    assert is_revoked(mine[0])
    assert not is_revoked(mine[1])


def test_keys_of_a_deactivated_project_are_left_out(page, engine, mine):
    type(engine).objects.update(is_active=False)
    assert "server" not in text_of(page.get(URL))
    page.post(REVOKE, {"id": mine[1].key.public_id, "confirm": "yes"})
    assert not is_revoked(mine[1])


class OnlyGrace(Policy):
    def may_manage_keys(self, user, project):
        return user.get_username() == "grace"


class SeesNothing(Policy):
    def may_see_keys(self, user, project):
        return False


@pytest.mark.parametrize("policy", [OnlyGrace, SeesNothing])
def test_the_policy_of_the_site_decides(page, settings, mine, policy):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.{policy.__name__}"}
    assert "server" not in text_of(page.get(URL))
    page.post(REVOKE, {"id": mine[1].key.public_id, "confirm": "yes"})
    assert not is_revoked(mine[1])


def test_the_policy_of_the_site_may_let_a_developer_manage(client, settings, engine, mine):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.OnlyGrace"}
    grace = MembershipFactory(project=engine, role="developer", user__username="grace").user
    client.force_login(grace)
    assert "server" in text_of(client.get(URL))
    client.post(REVOKE, {"id": mine[1].key.public_id, "confirm": "yes"})
    assert is_revoked(mine[1])


def test_a_site_without_project_keys_lists_tokens_only(page, settings, mine):
    settings.APIKEYS = settings.APIKEYS | {"PROJECT_KEYS": False}
    text = text_of(page.get(URL))
    assert "laptop" in text
    assert "server" not in text
    page.post(REVOKE, {"id": mine[1].key.public_id, "confirm": "yes"})
    assert not is_revoked(mine[1])


def test_where_no_use_is_recorded_nothing_counts_as_unused(page, ada, settings, mine, used):
    settings.APIKEYS = settings.APIKEYS | {"LAST_USED_INTERVAL": None}
    used.key.delete()
    text = text_of(page.get(URL))
    assert "This site has recorded no use in this time" in text
    assert "laptop" not in text
    page.post(REVOKE, {"id": mine[0].key.public_id, "confirm": "yes"})
    page.post(REVOKE, {"which": "all", "confirm": "yes"})
    assert not any(map(is_revoked, mine))

    aged(mint_pat(ada), used=1)  # the site writes the uses itself
    assert "laptop" in text_of(page.get(URL))


@pytest.mark.slow
def test_the_number_of_queries_is_constant(page, ada, mine):
    def queries(method, *args):
        with CaptureQueriesContext(connection) as captured:
            method(*args)
        return len(captured)

    few = queries(page.get, URL), queries(page.post, REVOKE, {"which": "all"})
    for n in range(6):
        project = MembershipFactory(user=ada, project__name=f"Project {n}", role="owner").project
        for _each in range(2):
            aged(mint_key(project))
            aged(mint_pat(ada))
    many = queries(page.get, URL), queries(page.post, REVOKE, {"which": "all"})
    assert many == few


@pytest.mark.slow
def test_pages_and_bounds(page, ada, engine, mine, monkeypatch):
    monkeypatch.setattr(views, "_SIZE", 1)
    first = page.get(URL)
    assert "laptop" in text_of(first)
    assert "server" not in text_of(first)
    assert 'href="?page=2"' in first.content.decode()
    second = page.get(f"{URL}?page=2")
    assert "server" in text_of(second)
    assert 'href="?page=1"' in second.content.decode()
    for number in ("0", "9", "nonsense", "²"):
        assert page.get(URL, {"page": number}).status_code == 200

    aged(mint_key(engine, name="job"))
    monkeypatch.setattr(unused, "MOST", 1)
    assert "This page lists up to 1 tokens and 1 keys." in text_of(page.get(URL))
    monkeypatch.setattr(views, "MOST", 1)
    asked = page.post(REVOKE, {"which": "all"})
    assert "This page revokes the first 1." in text_of(asked)
    confirm(page, asked)
    assert is_revoked(mine[0])
    assert not is_revoked(mine[1])


@pytest.mark.slow
def test_the_lists_lead_to_it(page, mine):
    for url in (TOKENS, KEYS, f"{TOKENS}projects/", f"{KEYS}access/", f"{KEYS}?used=not-90"):
        assert f'href="{URL}"' in page.get(url).content.decode(), url


def test_it_leads_to_the_authorized_applications(page):
    assert 'href="/settings/applications/"' in page.get(URL).content.decode()


def test_a_secret_in_the_url_is_reported(page, mine):
    response = page.get(URL, {"page": mine[0].token})
    assert response["Location"] == URL


def test_csrf_and_login_are_required(client, ada, mine):
    assert client.get(URL)["Location"].startswith("/login/")
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(ada)
    data = {"which": "all", "confirm": "yes"}
    assert strict.post(REVOKE, data).status_code == 403
    assert client.post(REVOKE, data)["Location"].startswith("/login/")
    assert not any(map(is_revoked, mine))
