"""Keys in the admin: actions, permissions, and no leaked secrets."""

import html
import logging
import re
from datetime import timedelta

import pytest
from django.contrib import admin
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission
from django.contrib.messages import get_messages
from django.contrib.sessions.models import Session
from django.utils import timezone

from apikeys import lifecycle, token, usage
from apikeys.models import PersonalAccessToken, ProjectKey, State
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.admin.conftest import KEYS, TOKENS, mint_form
from tests.documents import table
from tests.factories import ProjectFactory, UserFactory, mint_key, mint_pat

pytestmark = pytest.mark.django_db


def text_of(response):
    return html.unescape(response.content.decode())


def shown_token(response):
    (found,) = re.findall(r'id="token"[^>]*>([^<]+)<', text_of(response))
    return found


def act(client, url, action, *keys, **answers):
    form = {"action": action, "_selected_action": [key.pk for key in keys]}
    return client.post(url, form | ({"confirmed": "yes"} | answers if answers else {}))


def messages_of(response):
    return [str(message) for message in get_messages(response.wsgi_request)]


# Permissions

ACTIONS = (
    "revoke_selected", "pause_selected", "resume_selected", "expire_selected",
    "approve_selected", "reject_selected",
)  # fmt: skip


@pytest.mark.parametrize("url", [TOKENS, KEYS])
@pytest.mark.parametrize(
    ("may", "sees", "adds"),
    [
        ((), 403, 403),
        (("view",), 200, 403),
        (("change",), 200, 403),
        (("add",), 403, 200),
        (("delete",), 403, 403),
        (("view", "add"), 200, 200),
        (("view", "change", "add", "delete"), 200, 200),
    ],
)
def test_pages_require_the_permission(client, staff, engine, url, may, sees, adds):
    client.force_login(staff(*may))
    key = mint_pat().key if url == TOKENS else mint_key(engine).key
    assert client.get(url).status_code == sees
    assert client.get(f"{url}find/").status_code == sees
    assert client.get(f"{url}{key.pk}/change/").status_code == sees
    assert client.get(f"{url}add/").status_code == adds


@pytest.mark.parametrize("may", [(), ("view",), ("view", "add"), ("view", "delete"), ("add",)])
@pytest.mark.parametrize("action", ACTIONS)
def test_actions_without_the_change_permission_change_nothing(client, staff, may, action):
    client.force_login(staff(*may))
    minted = mint_pat()
    PersonalAccessToken.objects.update(is_pending="approve" in action or "reject" in action)
    before = PersonalAccessToken.objects.values().get()

    act(client, TOKENS, action, minted.key, reason="because", days="3")
    client.post(f"{TOKENS}{minted.key.pk}/change/", mint_form(name="mine"))

    assert PersonalAccessToken.objects.values().get() == before
    assert not LogEntry.objects.exists()


def test_view_permission_shows_no_buttons_and_no_fields(client, staff):
    client.force_login(staff("view"))
    key = mint_pat().key
    page = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
    assert key.public_id in page
    assert 'name="action"' not in page
    assert 'name="name"' not in page
    assert 'name="_save"' not in page
    listing = text_of(client.get(TOKENS))
    assert not any(action in listing for action in ACTIONS)


def test_change_permission_does_not_allow_creating(client, staff, ada):
    client.force_login(staff("view", "change"))
    assert client.post(f"{TOKENS}add/", mint_form(user=ada.pk)).status_code == 403
    assert not PersonalAccessToken.objects.exists()


def test_deleting_a_key_is_refused(client, root):
    key = mint_pat().key
    response = client.post(f"{TOKENS}{key.pk}/delete/", {"post": "yes"})
    assert response.status_code == 403
    rows = {event: when for event, _, when, *_ in table("docs/reference/audit.md", "event")}
    assert "The admin refuses to delete a key (403)" in rows["`deleted`"]
    act(client, TOKENS, "delete_selected", key, post="yes")
    assert PersonalAccessToken.objects.exists()
    assert "delete_selected" not in text_of(client.get(TOKENS))
    assert "/delete/" not in text_of(client.get(f"{TOKENS}{key.pk}/change/"))


def test_deleting_a_user_deletes_their_keys(client, root):
    user = mint_pat().key.user
    response = client.post(f"/admin/auth/user/{user.pk}/delete/", {"post": "yes"})
    assert response.status_code == 302
    assert not PersonalAccessToken.objects.exists()


@pytest.mark.slow
def test_token_for_another_user_requires_permission_to_change_users(client, staff, ada):
    admin = staff("view", "add")
    client.force_login(admin)
    response = client.post(f"{TOKENS}add/", mint_form(user=ada.pk))
    assert response.context["errors"]
    assert not PersonalAccessToken.objects.exists()

    assert shown_token(client.post(f"{TOKENS}add/", mint_form(user=admin.pk)))

    admin.user_permissions.add(Permission.objects.get(codename="change_user"))
    assert shown_token(client.post(f"{TOKENS}add/", mint_form(user=ada.pk)))

    chief = UserFactory(is_superuser=True)
    assert client.post(f"{TOKENS}add/", mint_form(user=chief.pk)).context["errors"]
    assert not PersonalAccessToken.objects.filter(user=chief).exists()


