"""Users and projects that the default manager hides, as packages for soft deletion do."""

import io
import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db.models import Manager, QuerySet
from django.test import AsyncRequestFactory, Client

from apikeys import cache, lifecycle
from apikeys.lifecycle import LifecycleError
from apikeys.models import PersonalAccessToken, Project, ProjectKey
from apikeys.models.owners import is_active
from apikeys.oauth import authorizations
from apikeys.verify import Refused, averify, verify
from tests.factories import (
    MembershipFactory,
    ProjectFactory,
    UserFactory,
    bearer,
    mint_key,
    mint_pat,
)

User = get_user_model()
HIDDEN = "gone"


class SoftQuerySet(QuerySet):
    pass


def hiding(field):
    """The class of a manager that hides rows whose ``field`` begins with HIDDEN."""

    class SoftManager(Manager.from_queryset(SoftQuerySet)):
        def get_queryset(self):
            return super().get_queryset().exclude(**{f"{field}__startswith": HIDDEN})

    return SoftManager


def with_manager(monkeypatch, model, manager):
    manager.model, manager.name = model, "objects"
    monkeypatch.setitem(vars(model._meta), "default_manager", manager)


@pytest.fixture(params=["default", "base"])
def hides(request, monkeypatch, db):
    """The default managers of users and projects hide rows; the base managers may do, too."""
    for model, field in ((User, "username"), (Project, "slug")):
        manager = hiding(field)()
        with_manager(monkeypatch, model, manager)
        if request.param == "base":
            monkeypatch.setitem(vars(model._meta), "base_manager", manager)


def delete_softly(owner):
    field = "username" if isinstance(owner, User) else "slug"
    setattr(owner, field, f"{HIDDEN}-{owner.pk}")
    owner.save()


def code_of(text):
    try:
        verify(text)
    except Refused as refused:
        return refused.refusal.code
    return None


def exchange(minted):
    data = {
        "grant_type": "client_credentials",
        "client_id": minted.key.public_id,
        "client_secret": minted.token,
    }
    return Client().post("/o/token/", data)


@pytest.fixture(params=["pat", "key"])
def minted(request, db):
    if request.param == "pat":
        return mint_pat(MembershipFactory(role="owner").user)
    return mint_key(ProjectFactory())


def refusal_of(minted):
    return "inactive_user" if minted.key.KIND == "pat" else "inactive_project"


