"""The pages that list, edit, rotate, revoke and approve keys, with their permissions."""

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission
from django.test import Client
from django.utils import timezone

from apikeys import lifecycle, refusals, usage
from apikeys.models import PersonalAccessToken, ProjectKey, ProjectKeyUsage
from apikeys.policy import Policy
from apikeys.verify import Refused, verify
from tests.factories import MembershipFactory, ProjectFactory, UserFactory, mint_key, mint_pat
from tests.web.conftest import KEYS, TOKENS, secret_of, text_of

APPROVALS = f"{TOKENS}approvals/"


@pytest.fixture
def made(place, ada, engine):
    """A key of each kind."""
    if place.model is PersonalAccessToken:
        return mint_pat(ada, scopes=["payments:write"])
    return mint_key(engine, scopes=["payments:write"], by=ada)


@pytest.fixture
def as_viewer(viewer):
    client = Client()
    client.force_login(viewer)
    return client


@pytest.fixture
def as_stranger(db):
    client = Client()
    client.force_login(MembershipFactory(role="owner").user)
    return client


# Lists


def test_list_shows_the_facts_of_a_key(page, place, made):
    usage.note_use(place.model, made.key.pk, "203.0.113.7")
    usage.flush()

    told = text_of(page.get(place.url))

    for fact in ("Make payments, and see them", made.key.public_id, "203.0.113.7", "just now"):
        assert fact in told
    assert "1 request in the last 30 days" in page.get(place.url).content.decode()


@pytest.mark.slow
def test_active_and_ended_keys_are_listed_separately(page, place, made):
    assert made.key.public_id in text_of(page.get(place.url))
    assert made.key.public_id not in text_of(page.get(place.url, {"state": "ended"}))
    lifecycle.revoke(made.key)
    assert made.key.public_id not in text_of(page.get(place.url))
    assert made.key.public_id in text_of(page.get(place.url, {"state": "ended"}))
    place.model.objects.update(revoked_at=None, expires_at=timezone.now())
    assert made.key.public_id in text_of(page.get(place.url, {"state": "ended"}))


@pytest.mark.slow
def test_project_key_is_listed_after_its_creator_is_deleted(page, engine):
    maker = MembershipFactory(user__username="grace", project=engine, role="admin").user
    key = mint_key(engine, by=maker)
    assert "Created by grace" in text_of(page.get(KEYS)).replace(":", "")
    maker.delete()
    assert "a deleted user" in text_of(page.get(KEYS))
    assert verify(key.token).project == engine


def test_entered_text_is_escaped(page, place, made):
    lifecycle.edit(made.key, name="<script>alert(1)</script>")
    for url in (place.url, f"{place.url}{made.key.public_id}/"):
        assert "<script>alert" not in page.get(url).content.decode()


@pytest.fixture
def many(place, ada, engine):
    """Fill a list with rotated and used keys, in selected projects and of different creators."""

    def many(number):
        token = place.model is PersonalAccessToken
        now, later = timezone.now(), timezone.now() + timedelta(hours=1)
        owner = {"user": ada, "all_projects": False} if token else {"project": engine}
        for n in range(number):
            maker = {} if token else {"created_by": UserFactory()}
            common = owner | maker | {"scope": "payments:read", "name": f"key {n}"}
            old = place.model.objects.create(**common, rotated_at=now, expires_at=later)
            new = place.model.objects.create(**common, replaces=old)
            if token:
                new.projects.set([engine])
            usage.note_use(place.model, new.pk, "203.0.113.7")
        usage.flush()

    return many


@pytest.mark.parametrize("number", [1, 10])
def test_number_of_queries_does_not_grow_with_the_list(
    page, place, many, django_assert_num_queries, number
):
    many(number)
    # Session and user. Then the choices of the filter by project, tokens, their projects and their
    # denials; or the project, two queries of the policy, and the keys. Then the active keys, by
    # four ranges of an index. Then the usage, and three banners: keys that expire soon, that
    # expired, that were rejected. Then whether keys of either kind are pending, in which projects
    # of the user tokens need approval, and whether the user approves keys.
    with django_assert_num_queries(2 + 4 + 4 + 2 + 6):
        response = page.get(place.url)
    assert len(response.context["rows"]) == 2 * number


