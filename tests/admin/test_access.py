"""The admin's pages of what reaches a project, and its decisions about it."""

import csv
import io
import json
import re
from types import ModuleType
from typing import Any

import pytest
from django.contrib.admin import AdminSite, ModelAdmin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.test import Client
from django.urls import include, path

import apikeys.admin
from apikeys import lifecycle, reach
from apikeys.models import AuditEvent, PersonalAccessToken, ProjectAccess, ProjectRules
from apikeys.verify import verify
from tests.admin.conftest import KEYS, TOKENS
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db

PROJECTS = f"{TOKENS}access/"
BOTH = [("view", "personalaccesstoken"), ("view", "projectkey")]
CHANGES = [("change", "personalaccesstoken"), ("change", "projectkey")]
XSS = "<script>alert(1)</script>"

staff_site = AdminSite(name="staff")
apikeys.admin.register(staff_site)
#: This site registers its own class for tokens, so it has no page about access.
bare_site = AdminSite(name="bare")
bare_site.register(PersonalAccessToken, ModelAdmin)
apikeys.admin.register(bare_site)
urlpatterns = [
    path("staff/", staff_site.urls),
    path("bare/", bare_site.urls),
    path("", include("tests.urls")),
]


@pytest.fixture
def page(engine):
    return f"{PROJECTS}{engine.pk}/"


@pytest.fixture
def bob(engine):
    user = UserFactory(username="bob", email="bob@example.com")
    MembershipFactory(user=user, project=engine, role="developer")
    return user


def log_in(permissions, **fields):
    """Return the client of a staff user with these permissions, and the user."""
    user = UserFactory(**{"is_staff": True} | fields)
    names = [f"{action}_{model}" for action, model in permissions]
    user.user_permissions.set(Permission.objects.filter(codename__in=names))
    client = Client()
    client.force_login(user)
    return client, user


@pytest.fixture
def decider(db):
    """A staff user who decides, and the client of this user."""
    return log_in([*BOTH, *CHANGES], username="root")


def words(response):
    text = re.sub(r"<[^>]*>", " ", response.content.decode().partition('id="content-main"')[2])
    return " ".join(text.split())


def rows(response):
    return [row["entry"].id for row in response.context["rows"]]


def test_the_page_lists_every_kind_and_names_no_other_project(page, bob, engine):
    hidden = ProjectFactory(slug="hidden-project", name="Hidden Project")
    MembershipFactory(user=bob, project=hidden, role="owner")
    token, key = mint_pat(bob, name=XSS, projects=[engine, hidden]), mint_key(engine)
    mint_key(hidden)
    client, _ = log_in(BOTH)
    response = client.get(page)

    assert set(rows(response)) == {token.key.public_id, key.key.public_id}
    html = response.content.decode()
    assert "Access to Analytical Engine" in html
    for secret in (XSS, "acme_", "Hidden Project", "hidden-project"):
        assert secret not in html.partition('id="content-main"')[2]
    assert "bob" in words(response)
    assert f"{TOKENS}?q={token.key.public_id}" in html
    assert f"{KEYS}?q={key.key.public_id}" in html
    assert "no-store" in response["Cache-Control"]
    assert "/deny/" not in html, "this user may only view"
    assert "style=" not in html.partition('id="content-main"')[2].partition("</main>")[0]


@pytest.mark.slow
def test_search_filters_order_and_pages(page, bob, engine, ada):
    token, key = mint_pat(bob, name="laptop"), mint_key(engine, name="server")
    denied, allowed = mint_pat(ada, name="a"), mint_pat(ada, name="b")
    reach.deny(engine, reach.find(engine, denied.key.public_id))
    reach.deny(engine, reach.find(engine, allowed.key.public_id))
    reach.allow(engine, reach.find(engine, allowed.key.public_id))
    client, _ = log_in(BOTH)

    def found(**params):
        return rows(client.get(page, params))

    ids = [each.key.public_id for each in (denied, allowed, token, key)]
    assert found(sort="name") == ids
    assert found(q="BOB") == [ids[2]]
    assert found(kind="project_key") == [ids[3]]
    assert found(denied="yes") == [ids[0]]
    assert found(denied="allowed") == [ids[1]]
    assert found(kind="nonsense") == found(q="zzz") == found(page="9") == []
    reach.require_approval(engine, True)
    assert found(denied="awaiting") == [ids[2]]


