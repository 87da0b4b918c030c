"""Tokens that are pending approval in a project, on the page *Approvals*."""

import re
from html import unescape
from typing import ClassVar

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from apikeys import lifecycle, reach
from apikeys.models import AuditEvent, ProjectAccess
from apikeys.policy import Policy
from apikeys.reach import requests
from apikeys.reach.requests import Request
from apikeys.verify import verify
from apikeys.web import deciding
from apikeys.web.views.requests import value_of
from tests.factories import PASSWORD, MembershipFactory, ProjectFactory, mint_key, mint_pat
from tests.web.conftest import TOKENS, text_of
from tests.web.test_approvals import confirm, log_in_ages, pending

URL = f"{TOKENS}approvals/"
DECIDE = f"{URL}decide/"
BADGE = re.compile(r"Approvals (\d+) pending")


@pytest.fixture
def bob(engine):
    return MembershipFactory(user__username="bob", project=engine, role="developer").user


@pytest.fixture
def waiting(engine, bob):
    """Two tokens of bob that wait for the project of ada."""
    reach.require_approval(engine, True)
    return [mint_pat(bob, name=name) for name in ("laptop", "desk")]


def value(minted, project):
    return value_of(Request(project, type(minted.key).objects.get(pk=minted.key.pk)))


def ask(page, minted, project, decision="approve", **more):
    ids = [value(each, project) for each in minted]
    return page.post(DECIDE, {"id": ids, "decision": decision} | more)


def shown_on(page, url):
    """Return the hidden field of the page that asks."""
    return {"shown": str(page.get(url).context["shown"])}


def reaches(minted, project):
    return verify(minted.token).allows(project=project)


@pytest.mark.slow
def test_tokens_are_listed_beside_keys_and_one_confirmation_approves_all(
    page, engine, waiting, bob
):
    key = pending(mint_key(engine, name="server", by=bob))
    response = page.get(URL)
    text = text_of(response)
    assert BADGE.search(text)[1] == "3"
    assert "3 pending requests" in text
    asks = "Asks for access to Analytical Engine : the project requires approval of its members'"
    assert text.count(asks) == 2
    ids = re.findall(r'name="id" value="([^"]+)" form', response.content.decode())
    of_key = f"key:{key.key.public_id}"
    assert sorted(ids) == sorted([of_key, *(value(each, engine) for each in waiting)])

    shown = page.post(DECIDE, {"id": ids, "decision": "approve"})
    asked = text_of(shown)
    assert "Approve 3 requests?" in asked
    assert "This token or key works at once" in asked
    assert "These tokens reach their projects at once" in asked
    assert not any(reaches(each, engine) for each in waiting)
    assert confirm(page, shown)["Location"] == URL
    text = text_of(page.get(URL))
    names = "“server”, “laptop” (Analytical Engine), “desk” (Analytical Engine)"
    assert f"Approved {names}. They work now." in text
    assert not BADGE.search(text)
    assert all(reaches(each, engine) for each in waiting)
    assert verify(key.token)
    events = AuditEvent.objects.filter(event="allowed", by="ada")
    assert all(event.changes["requested"] for event in events)
    assert events.count() == 4  # in the log of each token's user, and in that of the project


def test_a_project_that_requires_no_approval_asks_for_nothing(page, engine, bob):
    mint_pat(bob)
    assert "No pending approvals." in text_of(page.get(URL))


@pytest.mark.slow
def test_one_request_is_decided_in_its_row(page, engine, waiting):
    laptop, desk = waiting
    ask(page, [laptop], engine, confirm="yes")
    assert "Approved “laptop” (Analytical Engine). It reaches the project now." in text_of(
        page.get(URL)
    )
    assert reaches(laptop, engine)
    assert not reaches(desk, engine)
    html = page.get(URL).content.decode()
    form = html[html.index('class="ak-decide"') :]
    assert f'name="id" value="{value(desk, engine)}"' in form
    assert 'name="confirm" value="yes"' in form