@pytest.mark.slow
def test_list_is_paged_forwards_and_backwards(page, ada):
    made = [mint_pat(ada, name=f"token {n:03}").key for n in range(3)]
    rest = [
        PersonalAccessToken(
            user=ada, name=f"token {n:03}", scope="payments:read", created_at=made[0].created_at
        )
        for n in range(3, 50)
    ]
    PersonalAccessToken.objects.bulk_create(rest)

    def names(response):
        return [row["key"].name for row in response.context["rows"]]

    newest = [f"token {n:03}" for n in reversed(range(50))]
    first = page.get(TOKENS)
    assert names(first) == newest[:20]
    assert first.context["page"].previous is None
    second = page.get(TOKENS + first.context["page"].next)
    assert names(second) == newest[20:40]
    third = page.get(TOKENS + second.context["page"].next)
    assert names(third) == newest[40:]
    assert third.context["page"].next is None
    back = page.get(TOKENS + third.context["page"].previous)
    assert names(back) == newest[20:40]
    begin = page.get(TOKENS + back.context["page"].previous)
    assert names(begin) == newest[:20]
    assert begin.context["page"].previous is None


@pytest.mark.parametrize("cursor", ["nosuchkeynosuchk", "'", "\0", "💥"])
@pytest.mark.parametrize("direction", ["before", "after"])
def test_unknown_cursor_shows_an_empty_page(page, ada, direction, cursor):
    mint_pat(ada)
    response = page.get(TOKENS, {direction: cursor})
    assert response.status_code == 200
    assert response.context["rows"] == []


@pytest.mark.slow
def test_next_page_works_after_the_cursor_key_is_revoked(page, ada):
    for n in range(21):
        PersonalAccessToken.objects.create(user=ada, name=f"token {n}", scope="x")
    onward = page.get(TOKENS).context["page"].next
    PersonalAccessToken.objects.exclude(name="token 0").update(revoked_at=timezone.now())
    (row,) = page.get(TOKENS + onward).context["rows"]
    assert row["key"].name == "token 0"


def test_key_of_another_user_is_not_a_cursor(page, ada):
    mint_pat(ada)
    foreign = mint_pat().key
    assert page.get(TOKENS, {"after": foreign.public_id}).context["rows"] == []


def test_list_of_projects_shows_own_projects_only(page, ada, engine):
    ProjectFactory(slug="not-mine")
    told = text_of(page.get(f"{TOKENS}projects/"))
    assert "analytical-engine" in told
    assert "not-mine" not in told


@pytest.mark.slow
def test_rotation_chain_is_shown_with_the_end_of_the_overlap(page, place, made, ada):
    new = lifecycle.rotate(made.key, overlap=timedelta(hours=1), by=ada).key
    told = text_of(page.get(place.url))
    assert f"Its predecessor still works: {made.key.public_id} (expires in 59 minutes" in told
    assert f"Replaced by {new.public_id}" in told
    for key in (made.key, new):
        detail = text_of(page.get(f"{place.url}{key.public_id}/"))
        assert made.key.public_id in detail
        assert new.public_id in detail


# Headers


URLS = ["", "?state=ended", "new/", "{id}/", "{id}/edit/", "{id}/rotate/", "{id}/revoke/"]


@pytest.mark.parametrize("path", URLS)
def test_every_page_has_security_headers_and_no_inline_code(page, place, made, path):
    response = page.get(place.url + path.format(id=made.key.public_id))

    assert response.status_code == 200
    assert response["Content-Security-Policy"].startswith("default-src 'self';")
    assert "unsafe" not in response["Content-Security-Policy"]
    assert "frame-ancestors 'none'" in response["Content-Security-Policy"]
    assert response["Cache-Control"] == "no-store, private"
    html = response.content.decode()
    assert " style=" not in html
    assert "<style" not in html
    assert " onclick=" not in html
    assert html.count("<script") == html.count("<script src=") == 1