@pytest.mark.slow
def test_a_page_has_fifty_rows(page, engine):
    for number in range(51):
        mint_key(engine, name=f"server {number:02}")
    client, _ = log_in(BOTH)
    first = client.get(page, {"sort": "name"})
    assert len(rows(first)) == 50
    assert "51 credentials" in words(first)
    assert "?sort=name&amp;page=2" in first.content.decode()
    assert len(rows(client.get(page, {"sort": "name", "page": 2}))) == 1


def test_a_list_without_entries_says_so(page):
    client, _ = log_in(BOTH)
    assert "No credential reaches this project." in words(client.get(page))
    assert "Nothing matches." in words(client.get(page, {"q": "x"}))


def test_downloads_follow_the_filter_and_escape_formulas(page, bob, engine):
    token = mint_pat(bob, name="=cmd()")
    mint_key(engine)
    client, _ = log_in(BOTH)
    asked = {"kind": "personal_access_token"}
    sheet = client.get(page, asked | {"format": "csv"})
    (row,) = csv.DictReader(io.StringIO(sheet.content.decode()))
    assert (row["id"], row["name"]) == (token.key.public_id, "'=cmd()")
    assert sheet["Content-Disposition"] == 'attachment; filename="access.csv"'
    document = client.get(page, asked | {"format": "json"})
    assert [each["id"] for each in json.loads(document.content)] == [token.key.public_id]
    for response in (sheet, document):
        assert "no-store" in response["Cache-Control"]
    assert client.get(page, {"format": "xml"}).status_code == 400


def test_a_secret_in_the_search_is_not_searched(page):
    text = mint_pat().token
    client, _ = log_in(BOTH)
    for url in (page, PROJECTS):
        response = client.get(url, {"q": text}, follow=True)
        assert response.redirect_chain[0][0] == url
        assert text not in response.content.decode()


@pytest.mark.slow
def test_projects_are_searched_by_the_start_of_the_slug(page, engine, bob):
    ProjectFactory(slug="loom")
    reach.deny(engine, reach.find(engine, mint_pat(bob).key.public_id))
    client, _ = log_in(BOTH)

    def found(**params):
        shown = client.get(PROJECTS, params).context["projects"]
        return [(each["slug"], each["denials"], each["url"]) for each in shown]

    assert [each[0] for each in found()] == ["analytical-engine", "loom"]
    assert found(q="anal") == [("analytical-engine", 1, page)]
    assert found(q="\0") == found(q="engine") == []
    for number in range(50):
        ProjectFactory(slug=f"team-{number:02}")
    assert "Only the first are shown." in words(client.get(PROJECTS))


@pytest.mark.parametrize(
    ("permissions", "views", "decides"),
    [
        ([], 403, 403),
        (BOTH[:1], 403, 403),
        (BOTH[1:], 403, 403),
        (CHANGES, 403, 403),
        (BOTH, 200, 403),
        ([*BOTH, CHANGES[0]], 200, 403),
        ([*BOTH, CHANGES[1]], 200, 403),
        ([*BOTH, *CHANGES], 200, 200),
    ],
    ids=str,
)
def test_both_models_need_the_permission(page, bob, permissions, views, decides):
    minted = mint_pat(bob)
    client, _ = log_in(permissions)
    assert client.get(PROJECTS).status_code == views
    for query in ("", "?format=csv", "?format=json"):
        assert client.get(page + query).status_code == views
    for verb in ("deny", "allow"):
        url = f"{page}{minted.key.public_id}/{verb}/"
        assert client.get(url).status_code == decides
        if decides == 403:
            assert client.post(url).status_code == 403
        assert (url in client.get(page).content.decode()) == (decides == 200 and verb == "deny")
    assert not ProjectAccess.objects.exists(), "a GET changes nothing"