def test_policy_decides_who_can_approve(client, root, settings):
    from apikeys.policy import Policy

    refuses = {"may_approve": lambda self, user, key: False}
    settings.APIKEYS = {**settings.APIKEYS, "POLICY": type("Strict", (Policy,), refuses)}
    key = mint_pat().key
    PersonalAccessToken.objects.update(is_pending=True)
    for action in ("approve_selected", "reject_selected"):
        response = act(client, TOKENS, action, key, reason="x")
        refused = f"{key.public_id}: You cannot approve this key."
        assert messages_of(response)[-1] == refused
    key.refresh_from_db()
    assert key.state() is State.PENDING


# Mint


@pytest.mark.slow
def test_creating_shows_the_secret_once_and_does_not_store_it(client, root, ada, engine, caplog):
    caplog.set_level(logging.DEBUG)
    response = client.post(
        f"{TOKENS}add/",
        mint_form(user=ada.pk, all_projects=None, projects=str(engine.pk), _continue="1"),
    )

    assert response.status_code == 200
    assert "no-store" in response["Cache-Control"]
    text = shown_token(response)
    access = verify(text)
    assert (access.user, list(access.projects())) == (ada, [engine])
    key = PersonalAccessToken.objects.get()
    secret = token.parse(text, "acme").secret

    entry = LogEntry.objects.get()
    assert entry.object_repr == f"laptop ({key.public_id})"
    assert str(entry) == f"Added “laptop ({key.public_id})”."
    session = client.session
    later = [text_of(client.get(url)) for url in (TOKENS, f"{TOKENS}{key.pk}/change/", "/admin/")]
    history = text_of(client.get(f"{TOKENS}{key.pk}/history/"))
    places = [
        *later, history, repr(LogEntry.objects.values()), repr(messages_of(response)),
        repr(dict(session)), repr(Session.objects.values()), repr(client.cookies),
        repr(response.headers), caplog.text, repr(PersonalAccessToken.objects.values()),
    ]  # fmt: skip
    assert not [place for place in places if secret in place]
    for stored in (key.root, key.digest):
        assert not [page for page in [*later, history] if stored in page]


@pytest.mark.slow
def test_resubmitted_form_creates_one_key(client, root, ada):
    url = f"{TOKENS}add/"
    once = client.get(url).context["adminform"].form["once"].value()
    form = mint_form(user=ada.pk, once=once)
    assert b"Copy the new token now" in client.post(url, form).content

    again = client.post(url, form)

    key = PersonalAccessToken.objects.get()
    assert f"The key {key.public_id} already exists." in again.content.decode()
    assert "acme_pat_" not in again.content.decode()


@pytest.mark.parametrize("once", ["0123456789abcdef", "0123456789abcdef:1uXyZ:x"])
def test_id_of_a_new_key_cannot_be_chosen(client, root, ada, once):
    refused = client.post(f"{TOKENS}add/", mint_form(user=ada.pk, once=once)).content.decode()
    assert "open for too long" in refused
    assert once not in refused
    assert not PersonalAccessToken.objects.exists()


def test_project_key_is_created(client, root, engine):
    form = mint_form(project=engine.pk, all_projects=None, expires_at_0="", expires_at_1="")
    access = verify(shown_token(client.post(f"{KEYS}add/", form)))
    assert (access.project, access.expires_at) == (engine, None)
    assert ProjectKey.objects.get().created_by == root


def test_creating_in_a_popup_shows_the_secret(client, root, ada):
    response = client.post(f"{TOKENS}add/?_popup=1", mint_form(user=ada.pk, _popup="1"))
    assert verify(shown_token(response)).user == ada


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"name": ""}, "name"),
        ({"name": "x" * 101}, "name"),
        ({"scopes": []}, "scopes"),
        ({"scopes": ["payments:burn"]}, "scopes"),
        ({"expires_at_0": "2001-01-01"}, "expires_at"),
        ({"expires_at_0": "soon"}, "expires_at"),
        ({"all_projects": None}, "projects"),
        ({"projects": "analytical-engine"}, "projects"),
        ({"user": "999999"}, "user"),
        ({"user": ""}, "user"),
    ],
)
def test_errors_of_a_new_key_are_shown_at_the_field(client, root, ada, changes, field):
    form = mint_form(user=ada.pk) | changes
    form = {name: value for name, value in form.items() if value is not None}
    response = client.post(f"{TOKENS}add/", form)
    assert response.status_code == 200
    assert set(response.context["adminform"].form.errors) == {field}
    assert not PersonalAccessToken.objects.exists()
    assert not LogEntry.objects.exists()


def test_project_without_membership_is_refused(client, root, ada):
    form = mint_form(user=ada.pk, all_projects=None, projects=str(ProjectFactory().pk))
    response = client.post(f"{TOKENS}add/", form)
    assert "projects" in response.context["adminform"].form.errors


# Edit