def test_content_security_policy_allows_the_host_of_static_files(page, settings):
    settings.STATIC_URL = "https://cdn.example/static/"
    csp = page.get(TOKENS)["Content-Security-Policy"]
    assert csp.startswith("default-src 'self' https://cdn.example;")


# Permissions


@pytest.mark.parametrize("path", URLS)
def test_pages_require_a_log_in(client, place, made, path):
    url = place.url + path.format(id=made.key.public_id)
    assert client.get(url)["Location"].startswith("/login/?next=/settings/keys/")


@pytest.mark.parametrize("path", URLS)
@pytest.mark.parametrize("method", ["get", "post"])
def test_key_is_404_for_strangers(place, made, as_stranger, path, method):
    response = getattr(as_stranger, method)(place.url + path.format(id=made.key.public_id))
    if place.url == TOKENS and "{id}" not in path:  # every user has a list and a form of tokens
        assert made.key.public_id not in response.content.decode()
    else:
        assert response.status_code in (404, 405)
    made.key.refresh_from_db()
    assert made.key.revoked_at is made.key.rotated_at is None


@pytest.mark.parametrize("path", ["", "edit/", "rotate/", "revoke/"])
def test_key_of_another_project_is_404(page, ada, path):
    foreign = mint_key().key
    assert page.get(f"{KEYS}{foreign.public_id}/{path}").status_code == 404
    assert page.post(f"{KEYS}{foreign.public_id}/{path}").status_code in (404, 405)
    token = mint_pat(ada).key  # belongs to the user, not to the project
    assert page.get(f"{KEYS}{token.public_id}/{path}").status_code == 404


@pytest.mark.slow
def test_viewer_can_view_but_not_manage(as_viewer, engine, ada):
    key = mint_key(engine, by=ada).key
    listed = as_viewer.get(KEYS)
    assert key.public_id in text_of(listed)
    assert "Revoke" not in text_of(listed)
    assert "New key" not in text_of(listed)
    assert "Revoke" not in text_of(as_viewer.get(f"{KEYS}{key.public_id}/"))
    for path in ("new/", f"{key.public_id}/edit/", f"{key.public_id}/rotate/"):
        assert as_viewer.get(KEYS + path).status_code == 403
    response = as_viewer.post(f"{KEYS}{key.public_id}/revoke/")
    assert response.status_code == 403
    assert "view keys, but not to manage them" in text_of(response)
    assert "no-store" in response["Cache-Control"]
    key.refresh_from_db()
    assert key.revoked_at is None


def test_former_member_loses_access_at_once(as_viewer, viewer, engine):
    assert as_viewer.get(KEYS).status_code == 200
    viewer.project_memberships.all().delete()
    assert as_viewer.get(KEYS).status_code == 404


def test_keys_of_inactive_project_are_404(page, engine):
    type(engine).objects.update(is_active=False)
    assert page.get(KEYS).status_code == 404


@pytest.mark.parametrize("path", ["edit/", "rotate/", "revoke/"])
def test_csrf_is_checked(ada, place, made, path):
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert client.post(f"{place.url}{made.key.public_id}/{path}").status_code == 403
    made.key.refresh_from_db()
    assert made.key.revoked_at is made.key.rotated_at is None


# Editing


def edited(place, **changes):
    form = {"name": "server", "expiry": "keep", "scopes:payments": "payments:read"}
    if place.model is PersonalAccessToken:
        form["reach"] = "all"
    return form | changes


def test_narrowing_applies_to_the_next_request(page, place, made, ada):
    assert verify(made.token).allows("payments:write")
    response = page.post(f"{place.url}{made.key.public_id}/edit/", edited(place, name="desk"))
    assert response.status_code == 302
    assert not verify(made.token).allows("payments:write")
    told = text_of(page.get(response["Location"]))
    assert "Saved." in told
    assert "desk" in told


