"""The tab *Access* of a project, and what the owner of a denied token sees."""

import csv
import io
import json
from datetime import timedelta

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from apikeys import grants, lifecycle, reach
from apikeys.models import PersonalAccessToken, ProjectAccess, ProjectRules, ScopeUse
from apikeys.refusals import Refused
from apikeys.token import grant_id
from apikeys.verify import verify
from apikeys.web import sudo
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat
from tests.web.conftest import text_of

pytestmark = pytest.mark.django_db
URL = "/settings/keys/projects/analytical-engine/access/"
XSS = "<script>alert(1)</script>"


@pytest.fixture
def bob(engine):
    user = UserFactory(username="bob", email="bob@example.com")
    MembershipFactory(user=user, project=engine, role="developer")
    return user


@pytest.fixture
def page(client, ada):
    client.force_login(ada)
    return client


def deny(engine, minted, **kwargs):
    reach.deny(engine, reach.find(engine, minted.key.public_id), **kwargs)


@pytest.mark.slow
def test_the_list_shows_what_reaches_the_project(page, ada, bob, engine):
    hidden = ProjectFactory(slug="hidden-project", name="Hidden Project")
    MembershipFactory(user=bob, project=hidden, role="owner")
    token = mint_pat(bob, name=XSS, projects=[engine, hidden])
    key = mint_key(engine, name="server")
    response = page.get(URL)
    text = text_of(response)
    for words in ("Access to Analytical Engine", token.key.public_id, "bob", key.key.public_id):
        assert words in text
    html = response.content.decode()
    assert XSS not in html
    assert "Hidden Project" not in html
    assert "hidden-project" not in html
    assert "acme_" not in html
    assert f'href="{URL}"' in page.get(URL.removesuffix("access/")).content.decode()


@pytest.mark.slow
def test_search_filter_and_no_match(page, ada, bob, engine):
    token, key = mint_pat(bob, name="laptop"), mint_key(engine, name="server")
    found = text_of(page.get(URL, {"kind": "project_key"}))
    assert key.key.public_id in found
    assert token.key.public_id not in found
    assert token.key.public_id in text_of(page.get(URL, {"q": "BOB"}))
    only_key = text_of(page.get(URL, {"q": f"acme_key_{key.key.public_id}"}))
    assert key.key.public_id in only_key
    assert token.key.public_id not in only_key
    for params in ({"q": "zzz"}, {"kind": "nonsense"}, {"page": "9"}):
        assert key.key.public_id not in text_of(page.get(URL, params))


@pytest.mark.slow
def test_pages_of_fifty(page, ada, engine):
    for number in range(51):
        mint_key(engine, name=f"server {number:02}")
    first = page.get(URL)
    assert "server 49" in text_of(first)
    assert "server 50" not in text_of(first)
    assert "?page=2" in first.content.decode()
    assert f"{first.context['number']} credentials" in text_of(first)
    assert "server 50" in text_of(page.get(URL, {"page": 2}))


def test_exports_escape_formulas_and_name_no_other_project(page, ada, bob, engine):
    hidden = ProjectFactory(slug="hidden-project")
    MembershipFactory(user=bob, project=hidden, role="owner")
    token = mint_pat(bob, name="=cmd()", projects=[engine, hidden])
    text = page.get(URL, {"format": "csv"}).content.decode()
    (row,) = csv.DictReader(io.StringIO(text))
    assert (row["id"], row["name"]) == (token.key.public_id, "'=cmd()")
    (entry,) = json.loads(page.get(URL, {"format": "json"}).content)
    assert entry["name"] == "=cmd()"
    assert "hidden-project" not in text + json.dumps(entry)
    assert page.get(URL, {"format": "xml"}).status_code == 400