def edit(client, key, **changes):
    url = f"{TOKENS}{key.pk}/change/"
    form = client.get(url).context["adminform"].form
    ends = timezone.localtime(key.expires_at) if key.expires_at else None
    sent = {
        "name": key.name,
        "scopes": list(key.scopes),
        "all_projects": "on" if key.all_projects else None,
        "projects": ",".join(str(p.pk) for p in key.projects.all()) or None,
        "expires_at_0": ends.strftime("%Y-%m-%d") if ends else "",
        "expires_at_1": ends.strftime("%H:%M:%S") if ends else "",
    } | changes
    assert form.fields
    return client.post(url, {name: value for name, value in sent.items() if value is not None})


def test_edit_is_written_to_the_audit_log_and_the_history(client, root, ada, engine):
    ends = timezone.now() + timedelta(days=9, microseconds=5)
    minted = mint_pat(ada, scopes=["payments:write"], expires_at=ends)
    response = edit(client, minted.key, name="desk", scopes=["payments:read"])

    assert response.status_code == 302
    key = PersonalAccessToken.objects.get()
    assert (key.name, key.scopes, key.expires_at) == ("desk", ("payments:read",), ends)
    assert verify(minted.token).scopes == {"payments:read"}
    assert LogEntry.objects.get().get_change_message() == (
        "name changed from “ci” to “desk”. scopes changed from payments:write to payments:read."
    )


@pytest.mark.slow
def test_projects_and_expiry_can_be_edited(client, root, ada, engine):
    key = mint_pat(ada).key
    changes = {"all_projects": None, "projects": str(engine.pk)}
    assert edit(client, key, **changes, expires_at_0="2035-01-31", expires_at_1="12:00:00")
    key.refresh_from_db()
    assert list(key.projects.all()) == [engine]
    assert key.expires_at.isoformat() == "2035-01-31T12:00:00+00:00"

    edit(client, key, all_projects="on", projects=None, expires_at_0="", expires_at_1="")
    key.refresh_from_db()
    assert (key.all_projects, key.expires_at) == (True, None)
    assert not key.projects.exists()


def test_edit_keeps_concurrent_changes(client, root, ada):
    key = mint_pat(ada, scopes=["payments:write"]).key
    stale = PersonalAccessToken.objects.get()
    lifecycle.edit(key, scopes=["payments:read"])
    edit(client, key, name="desk")
    key.refresh_from_db()
    assert (key.name, key.scopes) == ("desk", ("payments:read",))
    assert stale.scopes == ("payments:write",)


@pytest.mark.slow
def test_refused_edit_shows_the_error_and_is_not_logged(client, root, ada):
    key = mint_pat(ada).key
    response = edit(client, key, scopes=[])
    assert response.context["adminform"].form.errors.keys() == {"scopes"}
    response = edit(client, key, expires_at_0="2001-01-01", expires_at_1="00:00:00")
    assert response.context["adminform"].form.errors.keys() == {"expires_at"}
    assert not LogEntry.objects.exists()


@pytest.mark.parametrize(
    "field", ["root", "digest", "user", "is_pending", "revoked_at", "public_id"]
)
def test_extra_fields_in_the_form_are_ignored(client, root, ada, field):
    key = mint_pat(ada).key
    before = PersonalAccessToken.objects.values(field).get()
    edit(client, key, name="desk", **{field: str(UserFactory().pk)})
    assert PersonalAccessToken.objects.values(field).get() == before
    assert PersonalAccessToken.objects.get().name == "desk"


def test_ended_key_is_read_only(client, root, ada):
    key = mint_pat(ada).key
    lifecycle.revoke(key, reason="lost")
    page = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
    assert "lost" in page
    assert 'name="name"' not in page
    assert 'name="_save"' not in page
    client.post(f"{TOKENS}{key.pk}/change/", mint_form(name="again"))
    key.refresh_from_db()
    assert key.name == "ci"


@pytest.mark.slow
def test_rejected_key_reads_as_rejected_everywhere(client, root, ada):
    key = mint_pat(ada, name="laptop").key
    key.is_pending = True
    key.save(update_fields=["is_pending"])
    act(client, TOKENS, "reject_selected", key, reason="Ask for less.")
    listed = text_of(client.get(TOKENS, {"q": key.public_id}))
    assert 'class="field-state">rejected<' in listed
    shown = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
    for words in ("rejected<", "Rejected at:", "Rejected by:", "Reason of rejection:"):
        assert words in shown, words
    for words in ("Revoked at:", "Revoked by:", ">revoked<"):
        assert words not in shown, words
    events = client.get("/admin/apikeys/auditevent/", {"event__exact": "revoked"})
    assert 'field-label">rejected<' in events.content.decode()


def test_key_pasted_into_the_name_is_not_shown_again(client, root, ada):
    text = mint_pat(ada).token
    page = text_of(client.post(f"{TOKENS}add/", mint_form(user=ada.pk, name=text)))
    assert "contains a key" in page
    assert not token.holds_key(page)


# The page of a key


def test_key_with_a_secret_shows_no_public_key_and_no_workload(client, root, engine):
    page = text_of(client.get(f"{KEYS}{mint_key(engine).key.pk}/change/"))
    assert "Created by" in page
    assert "Public key" not in page
    assert "Workload" not in page