def test_permissions_come_before_existence(page):
    client, _ = log_in(BOTH[:1])
    for url in (f"{PROJECTS}999999/", f"{page}{'0' * 16}/deny/"):
        assert client.get(url).status_code == 403


def test_visitors_and_other_users_are_sent_to_the_login(page, client, ada):
    url = f"{page}{mint_pat(ada).key.public_id}/deny/"
    for path_ in (PROJECTS, page, url):
        assert client.get(path_).status_code == 302
    client.force_login(ada)  # she owns the project, but is not a staff user
    for path_ in (PROJECTS, page, url):
        assert client.get(path_).status_code == 302
    assert client.post(url).status_code == 302
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_unknown_projects_and_credentials_do_not_exist(page, decider, bob):
    client, _ = decider
    stranger = mint_pat(MembershipFactory(project=ProjectFactory()).user).key.public_id
    own = mint_pat(bob).key.public_id
    for url in (
        f"{PROJECTS}999999/", f"{PROJECTS}nonsense/", f"{PROJECTS}{'9' * 40}/", f"{PROJECTS}%00/",
        f"{PROJECTS}999999/{own}/deny/", f"{page}{stranger}/deny/", f"{page}{'0' * 16}/allow/",
        f"{page}nonsense/deny/", f"{page}{mint_key().key.public_id}/deny/",
    ):  # fmt: skip
        for answer in (client.get(url), client.post(url, {"reason": "x"})):
            assert answer.status_code == 404, url
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_deny_asks_first_and_allow_takes_it_back(
    page, decider, bob, engine, mailoutbox, django_capture_on_commit_callbacks
):
    client, root = decider
    minted = mint_pat(bob, name="laptop")
    url = f"{page}{minted.key.public_id}/"
    asked = client.get(f"{url}deny/")
    assert "Deny “laptop” in Analytical Engine?" in asked.content.decode()
    assert "does not reach this project" in words(asked)
    assert "gets 403 denied_in_project" in words(asked)
    assert verify(minted.token).allows(project=engine)

    with django_capture_on_commit_callbacks(execute=True):
        done = client.post(f"{url}deny/", {"reason": XSS}, follow=True)
    assert done.redirect_chain[0][0] == page
    assert "Denied “laptop” in this project." in done.content.decode()
    assert XSS not in done.content.decode()
    assert "denied here" in words(done)
    assert not verify(minted.token).allows(project=engine)
    row = ProjectAccess.objects.get()
    assert (row.by, row.reason) == (root, XSS)
    assert set(AuditEvent.objects.filter(event="denied").values_list("by", "owner")) == {
        ("root", "bob"), ("root", "analytical-engine"),
    }  # fmt: skip
    (mail,) = mailoutbox
    assert mail.to == ["bob@example.com"]
    assert "root denied" in mail.body
    assert LogEntry.objects.get().object_id == str(minted.key.pk)

    assert client.post(f"{url}deny/", {"reason": "again"}, follow=True).status_code == 200
    assert ProjectAccess.objects.get().reason == XSS
    assert LogEntry.objects.count() == 1

    assert "Allow “laptop” in Analytical Engine?" in client.get(f"{url}allow/").content.decode()
    with django_capture_on_commit_callbacks(execute=True):
        client.post(f"{url}allow/")
    assert verify(minted.token).allows(project=engine)
    assert AuditEvent.objects.filter(event="allowed", by="root").count() == 2
    assert len(mailoutbox) == 2
    assert "allowed here root" in words(client.get(page))