@pytest.mark.slow
def test_rejected_tokens_read_as_rejected_and_not_as_denied(page, client, engine, waiting, bob):
    shown = ask(page, waiting, engine, "reject")
    text = text_of(shown)
    assert "These tokens do not reach their projects. You can still approve them later" in text
    assert "This cannot be undone." not in text
    confirm(page, shown, "reject", reason="Use the server.")
    assert "Rejected “laptop” (Analytical Engine), “desk” (Analytical Engine)." in text_of(
        page.get(URL)
    )
    assert set(ProjectAccess.objects.values_list("is_denied", "is_rejected", "reason")) == {
        (True, True, "Use the server.")
    }
    access = f"{TOKENS}projects/analytical-engine/access/"
    activity = text_of(page.get(access.replace("access", "activity")))
    assert "laptop was rejected in Analytical Engine . Reason: Use the server." in activity
    listed = text_of(page.get(access))
    client.force_login(bob)
    own = text_of(client.get(TOKENS))
    of_token = text_of(client.get(f"{TOKENS}{waiting[0].key.public_id}/"))
    assert "laptop personal access token rejected here" in listed
    assert "laptop rejected in 1 project" in own
    assert "Rejected in Analytical Engine by ada" in of_token
    assert "(rejected in Analytical Engine)" in of_token
    assert "Ask a manager of the project's keys to approve it." in of_token
    for text in (activity, own, of_token):
        assert "denied" not in text.replace("denied_in_project", "")
    assert "denied here" not in listed


@pytest.mark.slow
def test_a_rejected_token_can_be_approved_and_a_denied_one_is_allowed(page, engine, waiting):
    laptop, desk = waiting
    ask(page, [laptop], engine, "reject", confirm="yes")
    ask(page, [desk], engine, confirm="yes")
    url = f"{TOKENS}projects/analytical-engine/access/"
    page.post(f"{url}{desk.key.public_id}/deny/")
    listed = text_of(page.get(url))
    assert "Approve laptop" in listed
    assert "Allow desk" in listed
    asked = text_of(page.get(f"{url}{laptop.key.public_id}/allow/"))
    assert "Approve “laptop” in Analytical Engine?" in asked
    allow = f"{url}{laptop.key.public_id}/allow/"
    page.post(allow, shown_on(page, allow))
    assert reaches(laptop, engine)
    page.post(f"{url}{laptop.key.public_id}/deny/")
    row = ProjectAccess.objects.get(credential=laptop.key.public_id)
    assert (row.is_denied, row.is_rejected) == (True, False), "it was approved before"


@pytest.mark.parametrize("confirmed", [{}, {"confirm": "yes"}], ids=["asked", "confirmed"])
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_who_may_not_decide_sees_and_decides_nothing(
    client, engine, waiting, bob, viewer, decision, confirmed
):
    stranger = MembershipFactory(role="owner").user
    for user in (bob, viewer, stranger):
        client.force_login(user)
        response = ask(client, waiting, engine, decision, **confirmed)
        assert response["Location"] == URL
        assert "laptop" not in text_of(client.get(URL))
    assert not ProjectAccess.objects.exists()
    client.logout()
    assert ask(client, waiting, engine, decision, **confirmed)["Location"].startswith("/login/")


@pytest.mark.slow
def test_requests_of_other_projects_are_left_out(page, engine, waiting):
    """By hand: another project's slug, a token that does not wait there, and nonsense."""
    theirs = ProjectFactory(slug="loom")
    token = mint_pat(MembershipFactory(project=theirs, role="developer").user, name="theirs")
    reach.require_approval(theirs, True)
    wrong = [value(token, theirs), value(token, engine), value(waiting[0], theirs)]
    wrong += ["access:", "access::", "access:x:analytical-engine", "access:%00:%00", "access:\0:x"]
    for data in ({"confirm": "yes"}, {}):
        response = page.post(DECIDE, {"id": wrong, "decision": "approve"} | data)
        assert response["Location"] == URL
        assert "theirs" not in text_of(page.get(URL))
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_what_was_decided_meanwhile_is_named_and_stays(page, engine, waiting):
    laptop, desk = waiting
    shown = ask(page, waiting, engine, "reject")
    reach.allow(engine, reach.find(engine, laptop.key.public_id))
    confirm(page, shown, "reject")
    text = text_of(page.get(URL))
    gone = f"“{laptop.key.public_id}” (Analytical Engine) is no longer pending approval"
    assert gone in text
    assert "Rejected “desk” (Analytical Engine)." in text
    assert reaches(laptop, engine)
    assert "laptop" not in text, "the name is that of a token that the manager no longer decides on"
    lifecycle.revoke(desk.key)
    ask(page, [desk], engine)
    gone = f"“{desk.key.public_id}” (Analytical Engine) is no longer pending approval"
    assert gone in text_of(page.get(URL))