def test_page_links_to_the_audit_events_of_the_key(client, root, staff, ada):
    key = mint_pat(ada).key
    page = f"{TOKENS}{key.pk}/change/"
    link = f"/admin/apikeys/auditevent/?q={key.public_id}"
    assert f'href="{link}"' in client.get(page).content.decode()
    assert key.public_id in text_of(client.get(link))
    client.force_login(staff("view"))
    assert link not in client.get(page).content.decode()


def test_page_shows_rotation_chain_created_keys_and_usage(client, root, ada):
    minted = mint_pat(ada)
    for _ in range(3):
        verify(minted.token)
    usage.flush()
    successor = lifecycle.rotate(minted.key).key
    last = lifecycle.rotate(successor).key
    made = mint_pat(ada).key
    PersonalAccessToken.objects.filter(pk=made.pk).update(minted_with=minted.key.public_id)

    page = text_of(client.get(f"{TOKENS}{minted.key.pk}/change/"))
    for other in (successor, last, made):
        assert f'{TOKENS}{other.pk}/change/">{other.public_id}</a>' in page
    assert "3 in total, 3 on the busiest day, 3 today (UTC)" in page
    assert f"/admin/auth/user/{ada.pk}/change/" in page


@pytest.mark.slow
def test_page_links_a_replacement_after_the_end_in_both_directions(client, root, ada):
    old = mint_pat(ada, name="old").key
    lifecycle.revoke(old, reason="Lost.")
    new = mint_pat(ada, name="new", replaces=old).key
    other = mint_pat(ada, name="other").key
    rotated = lifecycle.rotate(new).key

    def facts(key):
        page = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
        return {
            name: re.findall(
                rf'{TOKENS}(\d+)/change/">',
                page.partition(f'class="form-row field-{name}"')[2].partition("form-row")[0],
            )
            for name in ("replaced_key", "replacement")
        }

    assert facts(old) == {"replaced_key": [], "replacement": [str(new.pk)]}
    assert facts(new) == {"replaced_key": [str(old.pk)], "replacement": []}  # rotated after that
    for key in (other, rotated):
        page = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
        assert "field-replace" not in page


@pytest.mark.slow
def test_list_shows_a_row_in_few_cells_without_a_query_for_each(
    client, root, engine, django_assert_max_num_queries
):
    names = ["payments:read", "payments:write", "reports:read", "keys:read", "keys:write"]
    key = mint_key(engine, name="server", scopes=names, by=root).key
    for _ in range(20):
        old = mint_key(engine).key
        lifecycle.revoke(old, reason="Lost.")
        mint_key(engine, replaces=old)
    with django_assert_max_num_queries(12):
        page = text_of(client.get(KEYS))
    row = next(each for each in page.split("<tr>") if key.public_id in each)
    for words in ("server", "by root", "Engine", "and 3 more", "never", "active"):
        assert words in row
    assert re.search(r'<time datetime="[^"]+" title="[^"]+ UTC"', row)


def test_empty_list_says_why_it_is_empty(client, root, ada):
    assert "There is nothing here yet." in text_of(client.get(TOKENS))
    mint_pat(ada)
    assert "There is nothing here yet." not in text_of(client.get(TOKENS))
    for query in ({"q": "nothing"}, {"state": "revoked"}):
        assert "Nothing matches." in text_of(client.get(TOKENS, query))


@pytest.mark.slow
def test_number_of_queries_of_a_long_chain_is_bounded(
    client, root, ada, django_assert_max_num_queries
):
    key = mint_pat(ada).key
    row = PersonalAccessToken.objects.values().get()
    del row["id"]
    previous = key
    for _ in range(200):
        previous = PersonalAccessToken.objects.create(
            **row | {"public_id": token.generate_id(), "replaces_id": previous.pk}
        )
    with django_assert_max_num_queries(80):
        page = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
    assert "…" in page


# Actions


def test_revoking_requires_a_reason(client, root, ada):
    minted = mint_pat(ada)
    response = act(client, TOKENS, "revoke_selected", minted.key)
    assert response.status_code == 200
    assert str(minted.key) in text_of(response)
    assert verify(minted.token)
    response = act(client, TOKENS, "revoke_selected", minted.key, reason="")
    assert response.status_code == 200
    assert verify(minted.token)

    response = act(client, TOKENS, "revoke_selected", minted.key, reason="The laptop was lost.")
    assert response.status_code == 302
    key = PersonalAccessToken.objects.get()
    assert (key.revoked_by, key.revoked_reason) == (root, "The laptop was lost.")
    assert LogEntry.objects.get().get_change_message() == "Revoked: The laptop was lost."

    response = act(client, TOKENS, "revoke_selected", key, reason="again")
    assert messages_of(response)[-1] == f"{key.public_id}: Already revoked."
    assert LogEntry.objects.count() == 1