@pytest.mark.slow
def test_deny_asks_first_and_names_the_consequence(page, ada, bob, engine):
    minted = mint_pat(bob, name="laptop")
    url = f"{URL}{minted.key.public_id}/deny/"
    asked = text_of(page.get(url))
    assert "Deny “laptop” in Analytical Engine?" in asked
    assert "does not reach this project" in asked
    assert (
        "A request that names this project gets 403 denied_in_project . Any other gets 404" in asked
    )
    assert "paused_key" not in asked
    key = mint_key(engine).key
    assert "A request with it gets 401 paused_key ." in text_of(
        page.get(f"{URL}{key.public_id}/deny/")
    )
    assert verify(minted.token).allows(project=engine), "nothing happened yet"

    done = page.post(url, {"reason": XSS}, follow=True)
    assert done.redirect_chain[0][0] == URL
    assert "Denied “laptop” in this project." in text_of(done)
    assert XSS not in done.content.decode()
    assert not verify(minted.token).allows(project=engine)

    allow = f"{URL}{minted.key.public_id}/allow/"
    assert "with everything that was denied together with it" in text_of(page.get(allow))
    page.post(allow)
    assert verify(minted.token).allows(project=engine)


def test_allowing_a_pending_token_speaks_of_no_denial(page, ada, bob, engine):
    minted = mint_pat(bob, name="laptop")
    reach.require_approval(engine, True)
    asked = text_of(page.get(f"{URL}{minted.key.public_id}/allow/"))
    assert "Permissions See payments" in asked
    assert "It reaches this project from the next request on. Its owner gets a mail." in asked
    assert "denied together" not in asked


@pytest.mark.slow
def test_the_owner_sees_who_denied_the_token_and_why(client, ada, bob, engine):
    minted = mint_pat(bob, name="laptop")
    deny(engine, minted, by=ada, reason="Unknown laptop.")
    client.force_login(bob)
    text = text_of(client.get(f"/settings/keys/{minted.key.public_id}/"))
    assert "Denied in Analytical Engine by ada" in text
    assert "Requests with this token no longer reach Analytical Engine ." in text
    assert "Ask ada or another manager of the project's keys to allow it again." in text
    assert "Reason: Unknown laptop." in text
    assert "laptop denied in 1 project" in text
    assert "All my current and future projects except Analytical Engine" in text
    assert "laptop denied in 1 project" in text_of(client.get("/settings/keys/"))
    activity = text_of(client.get("/settings/keys/activity/"))
    assert "laptop was denied in Analytical Engine" in activity


@pytest.mark.slow
def test_the_activity_names_projects_of_the_user_only(page, ada, bob, engine):
    loom = ProjectFactory(slug="loom", name="Secret Loom")
    membership = MembershipFactory(user=bob, project=loom, role="developer")
    token = mint_pat(bob, projects=[engine, loom])
    for project in (engine, loom):
        reach.deny(project, reach.find(project, token.key.public_id), by=ada)
    page.force_login(bob)
    text = text_of(page.get("/settings/keys/activity/"))
    assert "was denied in Secret Loom" in text
    assert "was denied in Analytical Engine" in text
    membership.delete()
    text = text_of(page.get("/settings/keys/activity/"))
    assert "Secret Loom" not in text
    assert "was denied in loom" in text
    page.force_login(ada)
    of_project = text_of(page.get(URL.replace("access", "activity")))
    assert "was denied in Analytical Engine" in of_project
    assert "oom" not in of_project


def test_slugs_of_a_former_slug_field_are_shown_as_they_are(page, ada, engine, settings):
    deny(engine, mint_pat(ada))
    settings.APIKEYS_PROJECT_SLUG_FIELD = "pk"
    text = text_of(page.get("/settings/keys/activity/"))
    assert "was denied in analytical-engine" in text


@pytest.mark.slow
def test_names_of_projects_take_one_query(page, ada, engine):
    def queries():
        with CaptureQueriesContext(
            connection,
        ) as captured:
            page.get("/settings/keys/activity/")
        return len(captured)

    deny(engine, mint_pat(ada))
    queries()
    before = queries()
    for number in range(5):
        project = ProjectFactory(slug=f"loom-{number}")
        MembershipFactory(user=ada, project=project, role="owner")
        deny(project, mint_pat(ada))
    assert queries() == before