@pytest.mark.slow
def test_a_decision_between_the_check_and_the_rejection_stays(page, engine, waiting, monkeypatch):
    find = reach.find

    def late(project, public_id):
        reach.allow(project, find(project, public_id))
        return find(project, public_id)

    monkeypatch.setattr(reach, "find", late)
    ask(page, waiting[:1], engine, "reject", confirm="yes")
    monkeypatch.undo()
    assert "is no longer pending approval" in text_of(page.get(URL))
    assert reaches(waiting[0], engine)


@pytest.mark.slow
def test_approving_needs_a_recent_login_and_keeps_the_selection(page, engine, waiting):
    log_in_ages(page)
    response = ask(page, waiting, engine, confirm="yes")
    assert response["Location"].startswith(f"{TOKENS}confirm/?next=")
    assert not ProjectAccess.objects.exists()
    page.post(f"{TOKENS}confirm/", {"password": PASSWORD, "next": DECIDE})
    shown = page.get(DECIDE)
    assert "Approve 2 requests?" in text_of(shown)
    confirm(page, shown)
    assert all(reaches(each, engine) for each in waiting)


@pytest.mark.slow
def test_rejecting_needs_no_recent_login(page, engine, waiting):
    log_in_ages(page)
    ask(page, waiting, engine, "reject", confirm="yes")
    assert ProjectAccess.objects.filter(is_rejected=True).count() == 2


def test_an_invalid_reason_rejects_nothing(page, engine, waiting):
    response = ask(page, waiting, engine, "reject", confirm="yes", reason="a\u202eb")
    assert response.status_code == 422
    assert not ProjectAccess.objects.exists()


def test_the_manager_learns_no_more_of_the_token_than_on_access(page, engine, bob):
    hidden = MembershipFactory(user=bob, project__name="Hidden Project", role="owner").project
    mint_pat(bob, name="laptop", projects=[engine, hidden], description="For my own eyes.")
    reach.require_approval(engine, True)
    html = page.get(URL).content.decode()
    assert "laptop" in html
    assert "Hidden Project" not in html
    assert "For my own eyes." not in html
    assert "acme_pat" not in html


@pytest.mark.slow
def test_who_created_the_request_is_told_so(page, ada, engine, bob):
    mint_pat(bob, name="laptop")
    reach.require_approval(engine, True)
    assert "You created this request yourself." not in text_of(page.get(URL))
    mint_pat(ada, name="mine")
    pending(mint_key(engine, name="server", by=ada))
    assert text_of(page.get(URL)).count("You created this request yourself.") == 2


@pytest.mark.slow
def test_naming_what_is_gone_takes_no_query_for_each(page, engine, bob):
    def queries(number):
        ids = [f"access:{n:016}:{engine.slug}" for n in range(number)]
        with CaptureQueriesContext(connection) as captured:
            page.post(DECIDE, {"id": ids, "decision": "approve"})
        assert "no longer pending approval" in text_of(page.get(URL))
        return len(captured)

    reach.require_approval(engine, True)
    queries(1)
    assert queries(60) == queries(1)


def test_no_credential_is_named_by_its_id(page, engine, waiting, bob):
    """By hand: IDs of credentials that no longer wait, or never did."""
    key, approved = mint_key(engine, name="server"), mint_pat(bob, name="approved")
    reach.allow(engine, reach.find(engine, approved.key.public_id))
    ask(page, [key, approved], engine)
    text = text_of(page.get(URL))
    assert "are no longer pending approval" in text
    assert "server" not in text
    assert "approved" not in text