def test_edit_restricts_a_token_to_selected_projects(page, ada, engine):
    MembershipFactory(user=ada, project__slug="difference-engine")
    made = mint_pat(ada)
    form = {"name": "x", "expiry": "keep", "scopes:payments": "payments:read"}
    form |= {"reach": "selected", "projects": ["analytical-engine"]}
    page.post(f"{TOKENS}{made.key.public_id}/edit/", form)
    assert list(verify(made.token).projects()) == [engine]


@pytest.mark.slow
def test_edit_can_keep_scopes_that_the_user_cannot_grant(client, viewer, engine):
    made = mint_pat(viewer, scopes=["payments:write"])
    client.force_login(viewer)
    url = f"{TOKENS}{made.key.public_id}/edit/"
    assert 'value="payments:write"' in client.get(url).content.decode()
    form = {"name": "new name", "expiry": "keep", "reach": "all"}
    client.post(url, form | {"scopes:payments": "payments:write"})
    made.key.refresh_from_db()
    assert (made.key.name, made.key.scope) == ("new name", "payments:write")
    # Once removed, the scope cannot be added again.
    client.post(url, form | {"scopes:payments": "payments:read"})
    response = client.post(url, form | {"scopes:payments": "payments:write"})
    assert response.status_code == 422
    made.key.refresh_from_db()
    assert made.key.scope == "payments:read"


def test_edit_of_a_name_keeps_a_scope_that_another_scope_includes(page, ada):
    made = mint_pat(ada, scopes=["payments:read", "payments:write"])
    url = f"{TOKENS}{made.key.public_id}/edit/"
    form = {"name": "new name", "expiry": "keep", "reach": "all"}
    page.post(url, form | {"scopes:payments": "payments:write"})
    made.key.refresh_from_db()
    assert (made.key.name, made.key.scope) == ("new name", "payments:read payments:write")
    page.post(url, form | {"scopes:payments": "payments:read"})
    made.key.refresh_from_db()
    assert made.key.scope == "payments:read"


def test_edit_can_keep_or_remove_an_undeclared_scope(page, ada, settings):
    made = mint_pat(ada, scopes=["payments:read", "reports:read"])
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": {"payments:read": "See payments"}}
    url = f"{TOKENS}{made.key.public_id}/edit/"
    assert "No longer offered by this site" in text_of(page.get(url))
    form = {"name": "x", "expiry": "keep", "reach": "all", "scopes:payments": "payments:read"}
    page.post(url, form | {"scopes:reports": "reports:read"})
    made.key.refresh_from_db()
    assert made.key.scope == "payments:read reports:read"
    page.post(url, form)
    made.key.refresh_from_db()
    assert made.key.scope == "payments:read"


@pytest.mark.parametrize(
    ("changes", "told"),
    [({"name": ""}, "Enter a name."), ({"scopes:payments": "x"}, "cannot grant the scope x")],
)
def test_invalid_edit_changes_nothing(page, place, made, changes, told):
    url = f"{place.url}{made.key.public_id}/edit/"
    response = page.post(url, edited(place, **changes))
    assert response.status_code == 422
    assert told in text_of(response)
    made.key.refresh_from_db()
    assert made.key.scope == "payments:write"


@pytest.mark.parametrize("path", ["edit/", "rotate/"])
def test_revoked_key_cannot_be_edited_or_rotated(page, place, made, path):
    lifecycle.revoke(made.key)
    url = f"{place.url}{made.key.public_id}/{path}"
    assert page.get(url)["Location"] == f"{place.url}{made.key.public_id}/"
    response = page.post(url, edited(place, overlap="0"))
    assert response.status_code == 409
    assert "was revoked" in text_of(response)


# Rotating