@pytest.mark.slow
def test_metadata_is_entered_edited_and_shown(client, root, ada):
    client.post(f"{TOKENS}add/", mint_form(user=ada.pk, stored_metadata='{"team": "billing"}'))
    key = PersonalAccessToken.objects.get()
    assert key.metadata == {"team": "billing"}

    edit(client, key, stored_metadata='{"team": "sales"}')
    key.refresh_from_db()
    assert key.metadata == {"team": "sales"}
    message = LogEntry.objects.order_by("-pk")[0].get_change_message()
    assert message == 'metadata changed from “{"team": "billing"}” to “{"team": "sales"}”.'
    lifecycle.revoke(key)
    assert '{"team": "sales"}' in text_of(client.get(f"{TOKENS}{key.pk}/change/"))


@pytest.mark.slow
def test_wrong_metadata_is_refused_and_a_key_in_it_is_not_shown_again(client, root, ada):
    minted = mint_pat(ada, metadata={"team": "billing"})
    for wrong in ("{", "[]", '{"a": "%s"}' % ("x" * 4096)):
        response = edit(client, minted.key, stored_metadata=wrong)
        assert response.context["errors"]
        assert wrong in text_of(response)
    for text in (f'{{"a": "{minted.token}"}}', f"{{{minted.token}"):
        response = edit(client, minted.key, stored_metadata=text)
        assert response.status_code == 200
        assert not token.holds_key(text_of(response))
    minted.key.refresh_from_db()
    assert minted.key.metadata == {"team": "billing"}


@pytest.mark.parametrize(
    ("action", "changes", "data", "one", "several"),
    [
        ("revoke_selected", {}, {"reason": "Lost."}, "Revoked", "Revoked 2 keys."),
        ("pause_selected", {}, {"reason": "Lost."}, "Paused", "Paused 2 keys."),
        (
            "resume_selected",
            {"paused_at": timezone.now(), "is_held": True},
            {},
            "Resumed",
            "Resumed 2 keys.",
        ),
        ("expire_selected", {}, {"days": "3"}, "Set the expiry of", "Set the expiry of 2 keys."),
        ("approve_selected", {"is_pending": True}, {}, "Approved", "Approved 2 keys."),
        (
            "reject_selected",
            {"is_pending": True},
            {"reason": "No."},
            "Rejected",
            "Rejected 2 keys.",
        ),
    ],
)
def test_the_message_says_what_was_done_to_which_key(
    client, root, engine, action, changes, data, one, several
):
    keys = [mint_key(engine, name=f"Office script {n}").key for n in range(3)]
    ProjectKey.objects.update(**changes)
    data = {"confirmed": "yes", **data}

    response = act(client, KEYS, action, keys[0], **data)
    assert messages_of(response)[-1] == f"{one} Office script 0 ({keys[0].public_id})."
    response = act(client, KEYS, action, *keys[1:], **data)
    assert messages_of(response)[-1] == several


def test_an_action_returns_to_the_list_with_its_search_and_filters(client, root, ada):
    key = mint_pat(ada, name="laptop").key
    query = "q=lap&state=live"
    data = {"action": "revoke_selected", "_selected_action": key.pk}
    asked = client.post(f"{TOKENS}?{query}", data)
    assert 'name="confirmed"' in text_of(asked)
    done = client.post(f"{TOKENS}?{query}", data | {"confirmed": "yes", "reason": "Lost."})
    assert done["Location"] == f"{TOKENS}?{query}"


def test_a_button_of_a_key_returns_to_the_list_with_its_search_and_filters(client, root, ada):
    key = mint_pat(ada, name="laptop").key
    filters = "q=lap&state=paused"  # the key is not in this list
    shown = text_of(client.get(f"{TOKENS}{key.pk}/change/", {"_changelist_filters": filters}))
    assert shown.count('name="filters" value="q=lap&state=paused"') == 3
    data = {"action": "revoke_selected", "_selected_action": key.pk, "filters": filters}
    asked = client.post(TOKENS, data)
    assert 'name="filters" value="q=lap&state=paused"' in text_of(asked)
    done = client.post(TOKENS, data | {"confirmed": "yes", "reason": "Lost."})
    assert done["Location"] == f"{TOKENS}?{filters}"


@pytest.mark.parametrize("filters", ["//evil.example/", "https://evil.example/", "\n\rX: y"])
def test_filters_never_lead_to_another_page(client, root, ada, filters):
    key = mint_pat(ada).key
    data = {"action": "revoke_selected", "_selected_action": key.pk, "filters": filters}
    done = client.post(TOKENS, data | {"confirmed": "yes", "reason": "Lost."})
    assert done["Location"].startswith(f"{TOKENS}?")


def test_the_page_of_an_action_that_stops_keys_shows_their_last_use(client, root, ada):
    now = timezone.now()
    used, unused = mint_pat(ada, name="used").key, mint_pat(ada, name="unused").key
    PersonalAccessToken.objects.filter(pk=used.pk).update(
        last_used_at=now, last_used_on=now.date(), last_used_ip="203.0.113.9"
    )
    for action in ("revoke_selected", "pause_selected", "expire_selected"):
        data = {"action": action, "_selected_action": [used.pk, unused.pk]}
        page = " ".join(re.sub(r"<[^>]*>", " ", text_of(client.post(TOKENS, data))).split())
        assert re.search(rf"used \({used.public_id}\) last used: .{{1,30}} from 203.0.113.9", page)
        assert f"unused ({unused.public_id}) last used: never" in page
    data = {"action": "resume_selected", "_selected_action": [used.pk]}
    assert "last used" not in text_of(client.post(TOKENS, data))


