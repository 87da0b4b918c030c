"""Uses of a token in a project in which it is denied are refused by name, counted and shown."""

import io
import json
from datetime import timedelta

import pytest
from django.contrib.auth import get_user_model
from django.core import mail
from django.core.management import call_command
from django.urls import reverse
from django.utils import timezone
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory

from apikeys import grants, lifecycle, reach, token, usage
from apikeys.drf import AnyScope, HasScope
from apikeys.models import AuditEvent, EndedUse, Membership
from apikeys.usage import denied as denied_uses
from apikeys.verify import verify
from tests.drf.conftest import View
from tests.factories import MembershipFactory, UserFactory, bearer, mint_key, mint_pat
from tests.reach.test_denied import allow, deny, exchanged, grant, other, webapp

__all__ = ["grant", "other", "webapp"]

pytestmark = pytest.mark.django_db
READ = "payments:read"
DENIED, LACKING = (403, "denied_in_project"), (403, "insufficient_scope")


@pytest.fixture(autouse=True)
def _nothing_noted(db):
    usage.flush()


class OfProject(View):
    """Checks the object, as a detail view of REST framework does."""

    required_scopes = [READ]
    found = None

    def get(self, request):
        self.check_object_permissions(request, self.found)
        return Response({})


class Bare(View):
    """Declares no scopes, so ``DEFAULT_SCOPES`` apply."""

    permission_classes = []
    found = None
    get = OfProject.get


def ask(text, project, ip="203.0.113.7", base=OfProject, **attributes):
    """Return the status and the code of a request that names ``project``."""
    view = type("Example", (base,), {"found": project, **attributes})
    request = APIRequestFactory(REMOTE_ADDR=ip).get("/", headers=bearer(text))
    response = view.as_view()(request).render()
    return response.status_code, response.data.get("code")


@pytest.fixture
def minted(ada):
    return mint_pat(ada, name="laptop", scopes=[READ, "keys:read"])


@pytest.fixture
def denied(minted, engine):
    deny(engine, minted.key.public_id, reason="Lost.")
    return minted


def counted():
    rows = EndedUse.objects.order_by("pk")
    return list(rows.values_list("public_id", "project_pk", "first_ip", "last_ip", "count"))


def events(**of):
    return AuditEvent.objects.filter(event="used_after_end", **of).order_by("pk")


def test_a_denied_token_is_refused_by_name_and_counted(ada, engine, other, denied):
    assert ask(denied.token, engine, "203.0.113.1") == DENIED
    assert ask(denied.token, engine, "203.0.113.2") == DENIED
    assert ask(denied.token, other) == (200, None)
    usage.flush()

    key_id = denied.key.public_id
    assert counted() == [(key_id, str(engine.pk), "203.0.113.1", "203.0.113.2", 2)]
    of_owner = events(kind="personalaccesstoken").get()
    assert (of_owner.public_id, of_owner.owner, of_owner.ip) == (key_id, "ada", "203.0.113.1")
    changes = {"code": "denied_in_project", "count": 2, "project": engine.slug}
    assert of_owner.changes == changes
    of_project = events(kind="projectkey").get()
    assert (of_project.public_id, of_project.owner) == (key_id, engine.slug)
    assert of_project.changes == changes
    assert of_project.ip is None, "the address of a member is not for the project"


def test_the_refusal_asks_for_no_other_scope(engine, denied):
    view = type("Example", (OfProject,), {"found": engine})
    request = APIRequestFactory().get("/", headers=bearer(denied.token))
    response = view.as_view()(request).render()
    assert "settings pages" in response.data["detail"]
    assert "error=" not in response["WWW-Authenticate"]


def test_default_scopes_refuse_by_name_too(engine, denied, settings):
    settings.APIKEYS = {**settings.APIKEYS, "DEFAULT_SCOPES": {__name__: [READ]}}
    assert ask(denied.token, engine, base=Bare, __module__=__name__) == DENIED
    usage.flush()
    assert counted()[0][-1] == 1