class TestScopes:
    """Requests show the scopes that the user's role allows, as on the page *Access*."""

    def test_by_role(self, page, engine, viewer):
        mint_pat(viewer, name="reads", scopes=["payments:write"])
        reach.require_approval(engine, True)
        access = f"{TOKENS}projects/analytical-engine/access/"
        for response in (page.get(URL), page.get(access)):
            text = text_of(response)
            assert "reads" in text
            assert "See payments" in text
            assert "Make payments" not in text

    def test_on_the_confirmation(self, page, engine, viewer):
        minted = mint_pat(viewer, scopes=["payments:write"])
        reach.require_approval(engine, True)
        assert "Make payments" not in text_of(ask(page, [minted], engine))

    def test_in_each_project(self, page, ada, engine, viewer):
        """A token has other scopes in the project where its user is an owner."""
        loom = ProjectFactory(slug="loom", name="Loom")
        for user in (ada, viewer):
            MembershipFactory(user=user, project=loom, role="owner")
        mint_pat(viewer, scopes=["payments:write"])
        for project in (engine, loom):
            reach.require_approval(project, True)
        scopes = {
            str(row["access_to"]): [name for name, _words in row["scopes"]]
            for row in page.get(URL).context["rows"]
        }
        assert scopes == {"Analytical Engine": ["payments:read"], "Loom": ["payments:write"]}

    def test_none(self, page, engine, bob, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.NoScopes"}
        mint_pat(bob)
        reach.require_approval(engine, True)
        text = text_of(page.get(URL))
        assert "No permission in this project" in text
        assert "See payments" not in text


class NoScopes(Policy):
    def member_scopes(self, project, users):
        return {}


class OnlyDesks(Policy):
    """Developers see and decide about access, but not in a project whose keys they may not see."""

    sees_keys = sees_access = True

    def may_deny(self, user, project):
        return "developer" in self.roles(user, project)

    def may_see_access(self, user, project):
        return self.sees_access

    def may_see_keys(self, user, project):
        return self.sees_keys


class Blind(OnlyDesks):
    sees_keys = False


class SeesNoAccess(OnlyDesks):
    sees_access = False


class OwnersSeeNoAccess(Policy):
    def may_see_access(self, user, project):
        return False


@pytest.mark.slow
def test_the_policy_decides_who_sees_the_tab_and_the_requests(
    page, client, engine, waiting, bob, settings
):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.OnlyDesks"}
    assert "laptop" not in text_of(page.get(URL))
    client.force_login(bob)
    assert BADGE.search(text_of(client.get(TOKENS)))[1] == "2"
    for minted in waiting:
        ask(client, [minted], engine, confirm="yes")
        assert reaches(minted, engine)
    assert ">Approvals" not in client.get(TOKENS).content.decode(), "nothing waits"


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["Blind", "SeesNoAccess"])
def test_who_may_not_see_keys_or_access_sees_no_request(
    client, engine, waiting, bob, settings, policy
):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.{policy}"}
    client.force_login(bob)
    assert ">Approvals" not in client.get(TOKENS).content.decode()
    assert "laptop" not in text_of(client.get(URL))
    ask(client, waiting, engine, confirm="yes")
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_who_may_decide_but_not_see_access_sees_no_request(page, engine, waiting, settings):
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.OwnersSeeNoAccess"}
    assert not BADGE.search(text_of(page.get(TOKENS)))
    assert "laptop" not in text_of(page.get(URL))
    assert "laptop" not in text_of(ask(page, waiting, engine))
    ask(page, waiting, engine, confirm="yes")
    assert not ProjectAccess.objects.exists()
    assert "laptop" not in text_of(page.get(f"{TOKENS}projects/analytical-engine/access/"))


class TestManyProjects:
    """A policy of the site is asked only about projects in which a token waits."""

    @pytest.fixture
    def others(self, ada, bob, settings, monkeypatch):
        """Three projects that come first, in which ada is a viewer."""
        monkeypatch.setattr(requests, "_MOST_ASKED", 2)
        settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Asked"}
        Asked.asked = []
        projects = [ProjectFactory(slug=f"a-{number}") for number in range(3)]
        for project in projects:
            MembershipFactory(user=ada, project=project, role="viewer")
            reach.require_approval(project, True)
        return projects

    def test_projects_without_requests_hide_none(self, page, engine, waiting, others):
        response = page.get(URL)
        assert "laptop" in text_of(response)
        assert not response.context["cut"]
        assert Asked.asked == [engine.slug]

    @pytest.mark.slow
    def test_the_page_says_that_projects_were_left_out(self, page, engine, waiting, others):
        for project in others:
            mint_pat(MembershipFactory(project=project, role="developer").user)
        text = text_of(page.get(URL))
        assert "You have more projects than this page checks" in text
        assert "laptop" not in text
        assert len(Asked.asked) == 2
        ask(page, waiting, engine, confirm="yes")
        assert all(reaches(each, engine) for each in waiting), "the project was named"

    def test_too_many_projects_to_look_into(self, page, engine, waiting, others, monkeypatch):
        monkeypatch.setattr(requests, "_MOST_LISTED", 3)
        assert page.get(URL).context["cut"]

    def test_no_project_requires_approval(self, page, engine, others):
        for project in others:
            reach.require_approval(project, False)
        with CaptureQueriesContext(connection) as captured:
            assert requests.deciding(page, None) == ([], False)
        assert len(captured) == 1
        assert Asked.asked == []