@pytest.mark.slow
def test_a_pause_is_held_unless_unticked(client, root, ada):
    minted, other = mint_pat(ada), mint_pat(ada)
    page = client.get(f"{TOKENS}{minted.key.pk}/change/")
    assert 'value="pause_selected"' in text_of(page)
    assert 'value="resume_selected"' not in text_of(page)
    asked = act(client, TOKENS, "pause_selected", minted.key)
    assert re.search(r'<input[^>]*name="held"[^>]*\bchecked\b', text_of(asked))
    assert verify(minted.token)

    act(client, TOKENS, "pause_selected", minted.key, reason="Suspicious.", held="on")
    act(client, TOKENS, "pause_selected", other.key, reason="Tidying up.")
    for each, is_held in ((minted, True), (other, False)):
        each.key.refresh_from_db()
        assert (each.key.state(), each.key.is_held) == (State.PAUSED, is_held)
        assert each.key.paused_by == root
        with pytest.raises(Refused, match="paused_key"):
            verify(each.token)
    again = act(client, TOKENS, "pause_selected", minted.key, reason="Again.", held="on")
    assert messages_of(again)[-1] == f"{minted.key.public_id}: Already paused."
    page = text_of(client.get(f"{TOKENS}{minted.key.pk}/change/"))
    assert "Suspicious." in page
    assert 'value="pause_selected"' not in page
    assert "paused, held" in text_of(client.get(TOKENS))
    assert found(client, TOKENS, state="paused") == {"ci"}

    response = act(client, TOKENS, "resume_selected", minted.key, other.key, x="y")
    assert messages_of(response)[-1] == "Resumed 2 keys."
    assert verify(minted.token)
    assert verify(other.token)
    again = act(client, TOKENS, "resume_selected", minted.key, x="y")
    assert messages_of(again)[-1] == f"{minted.key.public_id}: Not paused."
    messages = [entry.get_change_message() for entry in LogEntry.objects.order_by("pk")]
    assert messages[:2] == ["Paused: Suspicious.", "Paused: Tidying up."]
    assert messages[2:] == ["Resumed."] * 2


@pytest.mark.parametrize("state", ["revoked", "expired"])
def test_an_ended_key_is_neither_paused_nor_resumed(client, root, ada, state):
    key = mint_pat(ada, state=state).key
    page = text_of(client.get(f"{TOKENS}{key.pk}/change/"))
    for action in ("pause_selected", "resume_selected"):
        assert f'value="{action}"' not in page
        response = act(client, TOKENS, action, key, reason="Why?", held="on")
        assert messages_of(response)[-1].startswith(f"{key.public_id}: This key ")
    key.refresh_from_db()
    assert key.paused_at is None


def test_reason_with_a_key_is_refused_and_not_shown_again(client, root, ada):
    minted = mint_pat(ada)
    response = act(client, TOKENS, "revoke_selected", minted.key, reason=f"saw {minted.token}")
    page = text_of(response)
    assert "contains a key" in page
    assert not token.holds_key(page)
    assert verify(minted.token)
    assert not LogEntry.objects.exists()


@pytest.mark.slow
def test_expire_action_never_extends_an_expiry(client, root, ada):
    now = timezone.now()
    endless, soon = mint_pat(ada).key, mint_pat(ada, expires_at=now + timedelta(days=1)).key
    response = act(client, TOKENS, "expire_selected", endless, soon, days="3")
    endless.refresh_from_db()
    assert timedelta(days=3) <= endless.expires_at - now < timedelta(days=3, minutes=5)
    assert PersonalAccessToken.objects.get(pk=soon.pk).expires_at == soon.expires_at
    assert f"{soon.public_id}: Already expires earlier." in messages_of(response)
    for days in ("0", "-1", "x", "", "99999999999"):
        form = act(client, TOKENS, "expire_selected", endless, days=days)
        assert form.context["form"].errors


def test_selected_keys_are_approved_and_rejected(client, root, ada):
    good, bad, live = mint_pat(ada), mint_pat(ada), mint_pat(ada)
    pks = [good.key.pk, bad.key.pk]
    PersonalAccessToken.objects.filter(pk__in=pks).update(is_pending=True)
    assert "Approve" in text_of(client.get(f"{TOKENS}{good.key.pk}/change/"))

    response = act(client, TOKENS, "approve_selected", good.key, live.key, x="y")
    assert f"{live.key.public_id}: This key is not pending approval." in messages_of(response)
    act(client, TOKENS, "reject_selected", bad.key, reason="too much")
    good.key.refresh_from_db()
    bad.key.refresh_from_db()
    assert (good.key.state(), good.key.approved_by) == (State.LIVE, root)
    assert (bad.key.state(), bad.key.revoked_reason) == (State.REVOKED, "too much")
    messages = {entry.get_change_message() for entry in LogEntry.objects.all()}
    assert messages == {"Approved.", "Rejected: too much"}