def test_a_granted_request_makes_no_query_more(engine, minted, django_assert_num_queries):
    with django_assert_num_queries(2):  # the token, and its scopes in the project
        assert ask(minted.token, engine) == (200, None)


@pytest.mark.parametrize("why", ["scope", "project", "selection", "role", "member"])
def test_the_refusal_tells_nothing_that_the_token_may_not_know(ada, engine, other, why):
    scopes = ["reports:read"] if why == "scope" else ["payments:write"]
    minted = mint_pat(ada, scopes=scopes)
    deny(engine, minted.key.public_id)
    members = Membership.objects.filter(user=ada, project=engine)
    attributes = {}
    if why == "project":
        ask_in = other
        Membership.objects.filter(user=ada, project=other).delete()
    else:
        ask_in = engine
    if why == "selection":
        lifecycle.edit(minted.key, projects=[other])
    elif why == "role":
        members.update(role="viewer")
        attributes["required_scopes"] = ["payments:write"]
    elif why == "member":
        members.delete()

    assert ask(minted.token, ask_in, **attributes) == LACKING
    usage.flush()
    assert counted() == []


def test_a_denial_is_not_found_where_the_token_lacks_the_scope_anyway(engine, denied):
    access = verify(denied.token)
    assert denied_uses.find(access, [READ], [engine.pk]).project == str(engine.pk)
    assert denied_uses.find(access, ["payments:write"], [engine.pk]) is None


def test_an_unapproved_token_is_refused_as_before(ada, engine, minted):
    reach.require_approval(engine, True)
    assert ask(minted.token, engine) == LACKING
    usage.flush()
    assert counted() == []


def test_a_request_that_another_permission_allows_is_not_counted(engine, denied):
    assert ask(denied.token, engine, permission_classes=[HasScope | AnyScope]) == (200, None)
    usage.flush()
    assert counted() == []


def test_an_oauth_token_of_a_denied_token_counts_for_the_token(engine, minted):
    of_token = exchanged(minted.token)
    deny(engine, minted.key.public_id)
    assert ask(of_token, engine) == DENIED
    usage.flush()
    assert [row[0] for row in counted()] == [minted.key.public_id]


def test_an_application_is_refused_by_name_and_not_counted(ada, engine, webapp, grant):
    held = grant().token
    deny(engine, token.grant_id(webapp.pk, ada.pk))
    assert ask(held, engine) == DENIED
    usage.flush()
    assert counted() == []


def test_a_token_of_a_denied_application_is_counted_until_it_is_allowed(ada, engine, webapp, grant):
    soon = timezone.now() + timedelta(minutes=30)
    created = mint_pat(ada, expires_at=soon, within=grants.for_tokens(ada, verify(grant().token)))
    deny(engine, token.grant_id(webapp.pk, ada.pk))
    assert ask(created.token, engine) == DENIED
    usage.flush()
    assert [row[0] for row in counted()] == [created.key.public_id]

    allow(engine, token.grant_id(webapp.pk, ada.pk))
    assert counted() == []
    assert ask(created.token, engine) == (200, None)


def test_each_denial_is_reported_once(engine, denied):
    for _ in range(2):
        ask(denied.token, engine)
        usage.flush()
    assert events().count() == 2, "one for the owner, one for the project"

    allow(engine, denied.key.public_id)
    assert counted() == [], "what is allowed again is forgotten"
    deny(engine, denied.key.public_id)
    ask(denied.token, engine)
    usage.flush()
    assert events().count() == 4
    assert counted()[0][-1] == 1


def test_a_new_token_does_not_report_an_earlier_one_again(ada, engine, denied):
    ask(denied.token, engine)
    usage.flush()
    second = mint_pat(ada, name="desk", scopes=[READ])
    deny(engine, second.key.public_id)
    for each in (denied, second):
        ask(each.token, engine)
    usage.flush()
    reported = events(kind="projectkey").values_list("public_id", flat=True)
    assert list(reported) == [denied.key.public_id, second.key.public_id]