class TestTab:
    """The tab counts requests once a minute, and after a decision of the user."""

    def badge(self, client, url=TOKENS):
        found = BADGE.search(text_of(client.get(url)))
        return found and int(found[1])

    def test_one_query_if_no_project_requires_approval(self, page, ada, engine, bob):
        mint_pat(bob)
        with CaptureQueriesContext(connection) as captured:
            waiting = deciding.waiting_for(ada, lambda: pytest.fail("asked"), fresh=False)
        assert waiting == (0, False)
        assert len(captured) == 1

    @pytest.mark.slow
    def test_remembered(self, page, engine, waiting, bob, settings):
        settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Asked"}
        Asked.asked = []
        assert self.badge(page) == 2
        assert Asked.asked.pop() == engine.slug
        mint_pat(bob)
        with CaptureQueriesContext(connection) as captured:
            assert self.badge(page) == 2
        assert Asked.asked == []
        assert sum("projectrules" in each["sql"] for each in captured) <= 2  # and of own tokens
        assert self.badge(page, URL) == 3, "Approvals always counts"
        assert self.badge(page) == 3

    def test_for_a_minute(self, page, engine, waiting, bob, monkeypatch):
        monkeypatch.setattr(deciding, "_REMEMBERED", 0)  # a cache stores nothing then
        assert self.badge(page) == 2
        mint_pat(bob)
        assert self.badge(page) == 3

    def test_for_each_user(self, page, client, engine, waiting, viewer):
        assert self.badge(page) == 2
        client.force_login(viewer)
        assert self.badge(client) is None

    @pytest.mark.slow
    @pytest.mark.parametrize("decision", ["approve", "reject"])
    def test_forgotten_after_a_decision(self, page, engine, waiting, decision):
        assert self.badge(page) == 2
        ask(page, waiting[:1], engine, decision, confirm="yes")
        assert self.badge(page) == 1

    @pytest.mark.slow
    @pytest.mark.parametrize("verb", ["allow", "deny"])
    def test_forgotten_after_a_decision_on_access(self, page, waiting, verb):
        assert self.badge(page) == 2
        access = f"{TOKENS}projects/analytical-engine/access/"
        url = f"{access}{waiting[0].key.public_id}/{verb}/"
        page.post(url, shown_on(page, url))
        assert self.badge(page) == 1
        page.post(f"{access}approval/", {"approve": "no"})
        assert self.badge(page) is None

    @pytest.mark.slow
    def test_counted_if_the_cache_does_not_answer(self, page, engine, waiting, monkeypatch):
        monkeypatch.setattr(deciding, "cache", None)
        assert self.badge(page) == 2
        ask(page, waiting[:1], engine, confirm="yes")
        assert self.badge(page) == 1


class Asked(Policy):
    asked: ClassVar[list[str]]

    def may_see_keys(self, user, project):
        self.asked.append(project.slug)
        return super().may_see_keys(user, project)


def test_a_site_without_project_keys_lists_none(page, engine, waiting, settings):
    settings.APIKEYS = settings.APIKEYS | {"PROJECT_KEYS": False}
    assert "laptop" not in text_of(page.get(URL))
    ask(page, waiting, engine, confirm="yes")
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_queries_do_not_grow_with_projects_and_requests(page, ada, engine, bob):
    def queries():
        with CaptureQueriesContext(connection) as captured:
            response = page.get(URL)
        return len(captured), len(response.context["rows"])

    reach.require_approval(engine, True)
    mint_pat(bob)
    pending(mint_key(engine, by=ada))
    pending(mint_pat(bob, projects=[engine]))
    queries()
    before = queries()
    for number in range(4):
        project = ProjectFactory(slug=f"loom-{number}")
        MembershipFactory(user=ada, project=project, role="owner")
        member = MembershipFactory(project=project, role="developer").user
        reach.require_approval(project, True)
        mint_pat(member)
        pending(mint_key(project, by=ada))
        pending(mint_pat(member, projects=[project]))
    after = queries()
    # Each pending token waits for its project too.
    assert (before[1], after[1]) == (4, 20)
    assert after[0] == before[0]


def test_more_than_a_page_is_said(page, engine, waiting, monkeypatch):
    from apikeys.web.views import approvals

    monkeypatch.setattr(approvals.Approvals, "size", 1)
    text = text_of(page.get(URL))
    assert "More are pending." in text
    assert BADGE.search(text)[1] == "2"
    assert "desk" not in text