def test_action_on_too_many_keys_is_refused(client, root, ada, monkeypatch):
    monkeypatch.setattr("apikeys.admin.key_actions._MOST_AT_ONCE", 1)
    keys = [mint_pat(ada).key for _ in range(2)]
    response = act(client, TOKENS, "revoke_selected", *keys, reason="x")
    assert messages_of(response) == ["Select at most 1 keys at a time."]
    assert not PersonalAccessToken.objects.exclude(revoked_at=None).exists()


# Find by whole key


@pytest.mark.parametrize("end", ["", "revoke", "expire", "pend", "deactivate"])
def test_whole_key_of_any_state_redirects_to_its_page(client, root, ada, end):
    minted = mint_pat(ada)
    usage.flush()
    keys = PersonalAccessToken.objects.all()
    match end:
        case "revoke":
            lifecycle.revoke(minted.key)
        case "expire":
            keys.update(expires_at=timezone.now())
        case "pend":
            keys.update(is_pending=True)
        case "deactivate":
            type(ada).objects.filter(pk=ada.pk).update(is_active=False)

    for url in (TOKENS, KEYS):  # from either list
        response = client.post(f"{url}find/", {"key": f" {minted.token}\n"})
        assert response.status_code == 302
        assert response["Location"] == f"{TOKENS}{minted.key.pk}/change/"
        assert "no-store" in response["Cache-Control"]
    assert usage.flush() == 0  # looking up a key is not a use


@pytest.mark.parametrize("form", ["{}", "acme_{kind}_{}", " ACME_{kind}_{}_ "])
def test_an_id_finds_its_page_from_either_list(client, root, ada, engine, form):
    for minted, place in [(mint_pat(ada), TOKENS), (mint_key(engine), KEYS)]:
        key = minted.key
        for url in (TOKENS, KEYS):
            text = form.format(key.public_id, kind=key.KIND)
            response = client.post(f"{url}find/", {"key": text})
            assert response["Location"] == f"{place}{key.pk}/change/"


def test_an_unknown_id_is_named(client, root):
    response = client.post(f"{TOKENS}find/", {"key": "acme_pat_zejlosc9kd96fngc"})
    assert "No key has the ID zejlosc9kd96fngc." in text_of(response)


def test_an_id_of_a_kind_without_permission_is_not_found(client, staff, engine):
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_personalaccesstoken"))
    client.force_login(user)
    key = mint_key(engine).key
    response = client.post(f"{TOKENS}find/", {"key": key.public_id})
    assert f"No key has the ID {key.public_id}." in text_of(response)


def test_a_kind_that_the_admin_does_not_list_is_not_found(client, root, engine, monkeypatch):
    monkeypatch.delitem(admin.site._registry, ProjectKey)
    minted = mint_key(engine)
    for text, told in [
        (minted.key.public_id, f"No key has the ID {minted.key.public_id}."),
        (minted.token, "You do not have permission to view keys of this kind."),
    ]:
        response = client.post(f"{TOKENS}find/", {"key": text})
        assert response.status_code == 200
        assert told in text_of(response)


def test_wrong_key_is_refused_and_not_shown_again(client, root, ada):
    minted, other = mint_pat(ada), mint_pat(ada)
    secret = token.parse(other.token, "acme").secret
    swapped = token.compose("acme", "pat", minted.key.public_id, secret)
    for text, told in [
        (swapped, "No key matches this ID and secret."),
        (minted.token[:-1], "This credential is malformed."),
        ("x" * 49, "This credential is malformed."),
    ]:
        response = client.post(f"{TOKENS}find/", {"key": text})
        page = text_of(response)
        assert response.status_code == 200
        assert told in page
        assert text not in page
        assert "no-store" in response["Cache-Control"]


def test_whole_key_of_a_kind_without_permission_is_not_shown(client, staff, engine):
    user = staff()
    user.user_permissions.add(Permission.objects.get(codename="view_personalaccesstoken"))
    client.force_login(user)
    minted = mint_key(engine)
    response = client.post(f"{TOKENS}find/", {"key": minted.token})
    assert "You do not have permission to view keys of this kind." in text_of(response)


@pytest.mark.slow
def test_whole_key_in_the_url_is_refused_and_not_shown_again(client, root, ada):
    minted = mint_pat(ada)
    secret = token.parse(minted.token, "acme").secret
    for query in (
        {"q": minted.token},
        {"q": f"key: {minted.token[:40]}"},
        {"q": secret},
        {"state": minted.token},
        {minted.token: "x"},
    ):
        response = client.get(TOKENS, query)
        assert response.status_code == 302
        assert response["Location"] == TOKENS
        assert "Rotate that key" in messages_of(response)[-1]
        page = text_of(client.get(response["Location"]))
        assert "Rotate that key" in page
        assert secret[:20] not in page