@pytest.mark.slow
def test_members_see_their_own_and_decide_nothing(client, ada, bob, engine):
    own, other = mint_pat(bob), mint_pat(ada)
    key = mint_key(engine)
    client.force_login(bob)
    text = text_of(client.get(URL))
    assert own.key.public_id in text
    assert other.key.public_id not in text
    assert key.key.public_id not in text
    exported = client.get(URL, {"format": "csv"}).content.decode()
    assert other.key.public_id not in exported
    for minted in (own, other):
        for verb in ("deny", "allow"):
            url = f"{URL}{minted.key.public_id}/{verb}/"
            assert client.get(url).status_code == 403
            assert client.post(url).status_code == 403
    assert client.post(f"{URL}approval/", {"approve": "yes"}).status_code == 403
    assert not ProjectAccess.objects.exists()
    assert not ProjectRules.objects.exists()


@pytest.mark.slow
def test_outsiders_and_unknown_ids_get_404(client, page, ada, engine):
    stranger = UserFactory(username="eve")
    foreign = mint_pat(MembershipFactory(user=stranger).user)
    for public_id in (foreign.key.public_id, "0" * 16, mint_key().key.public_id):
        assert page.get(f"{URL}{public_id}/deny/").status_code == 404
        assert page.post(f"{URL}{public_id}/deny/").status_code == 404
    client.force_login(stranger)
    for url in (URL, f"{URL}{mint_pat(ada).key.public_id}/deny/", f"{URL}approval/"):
        assert client.get(url).status_code == 404
        assert client.post(url).status_code in (404, 405)
    client.logout()
    assert client.get(URL).status_code == 302


@pytest.mark.slow
def test_approval_is_a_switch(page, ada, bob, engine):
    minted = mint_pat(bob, name="zulu")
    mint_key(engine, name="alpha")
    on = page.post(f"{URL}approval/", {"approve": "yes"}, follow=True)
    text = text_of(on)
    assert "pending approval here" in text
    assert text.index("zulu") < text.index("alpha"), "pending tokens come first"
    assert not verify(minted.token).allows(project=engine)
    page.post(f"{URL}approval/", {"approve": "no"})
    assert verify(minted.token).allows(project=engine)
    activity = page.get(URL.replace("access", "activity"))
    assert "Approval of personal access tokens" in text_of(activity)


@pytest.mark.slow
def test_turning_approval_on_asks_first_and_names_the_number_of_tokens(page, ada, bob, engine):
    url = f"{URL}approval/"
    assert f'href="{url}"' in page.get(URL).content.decode()
    assert "This stops no active token." in text_of(page.get(url))
    denied, paused, minted = (mint_pat(bob) for _ in range(3))
    reach.deny(engine, reach.find(engine, denied.key.public_id))
    lifecycle.pause(paused.key)
    mint_key(engine)
    assert "One active token of a member reaches this project now." in text_of(page.get(url))
    mint_pat(ada)
    asked = page.get(url)
    assert "2 active tokens of members reach this project now." in text_of(asked)
    assert not ProjectRules.objects.exists(), "a GET changes nothing"
    assert verify(minted.token).allows(project=engine)

    page.post(url, {"approve": "yes"})
    assert page.get(url).status_code == 302, "it is on already"