@pytest.mark.slow
def test_approval_asks_first_and_says_how_many_tokens_it_concerns(page, decider, bob, engine):
    client, _root = decider
    minted = mint_pat(bob)
    on, off = f"{page}approval/on/", f"{page}approval/off/"
    assert f'href="{on}"' in client.get(page).content.decode()
    asked = client.get(on)
    title = "Require approval of personal access tokens in Analytical Engine?"
    assert title in asked.content.decode()
    assert "One active token of a member reaches this project now." in words(asked)
    assert verify(minted.token).allows(project=engine)

    done = client.post(on, follow=True)
    assert done.redirect_chain[0][0] == page
    assert "Personal access tokens now need approval." in done.content.decode()
    assert f'href="{off}"' in done.content.decode()
    assert not verify(minted.token).allows(project=engine)
    assert AuditEvent.objects.get(event="edited").by == "root"

    asked = client.get(off)
    assert "One active token is pending approval." in words(asked)
    assert not verify(minted.token).allows(project=engine)
    done = client.post(off, follow=True)
    assert "reach the project without approval now." in done.content.decode()
    assert verify(minted.token).allows(project=engine)


def test_approval_requires_the_permission_to_change(page, bob):
    client, _viewer = log_in(BOTH)
    for to in ("on", "off"):
        url = f"{page}approval/{to}/"
        assert url not in client.get(page).content.decode()
        assert client.get(url).status_code == client.post(url).status_code == 403
    assert not ProjectRules.objects.exists()


def test_approval_needs_a_csrf_token_and_a_project(page, decider):
    client, root = decider
    assert client.post(f"{PROJECTS}999999/approval/on/").status_code == 404
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(root)
    assert strict.post(f"{page}approval/on/").status_code == 403
    assert not ProjectRules.objects.exists()


def test_a_site_admin_allows_a_key_that_is_held(page, decider, engine):
    client, root = decider
    key = mint_key(engine, name="server").key
    url = f"{page}{key.public_id}/"
    client.post(f"{url}deny/", {"reason": "Leaked?"})
    key.refresh_from_db()
    assert key.paused_at is not None
    lifecycle.pause(key, by=root, held=True, reason="Still open.")
    client.post(f"{url}allow/")
    key.refresh_from_db()
    assert key.paused_at is None


@pytest.mark.slow
def test_a_reason_is_checked_and_a_secret_is_not_repeated(page, decider, bob):
    client, _ = decider
    minted = mint_pat(bob)
    url = f"{page}{minted.key.public_id}/deny/"
    for reason in ("x" * 201, minted.token, f"see {minted.token}"):
        refused = client.post(url, {"reason": reason})
        assert refused.status_code == 200
        assert refused.context["form"].errors["reason"]
        assert minted.token not in refused.content.decode()
    assert not ProjectAccess.objects.exists()
    client.post(url)
    assert ProjectAccess.objects.get().reason == "", "the reason is optional"


def test_a_decision_needs_a_csrf_token(page, decider, bob):
    _, root = decider
    url = f"{page}{mint_pat(bob).key.public_id}/deny/"
    strict = Client(enforce_csrf_checks=True)
    strict.force_login(root)
    assert strict.post(url, {"reason": "x"}).status_code == 403
    assert not ProjectAccess.objects.exists()
    html = strict.get(url).content.decode()
    token = re.findall(r'name="csrfmiddlewaretoken" value="(\w+)"', html)
    strict.post(url, {"reason": "x", "csrfmiddlewaretoken": token[-1]})
    assert ProjectAccess.objects.get().is_denied


def links(client, engine, bob):
    """Return the pages of the admin that link to a page about access."""
    key = mint_key(engine).key
    mint_pat(bob)
    pages = ("/admin/apikeys/", f"{TOKENS}inventory/", f"{KEYS}{key.pk}/change/")
    return [f'href="{PROJECTS}' in client.get(url).content.decode() for url in pages]