class TestAccess:
    """The page *Access* uses the same words, links to *Approvals*, and keeps its filter."""

    URL = f"{TOKENS}projects/analytical-engine/access/"

    def test_words_and_link(self, page, waiting):
        response = page.get(self.URL)
        text = text_of(response)
        assert "2 tokens are pending approval in this project." in text
        assert f'href="{URL}"' in response.content.decode()
        assert "Approve laptop" in text
        assert "Reject laptop" in text
        assert "Allow laptop" not in text
        assert "Deny laptop" not in text
        asked = text_of(page.get(f"{self.URL}{waiting[0].key.public_id}/deny/"))
        assert "Reject “laptop” in Analytical Engine?" in asked
        assert "It does not reach this project. It keeps working everywhere else." in asked

    @pytest.mark.slow
    @pytest.mark.parametrize("verb", ["allow", "deny"])
    def test_the_filter_stays(self, page, waiting, verb):
        query = "?denied=awaiting&sort=name&q=a+b"
        mine = f"{self.URL}{waiting[0].key.public_id}/{verb}/"
        html = page.get(self.URL + "?denied=awaiting&sort=name").content.decode()
        assert f"{mine}?denied=awaiting&sort=name" in unescape(html)
        html = unescape(page.get(mine + query).content.decode())
        assert f'action="{mine}{query}"' in html
        assert f'href="{self.URL}{query}"' in html, "to cancel"
        data = shown_on(page, mine)
        assert page.post(mine + query, data)["Location"] == self.URL + query

    def test_the_filter_stays_through_a_login(self, page, waiting):
        log_in_ages(page)
        mine = f"{self.URL}{waiting[0].key.public_id}/allow/"
        location = page.post(f"{mine}?denied=awaiting")["Location"]
        assert "denied%3Dawaiting" in location

    def test_a_secret_in_the_query_string_is_dropped(self, page, waiting):
        mine = f"{self.URL}{waiting[0].key.public_id}/allow/?q={waiting[0].token}"
        assert waiting[0].token not in page.get(mine).content.decode()
        assert page.post(mine, shown_on(page, mine))["Location"] == self.URL

    @pytest.mark.slow
    def test_a_token_that_is_being_replaced_is_marked(self, page, engine, bob):
        old = mint_pat(bob, name="laptop")
        assert "being replaced" not in text_of(page.get(self.URL))
        lifecycle.rotate(old.key)
        text = text_of(page.get(self.URL))
        assert text.count("laptop personal access token being replaced") == 1
        reach.require_approval(engine, True)
        assert text_of(page.get(URL)).count("being replaced") == 1


class TestRejectedKey:
    """A key that was rejected reads as rejected, and not as revoked."""

    @pytest.fixture
    def rejected(self, page, engine, ada):
        key = pending(mint_key(engine, name="server", by=ada)).key
        lifecycle.reject(key, by=ada, reason="Ask for less.")
        return key

    def test_list_and_page(self, page, rejected):
        url = f"{TOKENS}projects/analytical-engine/"
        listed = text_of(page.get(url, {"state": "ended"}))
        assert "server rejected" in listed
        assert "Rejected: just now" in listed.replace("Rejected just", "Rejected: just")
        shown = text_of(page.get(f"{url}{rejected.public_id}/"))
        assert "server rejected" in shown
        assert "Would have expired" not in shown
        assert "by ada: Ask for less." in shown
        activity = text_of(page.get(f"{url}activity/"))
        assert "server was rejected. Reason: Ask for less." in activity
        assert "server was revoked" not in activity
        assert "server revoked" not in listed + shown

    def test_a_withdrawn_request_reads_as_revoked(self, page, engine, ada):
        key = pending(mint_key(engine, name="server", by=ada)).key
        lifecycle.revoke(key, by=ada)
        url = f"{TOKENS}projects/analytical-engine/"
        assert "server revoked" in text_of(page.get(url, {"state": "ended"}))

    def test_a_refused_rejection_marks_nothing(self, engine):
        key = pending(mint_key(engine)).key
        key.refresh_from_db()
        with pytest.raises(lifecycle.LifecycleError):
            lifecycle.reject(key, reason="a\u202eb")
        assert not key.is_rejected
        key.refresh_from_db()
        assert (key.is_rejected, key.state()) == (False, "pending")