@pytest.mark.usefixtures("hides")
class TestHidden:
    def test_its_key_is_refused(self, minted):
        assert code_of(minted.token) is None
        delete_softly(minted.key.owner)
        assert code_of(minted.token) == refusal_of(minted)

    def test_its_key_is_refused_where_the_site_has_a_cache(
        self, minted, settings, django_assert_num_queries
    ):
        settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
        assert code_of(minted.token) is None
        model = type(minted.key.owner)
        field = "username" if model is User else "slug"
        model.objects.filter(pk=minted.key.owner.pk).update(**{field: HIDDEN})
        cache.forget(minted.key.owner)
        for _ in range(2):
            assert code_of(minted.token) == refusal_of(minted)

    def test_an_access_token_of_its_key_is_refused(self, minted):
        text = exchange(minted).json()["access_token"]
        assert code_of(text) is None
        delete_softly(minted.key.owner)
        assert code_of(text) is not None
        assert exchange(minted).status_code in (400, 401)
        asking = mint_key()
        for token in (text, minted.token):
            response = Client().post(
                "/o/introspect/", {"token": token}, headers=bearer(asking.token)
            )
            assert response.status_code in (200, 401, 403)
            assert response.json().get("active") is not True

    def test_nothing_is_minted_for_it(self, minted):
        owner = minted.key.owner
        delete_softly(owner)
        kind = "user" if minted.key.KIND == "pat" else "project"
        with pytest.raises(LifecycleError) as error:
            lifecycle.mint(**{kind: owner}, name="x", scopes=["payments:read"])
        assert error.value.code == refusal_of(minted)

    def test_a_member_does_not_reach_it(self):
        membership = MembershipFactory(role="owner")
        everywhere = mint_pat(membership.user)
        selected = mint_pat(membership.user, projects=[membership.project])
        delete_softly(membership.project)
        for each in (everywhere, selected):
            access = verify(each.token)
            assert list(access.projects()) == []
            assert not access.allows("payments:read", project=membership.project)

    @pytest.mark.slow
    def test_pages_lists_and_commands_answer(self, minted, client):
        owner = minted.key.owner
        ada = MembershipFactory(user__username="ada").user
        if minted.key.KIND == "key":
            MembershipFactory(user=ada, project=owner, role="owner")
        lifecycle.rotate(minted.key)
        delete_softly(owner)
        client.force_login(ada)
        for url in ("/settings/keys/", "/settings/keys/approvals/", "/settings/keys/activity/"):
            assert client.get(url).status_code == 200, url
        client.force_login(UserFactory(username="root", is_staff=True, is_superuser=True))
        name = "personalaccesstoken" if minted.key.KIND == "pat" else "projectkey"
        for url in (f"/admin/apikeys/{name}/", f"/admin/apikeys/{name}/{minted.key.pk}/change/"):
            assert client.get(url).status_code == 200, url
        for words in (
            ["list", "--all"],
            ["show", minted.key.public_id],
            ["audit"],
            ["audit-policy"],
            ["notify"],
            ["revoke", minted.key.public_id, "--reason", "Lost."],
        ):
            call_command("apikeys", *words, stdout=io.StringIO(), stderr=io.StringIO())

    def test_the_page_of_a_client_leaves_out_hidden_users(self, client):
        from oauth2_provider.models import get_access_token_model, get_application_model

        application = get_application_model()._default_manager.create(user=UserFactory())
        user = UserFactory()
        get_access_token_model()._default_manager.create(
            user=user, application=application, token="x", scope="a", expires="2100-01-01T00:00Z"
        )
        assert len(authorizations.live(application=application)) == 1
        delete_softly(user)
        assert authorizations.live(application=application) == []


@pytest.mark.parametrize("config", [None, {"TIMEOUT": 60}])
def test_async_views_refuse_it(hides, transactional_db, settings, config):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": config}
    minted, request = mint_key(), AsyncRequestFactory().get("/")
    for _ in range(2):
        assert async_to_sync(averify)(minted.token, request)
    delete_softly(minted.key.project)
    for _ in range(2):
        with pytest.raises(Refused, match="inactive_project"):
            async_to_sync(averify)(minted.token, request)


def test_a_plain_manager_costs_no_query(minted, django_assert_num_queries):
    verify(minted.token)
    with django_assert_num_queries(1):
        verify(minted.token)


def test_a_manager_that_only_adds_to_the_query_costs_none(
    minted, monkeypatch, django_assert_num_queries
):
    class Adds(Manager):
        def get_queryset(self):
            return super().get_queryset().order_by("pk").defer("created_at")

    for model in (User, Project):
        with_manager(monkeypatch, model, Adds())
    verify(minted.token)
    with django_assert_num_queries(1):
        verify(minted.token)


def test_what_a_manager_hides_is_asked_at_each_request(minted, monkeypatch):
    hidden = set()

    class Tenant(Manager):
        def get_queryset(self):
            return super().get_queryset().exclude(pk__in=hidden)

    for model in (User, Project):
        with_manager(monkeypatch, model, Tenant())
    assert code_of(minted.token) is None
    hidden.add(minted.key.owner.pk)
    assert code_of(minted.token) == refusal_of(minted)
    hidden.clear()
    assert code_of(minted.token) is None


def test_an_owner_without_the_field_is_active():
    class Owner:
        pass

    assert is_active(Owner())


def test_json_of_a_hidden_owner(hides, minted):
    delete_softly(minted.key.owner)
    out = io.StringIO()
    call_command("apikeys", "show", minted.key.public_id, "--json", stdout=out)
    assert json.loads(out.getvalue())["id"] == minted.key.public_id
    assert {PersonalAccessToken.KIND, ProjectKey.KIND} >= {minted.key.KIND}