@pytest.mark.slow
def test_the_index_the_inventory_and_a_key_link_to_it(page, engine, bob):
    reach.deny(engine, reach.find(engine, mint_pat(bob).key.public_id), reason="Lost.")
    client, _ = log_in(BOTH)
    assert links(client, engine, bob) == [True, True, True]
    html = client.get(f"{TOKENS}inventory/").content.decode()
    assert f'href="{PROJECTS}?q=analytical-engine"' in html
    key = mint_key(engine).key
    html = client.get(f"{KEYS}{key.pk}/change/").content.decode()
    assert re.search(rf'href="{page}">\s*Access to this project', html)


@pytest.mark.slow
def test_without_both_permissions_there_is_no_link_and_no_denial(engine, bob):
    reach.deny(engine, reach.find(engine, mint_pat(bob).key.public_id), reason="Lost laptop.")
    for permissions in (BOTH[:1], BOTH[1:], CHANGES):
        client, _ = log_in(permissions)
        assert links(client, engine, bob) == [False, False, False]
        for query in ("", "?format=csv", "?format=json"):
            assert b"Lost laptop." not in client.get(f"{TOKENS}inventory/{query}").content


@pytest.mark.slow
def test_a_site_without_project_keys_hides_it(page, engine, bob, decider, settings):
    client, _ = decider
    deny = f"{page}{mint_pat(bob).key.public_id}/deny/"
    settings.APIKEYS = {**settings.APIKEYS, "PROJECT_KEYS": False}
    for url in (PROJECTS, page, deny):
        assert client.get(url).status_code == 404
    assert client.post(deny).status_code == 404
    assert not ProjectAccess.objects.exists()
    assert PROJECTS not in client.get(f"{TOKENS}inventory/").content.decode()

    started = AdminSite(name="admin")
    apikeys.admin.register(started)
    urls: Any = ModuleType("urls")
    urls.urlpatterns = [path("admin/", started.urls)]
    settings.ROOT_URLCONF = urls
    assert client.get(TOKENS).status_code == 200
    for url in ("/admin/apikeys/", f"{TOKENS}inventory/"):
        assert "/access/" not in client.get(url).content.decode()


def test_a_site_without_projects_says_so(decider):
    client, _ = decider
    assert "This site has no projects." in words(client.get(PROJECTS))


@pytest.mark.slow
@pytest.mark.urls(__name__)
def test_the_pages_of_an_own_site_stay_in_it(engine, bob, decider):
    client, _ = decider
    minted, key = mint_pat(bob), mint_key(engine).key
    base = "/staff/apikeys/personalaccesstoken/access/"
    page = f"{base}{engine.pk}/"
    for url in (
        "/staff/apikeys/", "/staff/apikeys/personalaccesstoken/inventory/", base, page,
        f"{page}{minted.key.public_id}/deny/", f"/staff/apikeys/projectkey/{key.pk}/change/",
    ):  # fmt: skip
        html = client.get(url).content.decode()
        assert base in html, url
        assert '"/admin/' not in html, url
    denied = client.post(f"{page}{minted.key.public_id}/deny/", {"reason": "x"})
    assert denied["Location"] == page


@pytest.mark.urls(__name__)
def test_a_site_with_its_own_class_for_tokens_has_no_link(engine, decider):
    client, _ = decider
    key = mint_key(engine).key
    for url in ("/bare/apikeys/", f"/bare/apikeys/projectkey/{key.pk}/change/"):
        response = client.get(url)
        assert response.status_code == 200
        assert "/access/" not in response.content.decode()