def test_allowing_it_in_one_project_keeps_the_uses_in_another(ada, engine, other, denied):
    deny(other, denied.key.public_id)
    for project in (engine, other):
        ask(denied.token, project)
    usage.flush()
    assert {row[1] for row in counted()} == {str(engine.pk), str(other.pk)}
    assert events(kind="personalaccesstoken").count() == 2

    allow(engine, denied.key.public_id)
    assert [row[1] for row in counted()] == [str(other.pk)]


def test_a_token_that_was_allowed_before_the_notes_are_written_is_left_out(engine, denied):
    ask(denied.token, engine)
    allow(engine, denied.key.public_id)
    usage.flush()
    assert counted() == []
    assert not events().exists()


def test_a_use_in_a_project_and_one_after_the_end_are_counted_apart(engine, denied):
    ask(denied.token, engine)
    lifecycle.revoke(denied.key)
    assert ask(denied.token, engine) == (401, "revoked_key")
    usage.flush()
    assert sorted(row[1] for row in counted()) == ["", str(engine.pk)]


def test_notes_that_could_not_be_written_are_kept(engine, denied, mocker):
    from django.db import OperationalError

    ask(denied.token, engine)
    write = mocker.patch("apikeys.usage.ended.write", side_effect=OperationalError)
    with pytest.raises(OperationalError):
        usage.flush()
    mocker.stop(write)
    ask(denied.token, engine)
    usage.flush()
    assert counted()[0][-1] == 2


def test_a_successor_is_not_paused_because_the_token_was_used_where_it_is_denied(
    engine, denied, settings
):
    settings.APIKEYS = {**settings.APIKEYS, "PAUSE_SUCCESSOR": True}
    successor = lifecycle.rotate(denied.key)
    ask(denied.token, engine)
    type(denied.key).objects.filter(pk=denied.key.pk).update(
        expires_at=timezone.now() - timedelta(seconds=1)
    )
    usage.flush()
    successor.key.refresh_from_db()
    assert successor.key.paused_at is None


def test_the_owner_gets_one_mail(engine, denied, flush):
    mail.outbox.clear()
    for _ in range(2):
        ask(denied.token, engine, "203.0.113.9")
        flush()
    (sent,) = mail.outbox
    assert sent.to == [get_user_model().objects.get(username="ada").email]
    assert sent.subject == f"laptop of ada was used in {engine.slug}, where it is denied"
    assert f"laptop was denied in the project {engine.slug}" in sent.body
    assert "203.0.113.9" in sent.body
    assert "revoke it" in sent.body


def test_several_tokens_of_a_project_are_in_one_mail(ada, engine, other, denied, flush):
    second = mint_pat(ada, name="desk")
    deny(engine, second.key.public_id)
    deny(other, second.key.public_id)
    mail.outbox.clear()
    ask(denied.token, engine)
    ask(second.token, engine)
    ask(second.token, other)
    flush()
    subjects = sorted(each.subject for each in mail.outbox)
    assert subjects == [
        f"2 credentials of ada were used in {engine.slug}, where they are denied",
        f"desk of ada was used in {other.slug}, where it is denied",
    ]


def test_uses_of_deleted_projects_and_tokens_are_pruned(ada, engine, other, denied):
    deny(other, denied.key.public_id)
    for project in (engine, other):
        ask(denied.token, project)
    lifecycle.revoke(mint_pat(ada).key)
    usage.flush()
    keep = timedelta(days=90), timedelta(days=365)
    usage.prune(*keep)
    assert len(counted()) == 2

    other.delete()
    usage.prune(*keep)
    assert [row[1] for row in counted()] == [str(engine.pk)]
    EndedUse.objects.update(last_used_at=timezone.now() - timedelta(days=366))
    usage.prune(*keep)
    assert counted() == []