def test_old_and_new_key_work_until_the_overlap_ends(page, place, made):
    url = f"{place.url}{made.key.public_id}/rotate/"
    response = page.post(url, {"overlap": "3600", "expiry": "keep"})
    assert response.status_code == 200
    assert response["Cache-Control"] == "no-store, private"
    new = secret_of(response)
    assert verify(new).scope == verify(made.token).scope
    place.model.objects.filter(pk=made.key.pk).update(expires_at=timezone.now())
    with pytest.raises(Refused) as refused:
        verify(made.token)
    assert refused.value.refusal is refusals.EXPIRED_KEY
    assert verify(new)


def test_resubmitted_rotation_shows_no_secret(page, place, made):
    url = f"{place.url}{made.key.public_id}/rotate/"
    form = {"overlap": "3600", "expiry": "30"}
    page.post(url, form)
    again = page.post(url, form)
    assert again.status_code == 409
    assert "was already rotated" in text_of(again)
    assert "acme_" not in again.content.decode()
    assert place.model.objects.count() == 2


@pytest.mark.parametrize("form", [{"overlap": "604801", "expiry": "keep"}, {"overlap": "0"}, {}])
def test_invalid_rotation_changes_nothing(page, place, made, form):
    assert page.post(f"{place.url}{made.key.public_id}/rotate/", form).status_code == 422
    assert place.model.objects.count() == 1


@pytest.mark.parametrize(
    ("overlap", "told"),
    [
        (timedelta(minutes=90), "90 minutes"),
        (timedelta(hours=36), "36 hours"),
        (timedelta(days=3), "3 days"),
        (timedelta(days=2, hours=12), "60 hours"),
    ],
)
def test_default_overlap_is_offered(page, place, made, settings, overlap, told):
    settings.APIKEYS = settings.APIKEYS | {"ROTATION_OVERLAP": overlap}
    response = page.get(f"{place.url}{made.key.public_id}/rotate/")
    assert told in text_of(response)
    assert response.context["form"]["overlap"].value() == str(int(overlap.total_seconds()))


def test_rotating_a_project_key_beyond_own_rights_is_refused(client, engine, settings):
    """A policy may allow users to manage keys that they cannot create."""
    settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Managing"}
    made = mint_key(engine, scopes=["payments:write"])
    client.force_login(MembershipFactory(project=engine, role="viewer").user)
    url = f"{KEYS}{made.key.public_id}/rotate/"
    response = client.post(url, {"overlap": "0", "expiry": "keep"})
    assert response.status_code == 422
    assert "cannot grant the scope payments:write" in text_of(response)
    assert ProjectKey.objects.count() == 1


class Managing(Policy):
    managing_roles = ("owner", "viewer")


# Revoking


def test_revoking_is_confirmed_and_applies_to_the_next_request(page, place, made, ada):
    url = f"{place.url}{made.key.public_id}/revoke/"
    assert "Revoke “server”?" in text_of(page.get(url)) or "Revoke “ci”?" in text_of(page.get(url))
    assert verify(made.token)
    page.post(url, {"reason": "The laptop was lost."})
    with pytest.raises(Refused) as refused:
        verify(made.token)
    assert refused.value.refusal is refusals.REVOKED_KEY
    made.key.refresh_from_db()
    assert (made.key.revoked_by, made.key.revoked_reason) == (ada, "The laptop was lost.")


@pytest.mark.parametrize("also", [True, False])
def test_predecessor_in_its_overlap_can_be_revoked_too(page, place, made, ada, also):
    new = lifecycle.rotate(made.key, by=ada)
    url = f"{place.url}{new.key.public_id}/revoke/"
    assert made.key.public_id in text_of(page.get(url))
    page.post(url, {"also": "on"} if also else {})
    made.key.refresh_from_db()
    assert (made.key.revoked_at is not None) is also
    new.key.refresh_from_db()
    assert new.key.revoked_at is not None


def test_invalid_reason_revokes_nothing(page, place, made):
    url = f"{place.url}{made.key.public_id}/revoke/"
    for reason, told in (
        ("x" * 201, "at most 200"),
        (f"Lost {made.token}", "This text contains a key."),
    ):
        response = page.post(url, {"reason": reason})
        assert response.status_code == 422
        assert told in text_of(response)
    assert verify(made.token)