@pytest.mark.slow
def test_turning_approval_off_asks_first_and_names_the_number_of_tokens(page, ada, bob, engine):
    url = f"{URL}approval/?approve=no"
    assert page.get(url).status_code == 302, "it is off already"
    reach.require_approval(engine, True)
    html = page.get(URL).content.decode()
    assert f'href="{url}"' in html
    assert 'value="no"' not in html, "no button of the list turns it off at once"
    assert "No active token is pending approval." in text_of(page.get(url))
    minted = mint_pat(bob)
    asked = text_of(page.get(url))
    assert "Require no approval of personal access tokens in Analytical Engine?" in asked
    assert "One active token is pending approval. It reaches this project from the next" in asked
    mint_pat(ada)
    asked = page.get(url)
    assert "2 active tokens are pending approval. All of them reach this project" in text_of(asked)
    assert 'name="approve" value="no"' in asked.content.decode()
    assert 'value="yes"' not in asked.content.decode()
    assert not verify(minted.token).allows(project=engine), "a GET changes nothing"

    page.post(f"{URL}approval/", {"approve": "no"})
    assert verify(minted.token).allows(project=engine)


def test_to_ask_before_turning_approval_off_needs_a_recent_login(page, ada, engine):
    reach.require_approval(engine, True)
    session = page.session
    session[sudo._STAMP] = 0
    session.save()
    url = f"{URL}approval/?approve=no"
    asked = page.get(url)
    assert asked.status_code == 302
    assert "approve%3Dno" in asked["Location"], "the page comes back after the password"


def test_a_developer_cannot_ask_to_require_approval(client, bob, engine):
    client.force_login(bob)
    assert client.get(f"{URL}approval/").status_code == 403
    reach.require_approval(engine, True)
    assert client.get(f"{URL}approval/?approve=no").status_code == 403


def test_only_to_widen_needs_a_recent_login(page, ada, engine):
    minted = mint_pat(ada)
    session = page.session
    session[sudo._STAMP] = 0
    session.save()
    page.post(f"{URL}{minted.key.public_id}/deny/", {})
    assert not verify(minted.token).allows(project=engine)
    page.post(f"{URL}{minted.key.public_id}/allow/")
    page.post(f"{URL}approval/", {"approve": "yes"})
    page.post(f"{URL}approval/", {"approve": "no"})
    assert not verify(minted.token).allows(project=engine)
    assert ProjectRules.objects.get().approves_tokens


@pytest.mark.slow
def test_the_number_of_queries_is_constant(page, ada, engine, django_assert_max_num_queries):
    for _ in range(20):
        mint_pat(MembershipFactory(project=engine).user)
        mint_key(engine)
    with django_assert_max_num_queries(30):
        assert page.get(URL).status_code == 200


def used_at(engine, minted, ago, project=None):
    at = timezone.now() - ago
    return ScopeUse.objects.create(
        kind="personal_access_token", credential=minted.key.public_id, scope="payments:read",
        project_pk=str(project.pk) if project else "", first_used_at=at, last_used_at=at, count=3,
    )  # fmt: skip


@pytest.mark.slow
def test_use_across_projects_is_not_called_never(page, ada, bob, engine):
    minted = mint_pat(bob, name="laptop")
    used_at(engine, minted, timedelta(0))
    for url in (URL, f"{URL}{minted.key.public_id}/deny/"):
        text = text_of(page.get(url))
        unknown = "Last used here not known: it made a request for all its projects just now"
        assert unknown in text
        assert "Last used across projects" not in text
    used_at(engine, minted, timedelta(days=3), engine)
    for url in (URL, f"{URL}{minted.key.public_id}/deny/"):
        text = text_of(page.get(url))
        assert "Last used here 3 days ago Last used across projects just now" in text


def test_list_counts_the_members_and_says_that_it_leaves_some_out(client, page, ada, bob, engine):
    assert "The project has 2 members. Members without a token or application are not listed." in (
        text_of(page.get(URL))
    )
    client.force_login(bob)
    assert "The project has" not in text_of(client.get(URL))