class TestShown:
    @pytest.fixture
    def used(self, engine, denied):
        for n in (1, 2):
            ask(denied.token, engine, f"203.0.113.{n}")
        usage.flush()
        return denied

    def page(self, client, url):
        return " ".join(client.get(url).content.decode().split())

    @pytest.mark.slow
    def test_the_page_of_the_token_warns(self, client, ada, engine, used):
        client.force_login(ada)
        url = reverse("apikeys:key", kwargs={"key_id": used.key.public_id})
        text = self.page(client, url)
        assert f"It is still used in <em>{engine.name}</em>, where it is denied." in text
        assert "2 requests were refused" in text
        assert "from 203.0.113.2" in text

        successor = lifecycle.rotate(used.key).key
        url = reverse("apikeys:key", kwargs={"key_id": successor.public_id})
        assert f"is still used in <em>{engine.name}</em>, where it" in self.page(client, url)

    def test_a_project_that_the_user_lost_is_not_named(self, client, ada, engine, used):
        Membership.objects.filter(user=ada, project=engine).delete()
        client.force_login(ada)
        url = reverse("apikeys:key", kwargs={"key_id": used.key.public_id})
        assert engine.name not in self.page(client, url)

    def test_the_activity_names_the_project(self, client, ada, engine, used):
        client.force_login(ada)
        words = f"was used in <em>{engine}</em>, where it is denied."
        assert words in self.page(client, reverse("apikeys:activity"))
        url = reverse("apikeys:activity", kwargs={"slug": engine.slug})
        assert words in self.page(client, url)

    def test_the_json_api_has_the_fact(self, client, ada, engine, other, used):
        headers = bearer(used.token)
        facts = client.get(f"/api/tokens/{used.key.public_id}/", headers=headers).json()
        row = EndedUse.objects.get()
        assert facts["used_after_end"] is None
        assert facts["used_after_denial"] == [
            {
                "project": engine.slug,
                "first": row.first_used_at.isoformat(),
                "last": row.last_used_at.isoformat(),
                "count": 2,
                "ip": "203.0.113.2",
            }
        ]

    def test_the_list_of_the_project_has_it(self, client, ada, engine, used):
        mint_pat(ada)
        client.force_login(ada)
        url = f"/api/projects/{engine.slug}/access/"
        found = {each["id"]: each for each in client.get(url).json()["results"]}
        own = found.pop(used.key.public_id)
        assert own["uses_after_denial"] == 2
        assert own["last_used_after_denial_at"] == EndedUse.objects.get().last_used_at.isoformat()
        assert [each["uses_after_denial"] for each in found.values()] == [0]

        url = reverse("apikeys:access", kwargs={"slug": engine.slug})
        assert "Still used here: 2 requests were refused, the last" in self.page(client, url)

    def test_the_commands_show_it(self, engine, used):
        out = io.StringIO()
        call_command("apikeys", "show", used.key.public_id, stdout=out)
        assert f"{engine.slug}: 2 times, first " in out.getvalue()
        out = io.StringIO()
        call_command("apikeys", "show", used.key.public_id, "--json", stdout=out)
        assert json.loads(out.getvalue())["used_after_denial"][0]["project"] == engine.slug

    @pytest.mark.slow
    def test_the_admin_shows_it(self, client, engine, used):
        client.force_login(UserFactory(is_staff=True, is_superuser=True))
        url = reverse("admin:apikeys_personalaccesstoken_change", args=[used.key.pk])
        assert f"denied in {engine}: 2 times" in self.page(client, url)
        url = reverse("admin:apikeys_access_project", args=[engine.pk])
        assert "Still used here: 2 requests were refused, the last" in self.page(client, url)


def test_project_keys_are_counted_by_their_pause_as_before(ada, engine):
    minted = mint_key(engine)
    deny(engine, minted.key.public_id)
    assert ask(minted.token, engine) == (401, "paused_key")
    usage.flush()
    assert [row[1] for row in counted()] == [""]


def test_a_member_of_another_project_learns_nothing(engine, denied):
    outsider = mint_pat(MembershipFactory().user)
    assert ask(outsider.token, engine) == LACKING