# Approving


def pending(made):
    type(made.key).objects.filter(pk=made.key.pk).update(is_pending=True)
    return made


def decide(client, made, decision, **more):
    url = f"{APPROVALS}{made.key.KIND}/{made.key.public_id}/"
    return client.post(url, {"decision": decision} | more)


def test_project_admin_approves_key(page, engine, ada):
    made = pending(mint_key(engine, name="pays"))
    assert "pays" in text_of(page.get(APPROVALS))
    with pytest.raises(Refused):
        verify(made.token)
    assert decide(page, made, "approve").status_code == 302
    assert verify(made.token).project == engine
    made.key.refresh_from_db()
    assert made.key.approved_by == ada
    assert "No pending approvals." in text_of(page.get(APPROVALS))


@pytest.mark.slow
@pytest.mark.parametrize("mint", ["key", "token"])
def test_pending_keys_of_other_owners_do_not_hide_own_approvals(page, engine, ada, mint):
    other = MembershipFactory(user=ada, role="viewer").project
    for number in range(25):
        if mint == "key":
            pending(mint_key(other, name=f"other {number}"))
        else:
            pending(mint_pat(MembershipFactory(project=other).user, projects=[other]))
    owner = MembershipFactory(project=engine).user
    last = (
        mint_key(engine, name="last")
        if mint == "key"
        else mint_pat(owner, name="last", projects=[engine])
    )
    pending(last)
    shown = text_of(page.get(APPROVALS))
    assert "last" in shown
    assert "other 1" not in shown


@pytest.mark.slow
def test_approvals_refused_by_the_policy_do_not_hide_others(page, engine, settings):
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": f"{__name__}.Picky"}
    for number in range(25):
        pending(mint_key(engine, name=f"first {number}"))
    pending(mint_key(engine, name="last"))
    shown = text_of(page.get(APPROVALS))
    assert "last" in shown
    assert "first" not in shown


class Picky(Policy):
    def may_approve(self, user, key):
        return key.name == "last" and super().may_approve(user, key)


def test_project_admin_rejects_key(page, engine, ada):
    made = pending(mint_key(engine))
    decide(page, made, "reject", reason="Ask for less.")
    made.key.refresh_from_db()
    assert (made.key.revoked_by, made.key.revoked_reason) == (ada, "Ask for less.")


def test_project_admin_approves_token_of_selected_projects(page, engine, viewer):
    made = pending(mint_pat(viewer, name="theirs", projects=[engine]))
    assert "theirs" in text_of(page.get(APPROVALS))
    assert decide(page, made, "approve").status_code == 302
    assert verify(made.token)


@pytest.mark.slow
@pytest.mark.parametrize("decision", ["approve", "reject"])
def test_others_cannot_approve_or_reject(as_viewer, as_stranger, engine, viewer, decision):
    for made in (
        pending(mint_key(engine, name="pays")),
        pending(mint_pat(viewer, name="own", projects=[engine])),
        pending(mint_pat(viewer, name="everywhere")),
    ):
        for client in (as_viewer, as_stranger):
            assert "No pending approvals." in text_of(client.get(APPROVALS))
            assert decide(client, made, decision).status_code == 404
        made.key.refresh_from_db()
        assert made.key.is_pending
        assert made.key.revoked_at is None


def test_site_admin_approves_any_key(client, viewer):
    admin = UserFactory(is_staff=True)
    admin.user_permissions.add(Permission.objects.get(codename="change_personalaccesstoken"))
    client.force_login(admin)
    made = pending(mint_pat(viewer, name="everywhere"))
    assert "everywhere" in text_of(client.get(APPROVALS))
    assert decide(client, made, "approve").status_code == 302
    assert verify(made.token)