class TestDenying:
    """The page that asks before it denies says whether the credential is in use."""

    def test_token_in_use_here(self, page, bob, engine):
        minted = mint_pat(bob, name="laptop")
        used_at(engine, minted, timedelta(minutes=5, seconds=1), engine)
        html = page.get(f"{URL}{minted.key.public_id}/deny/")
        assert "It was last used in this project 5 minutes ago ." in text_of(html)
        assert "Whatever sends these requests stops working here." in text_of(html)
        assert "ak-notice ak-warn" in html.content.decode()

    def test_token_used_long_ago(self, page, bob, engine):
        minted = mint_pat(bob, name="laptop")
        used_at(engine, minted, timedelta(days=4), engine)
        html = page.get(f"{URL}{minted.key.public_id}/deny/")
        assert "It was last used in this project 4 days ago ." in text_of(html)
        assert "Whatever sends" not in text_of(html)
        assert "ak-notice ak-warn" in html.content.decode()

    def test_token_not_used_for_a_month(self, page, bob, engine):
        minted = mint_pat(bob, name="laptop")
        used_at(engine, minted, timedelta(days=31), engine)
        html = page.get(f"{URL}{minted.key.public_id}/deny/")
        assert "It was last used in this project 31 days ago ." in text_of(html)
        assert "ak-warn" not in html.content.decode()

    def test_project_key_says_once_that_it_is_paused(self, page, engine):
        text = text_of(page.get(f"{URL}{mint_key(engine).key.public_id}/deny/"))
        assert text.count("pauses") == 1
        assert "Denying a project key pauses it." in text
        assert "Resuming it lets in only the key itself." in text

    @pytest.mark.slow
    def test_resuming_a_denied_key_leaves_what_it_created_denied(self, page, engine):
        parent = mint_key(engine, scopes=["keys:write", "payments:read"])
        child = mint_key(engine, within=grants.for_project(engine, using=verify(parent.token)))
        page.post(f"{URL}{parent.key.public_id}/deny/")
        parent.key.refresh_from_db()
        lifecycle.resume(parent.key)
        assert verify(parent.token).project == engine
        with pytest.raises(Refused):
            verify(child.token)

    def test_token_used_for_all_its_projects(self, page, bob, engine):
        minted = mint_pat(bob, name="laptop")
        used_at(engine, minted, timedelta(days=4), engine)
        used_at(engine, minted, timedelta(0))
        text = text_of(page.get(f"{URL}{minted.key.public_id}/deny/"))
        assert (
            "It was last used just now , for all its projects. "
            "The request may have read this project." in text
        )
        assert "Whatever sends these requests stops working here." in text

    @pytest.mark.slow
    def test_unused_token_and_key_in_use(self, page, bob, engine):
        text = text_of(page.get(f"{URL}{mint_pat(bob).key.public_id}/deny/"))
        assert "It was never used in this project." in text
        key = mint_key(engine).key
        type(key).objects.update(last_used_at=timezone.now())
        text = text_of(page.get(f"{URL}{key.public_id}/deny/"))
        assert "It was last used in this project just now ." in text

    def test_breadcrumb_leads_back_to_the_list(self, page, bob, engine):
        url = f"{URL}{mint_pat(bob).key.public_id}/deny/"
        assert "Analytical Engine / Access" in text_of(page.get(url))

    @pytest.mark.slow
    def test_reason_says_who_reads_it_where(self, page, bob, engine):
        text = text_of(page.get(f"{URL}{mint_pat(bob).key.public_id}/deny/"))
        assert "bob gets it by mail and sees it on the page of the token." in text
        text = text_of(page.get(f"{URL}{mint_key(engine).key.public_id}/deny/"))
        assert "Everyone who can view the key can read the reason." in text

    @pytest.mark.slow
    @pytest.mark.parametrize("verb", ["deny", "allow"])
    def test_page_promises_no_mail_if_the_site_sends_none(self, page, bob, engine, settings, verb):
        minted = mint_pat(bob)
        if verb == "allow":
            deny(engine, minted)
        url = f"{URL}{minted.key.public_id}/{verb}/"
        assert "Its owner gets a mail." in text_of(page.get(url))
        settings.APIKEYS = settings.APIKEYS | {"NOTICES": ()}
        text = text_of(page.get(url))
        assert "mail" not in text
        assert verb == "allow" or "bob sees it on the page of the token." in text

    def test_allowing_says_nothing_of_use(self, page, bob, engine):
        minted = mint_pat(bob, name="laptop")
        used_at(engine, minted, timedelta(0), engine)
        deny(engine, minted)
        text = text_of(page.get(f"{URL}{minted.key.public_id}/allow/"))
        assert "It was last used in this project" not in text