@pytest.mark.parametrize(
    "lookup",
    ["root__startswith=$", "digest__startswith=a", "pepper_id=x", "user__password__startswith=m"],
)
def test_lookups_of_hashes_are_refused(client, root, lookup):
    mint_pat()
    assert client.get(f"{TOKENS}?{lookup}").status_code == 400


# Search and filters


def found(client, url, **query):
    return {row.name for row in client.get(url, query).context["cl"].result_list}


@pytest.mark.slow
def test_search_by_id_name_user_and_project(client, root, ada, engine):
    laptop = mint_pat(ada, name="Laptop of ada", projects=[engine]).key
    mint_pat(name="other")
    mint_key(engine, name="server", by=ada)
    mint_key(name="other")

    for term in (
        laptop.public_id,
        laptop.public_id[:6],
        f"acme_pat_{laptop.public_id}",
        f" ACME_PAT_{laptop.public_id.upper()} ",
        f"acme_pat_{laptop.public_id[:6]}",
        "laptop",
        "Laptop of",
        "ada",
        "ADA",
        "analytical-engine",
    ):
        assert found(client, TOKENS, q=term) == {"Laptop of ada"}, term
    for term in ("serv", "analytical-engine", "ada"):
        assert found(client, KEYS, q=term) == {"server"}, term
    for term in ("nobody", "%", "_", "'", "\\"):
        assert found(client, TOKENS, q=term) == set(), term
    assert found(client, TOKENS, q=" ") == {"Laptop of ada", "other"}


@pytest.mark.slow
def test_filters_list_the_matching_keys(client, root, ada):
    now = timezone.now()
    keys = PersonalAccessToken.objects
    for name, row in {
        "live": {},
        "pending": {"is_pending": True},
        "expired": {"expires_at": now - timedelta(days=1)},
        "revoked": {"revoked_at": now},
        "soon": {"expires_at": now + timedelta(days=5)},
        "later": {"expires_at": now + timedelta(days=60)},
        "used": {"last_used_at": now, "last_used_on": now.date()},
        "idle": {
            "last_used_at": now - timedelta(days=100),
            "last_used_on": (now - timedelta(days=100)).date(),
            "created_at": now - timedelta(days=200),
        },
        "never used": {"created_at": now - timedelta(days=200)},
    }.items():
        keys.filter(pk=mint_pat(ada, name=name).key.pk).update(**row)
    lifecycle.rotate(mint_pat(ada, name="rotated").key)
    everything = set(keys.values_list("name", flat=True))

    def listed(**query):
        return found(client, TOKENS, **query)

    assert listed() == everything
    assert listed(state="pending") == {"pending"}
    assert listed(state="expired") == {"expired"}
    assert listed(state="revoked") == {"revoked"}
    assert listed(state="rotated") == {"rotated"}
    assert listed(state="live") == everything - {"pending", "expired", "revoked"}
    assert listed(expires="7") == {"soon", "rotated"}
    assert listed(expires="90") == {"soon", "later", "rotated"}
    assert listed(expires="past") == {"expired"}
    assert listed(expires="never", state="live") == {
        "live",
        "used",
        "idle",
        "never used",
        "rotated",
    }
    assert listed(used="1") == {"used"}
    assert listed(used="not-90") == {"idle", "never used"}
    assert listed(used="never") == everything - {"used", "idle"}
    assert listed(state="nonsense", expires="x", used="not-x") == everything


def test_filter_by_kind_links_to_the_other_list(client, root, staff):
    page = text_of(client.get(TOKENS, {"state": "revoked"}))
    assert f'href="{KEYS}?state=revoked"' in page

    only_tokens = staff()
    only_tokens.user_permissions.add(Permission.objects.get(codename="view_personalaccesstoken"))
    client.force_login(only_tokens)
    assert KEYS not in text_of(client.get(TOKENS))


@pytest.mark.parametrize("how", ["revoked", "rejected"])
def test_a_revoked_key_does_not_say_that_it_will_expire(client, root, ada, how):
    end = timezone.now() + timedelta(days=29, hours=1)
    key = mint_pat(ada, name="laptop", expires_at=end).key
    if how == "rejected":
        type(key).objects.filter(pk=key.pk).update(is_pending=True)
        key.refresh_from_db()
        lifecycle.reject(key, by=root)
    else:
        lifecycle.revoke(key, by=root)
    row = re.sub(r"<[^>]*>", "", client.get(TOKENS).content.decode())
    assert "in 29 days" not in row
    assert f"{how} just now" in row
    page = client.get(f"{TOKENS}{key.pk}/change/").content.decode()
    assert "field-expires_at" not in page
    # A rejected key never worked, so it had no expiry to miss.
    assert ("field-would_have_expired" in page) is (how == "revoked")
    assert ("Would have expired" in page) is (how == "revoked")


def test_an_active_key_says_when_it_expires(client, root, ada):
    key = mint_pat(ada, expires_at=timezone.now() + timedelta(days=29, hours=1)).key
    assert "in 29 days" in client.get(TOKENS).content.decode()
    page = client.get(f"{TOKENS}{key.pk}/change/").content.decode()
    assert "field-expires_at" in page
    assert "would_have_expired" not in page