@pytest.mark.slow
def test_tab_counts_pending_keys_and_is_hidden_from_users_who_decide_nothing(
    page, as_viewer, as_stranger, engine, ada
):
    assert "Approvals" in text_of(page.get(TOKENS))
    assert "Approvals 1" not in text_of(page.get(TOKENS))
    set_pending(mint_key(engine).key)
    assert "Approvals 1 pending" in text_of(page.get(TOKENS))
    assert "1 pending" not in text_of(as_stranger.get(TOKENS))
    assert "Approvals" not in text_of(as_viewer.get(TOKENS))
    assert as_viewer.get(APPROVALS).status_code == 200


def test_request_shows_its_description_and_links_to_the_key(page, engine, viewer):
    key = mint_key(engine, description="Pays the suppliers every Friday.", by=viewer).key
    set_pending(key)
    token = mint_pat(viewer, projects=[engine]).key
    set_pending(token)
    response = page.get(APPROVALS)
    assert "Description: Pays the suppliers every Friday." in text_of(response)
    html = response.content.decode()
    assert f'href="{KEYS}{key.public_id}/"' in html
    assert f'href="{TOKENS}{token.public_id}/"' not in html


def test_requester_sees_the_reason_of_a_rejection(page, as_viewer, engine, viewer):
    key = mint_key(engine, by=viewer).key
    set_pending(key)
    page.post(f"{APPROVALS}key/{key.public_id}/", {"decision": "reject", "reason": "Too broad."})
    assert "by ada : Too broad." in text_of(as_viewer.get(f"{KEYS}{key.public_id}/")).replace(
        "ada:", "ada :"
    )


def set_pending(key):
    type(key).objects.filter(pk=key.pk).update(is_pending=True)


def test_approved_key_cannot_be_rejected(page, engine):
    made = pending(mint_key(engine))
    decide(page, made, "approve")
    assert decide(page, made, "reject").status_code == 409
    assert verify(made.token)
    assert decide(page, made, "maybe").status_code == 400


def test_approving_requires_post_and_csrf_token(ada, engine):
    made = pending(mint_key(engine))
    client = Client(enforce_csrf_checks=True)
    client.force_login(ada)
    assert decide(client, made, "approve").status_code == 403
    assert client.get(f"{APPROVALS}key/{made.key.public_id}/").status_code == 405
    made.key.refresh_from_db()
    assert made.key.is_pending


# Usage


def test_chart_counts_the_last_thirty_days(page, engine):
    key = mint_key(engine).key
    today = timezone.now().date()
    for ago, count in ((0, 5), (29, 1200), (30, 7)):
        ProjectKeyUsage.objects.create(key=key, day=today - timedelta(days=ago), count=count)
    html = page.get(KEYS).content.decode()
    assert "1,205 requests in the last 30 days" in html
    (row,) = page.get(KEYS).context["rows"]
    assert (row["counts"][-1], row["counts"][0]) == (5, 1200)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("lifetime", "left", "longest", "days"),
    [
        (90, timedelta(hours=23), None, 90),
        (45, timedelta(hours=23), None, 45),
        (200, timedelta(days=2), 60, 60),
    ],
)
def test_rotation_renews_the_original_lifetime(
    page, place, made, settings, lifetime, left, longest, days
):
    if longest:
        settings.APIKEYS = settings.APIKEYS | {"POLICY": f"{__name__}.Sixty"}
    now = timezone.now()
    ends = now + left
    created = ends - timedelta(days=lifetime)
    place.model.objects.update(created_at=created, expires_at=ends)
    url = f"{place.url}{made.key.public_id}/rotate/"
    form = page.get(url).context["form"]
    chosen = form["expiry"].value()
    assert f"{days} days" in dict(form.fields["expiry"].choices)[chosen]
    page.post(url, {"overlap": "3600", "expiry": chosen})
    successor = place.model.objects.get(replaces=made.key)
    assert abs(successor.expires_at - now - timedelta(days=days)) < timedelta(minutes=1)


def test_rotation_of_a_key_without_expiry_keeps_it(page, place, made):
    form = page.get(f"{place.url}{made.key.public_id}/rotate/").context["form"]
    assert form["expiry"].value() == "keep"


class Sixty(Policy):
    def longest_lifetime(self, owner):
        return timedelta(days=60)