class TestDeniedToken:
    """The pages of the owner of a denied token."""

    @pytest.mark.slow
    def test_selected_projects_name_those_that_denied_it(self, client, bob, engine):
        other = MembershipFactory(user=bob, project__slug="loom", project__name="Loom").project
        minted = mint_pat(bob, name="laptop", projects=[engine, other])
        for project in (engine, other):
            deny(project, minted)
        client.force_login(bob)
        text = text_of(client.get(f"/settings/keys/{minted.key.public_id}/"))
        assert "laptop denied in 2 projects" in text
        assert "(denied in Analytical Engine, Loom)" in text
        assert "Ask a manager of the project's keys to allow it again." in text

    @pytest.mark.slow
    def test_a_project_that_was_taken_from_the_token_is_not_named(self, client, bob, engine):
        other = MembershipFactory(user=bob, project__slug="loom", project__name="Loom").project
        minted = mint_pat(bob, name="laptop", projects=[engine, other])
        deny(engine, minted)
        lifecycle.edit(minted.key, projects=[other])
        client.force_login(bob)
        for url in ("", f"{minted.key.public_id}/"):
            assert "denied in" not in text_of(client.get(f"/settings/keys/{url}"))

    def test_who_may_allow_it_gets_a_link(self, page, ada, engine):
        minted = mint_pat(ada, name="laptop")
        deny(engine, minted, by=ada)
        response = page.get(f"/settings/keys/{minted.key.public_id}/")
        assert "You can allow it again on the page Access" in text_of(response)
        assert f'href="{URL}"' in response.content.decode()
        assert "Ask ada" not in text_of(response)

    def test_denial_in_a_project_that_the_user_left_is_hidden(self, client, bob, engine):
        minted = mint_pat(bob, name="laptop")
        deny(engine, minted)
        bob.project_memberships.all().delete()
        client.force_login(bob)
        assert "denied in" not in text_of(client.get("/settings/keys/"))

    @pytest.mark.slow
    def test_revoked_token_and_allowed_token_are_not_called_denied(self, client, ada, bob, engine):
        revoked, allowed = mint_pat(bob, name="old"), mint_pat(bob, name="new")
        for minted in (revoked, allowed):
            deny(engine, minted)
        lifecycle.revoke(revoked.key)
        reach.allow(engine, reach.find(engine, allowed.key.public_id))
        client.force_login(bob)
        for state in ("", "?state=ended"):
            assert "denied in" not in text_of(client.get(f"/settings/keys/{state}"))

    @pytest.mark.slow
    def test_token_of_a_denied_application_is_called_denied(self, client, bob, engine):
        minted = mint_pat(bob, name="made by an app")
        PersonalAccessToken.objects.update(upstream=f"client:7 user:{bob.pk}")
        ProjectAccess.objects.create(
            project=engine, kind="oauth", credential=grant_id(7, bob.pk), is_denied=True
        )
        client.force_login(bob)
        assert "made by an app denied in 1 project" in text_of(client.get("/settings/keys/"))
        text = text_of(client.get(f"/settings/keys/{minted.key.public_id}/"))
        assert "The application that created it was denied in Analytical Engine (" in text

    @pytest.mark.slow
    def test_list_makes_one_query_for_all_tokens(self, client, bob, engine):
        client.force_login(bob)
        numbers = []
        for _ in range(2):
            for _ in range(3):
                deny(engine, mint_pat(bob))
            with CaptureQueriesContext(connection) as queries:
                client.get("/settings/keys/")
            numbers.append(len(queries))
        assert numbers[0] == numbers[1]