@pytest.mark.slow
def test_a_request_is_approved_or_rejected(page, decider, bob, engine):
    client, _root = decider
    minted = mint_pat(bob, name="laptop")
    reach.require_approval(engine, True)
    url = f"{page}{minted.key.public_id}/"
    listed = words(client.get(page))
    assert "Approve" in listed
    assert "Reject" in listed
    assert "Deny" not in listed
    assert "Reject “laptop” in Analytical Engine?" in client.get(f"{url}deny/").content.decode()
    done = client.post(f"{url}deny/", {"reason": "Use the server."}, follow=True)
    assert "Rejected “laptop” in this project." in done.content.decode()
    assert "rejected here" in words(done)
    assert "denied here" not in words(done)
    asked = client.get(f"{url}allow/")
    assert "Approve “laptop” in Analytical Engine?" in asked.content.decode()
    assert "Reason: Use the server." in words(asked)
    done = client.post(f"{url}allow/", {"shown": str(asked.context["shown"])}, follow=True)
    assert "Approved “laptop” in this project." in done.content.decode()
    assert "approved here" in words(done)
    history = LogEntry.objects.order_by("pk")
    assert "Rejected in the project" in history[0].change_message
    assert "Approved in the project" in history[1].change_message
    assert verify(minted.token).allows(project=engine)


@pytest.mark.slow
@pytest.mark.parametrize(("verb", "other"), [("allow", "deny"), ("deny", "allow")])
def test_a_decision_overrides_no_other(page, decider, bob, engine, verb, other):
    client, _root = decider
    minted = mint_pat(bob, name="laptop")
    reach.require_approval(engine, True)
    url = f"{page}{minted.key.public_id}/{verb}/"
    html = client.get(url).content.decode()
    shown = re.search(r'name="shown" value="([^"]+)"', html)[1]
    getattr(reach, other)(engine, reach.find(engine, minted.key.public_id))
    before = ProjectAccess.objects.values().get()
    response = client.post(url, {"shown": shown, "reason": "Mine."})
    assert response.status_code == 409
    assert "has changed since you opened the page" in words(response)
    assert ProjectAccess.objects.values().get() == before
    assert not LogEntry.objects.exists()
    again = client.post(url, {"shown": str(response.context["shown"])})
    assert again.status_code == 302
    assert verify(minted.token).allows(project=engine) == (verb == "allow")


@pytest.mark.slow
@pytest.mark.parametrize("given", [{}, {"shown": "awaits"}])
def test_a_request_is_not_approved_unseen(page, decider, bob, engine, given):
    client, _root = decider
    minted = mint_pat(bob, name="laptop")
    reach.require_approval(engine, True)
    url = f"{page}{minted.key.public_id}/allow/"
    assert client.post(url, given).status_code == 409
    shown = str(client.get(url).context["shown"])
    lifecycle.edit(minted.key, scopes=["payments:read", "payments:write"])
    response = client.post(url, {"shown": shown})
    assert response.status_code == 409
    assert "payments:write" in words(response)
    assert not ProjectAccess.objects.exists()


@pytest.mark.slow
def test_a_token_that_an_older_worker_allowed_is_not_rejected(page, decider, bob, engine):
    """It leaves ``is_rejected`` in the row."""
    client, _root = decider
    minted = mint_pat(bob, name="laptop")
    reach.require_approval(engine, True)
    reach.deny(engine, reach.find(engine, minted.key.public_id))
    ProjectAccess.objects.update(is_denied=False)
    listed = words(client.get(page))
    assert "rejected here" not in listed
    assert "approved here" in listed
    assert "Approve laptop" not in client.get(page).content.decode()
    entry = reach.find(engine, minted.key.public_id)
    assert not entry.is_rejected
    assert not entry.is_request
    client.post(f"{page}{minted.key.public_id}/deny/")
    row = ProjectAccess.objects.get()
    assert (row.is_denied, row.is_rejected) == (True, False), "it was approved before"
    assert "denied here" in words(client.get(page))


def test_a_token_that_is_being_replaced_is_marked(page, decider, bob, engine):
    client, _root = decider
    old = mint_pat(bob, name="laptop")
    assert "being replaced" not in words(client.get(page))
    lifecycle.rotate(old.key)
    assert words(client.get(page)).count("being replaced") == 1
