"""Which scopes a credential used, and in which project: noted by every adapter."""

from datetime import timedelta

import pytest
from asgiref.sync import async_to_sync
from django.db import OperationalError
from django.http import HttpResponse
from django.test import RequestFactory
from django.utils import timezone
from oauth2_provider.models import Application
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys import token, usage
from apikeys.access import PERSONAL_ACCESS_TOKEN, PROJECT_KEY, Access, credential_of
from apikeys.drf import AnyScope, BearerAuthentication, HasScope, ReadWriteScope
from apikeys.http import require_scopes
from apikeys.models import ScopeUse
from apikeys.usage import scope_uses
from tests.adapters import VIEWS
from tests.factories import MembershipFactory, ProjectFactory, bearer, mint_key, mint_pat


@pytest.fixture(autouse=True)
def nothing_noted(db):
    usage.flush()
    ScopeUse.objects.all().delete()


def request_of(minted, method="get"):
    return getattr(RequestFactory(), method)(
        "/", headers={"Authorization": f"Bearer {minted.token}"}
    )


def uses():
    """Write the notes; return ``{(credential, project, scope): count}``."""
    usage.flush()
    rows = ScopeUse.objects.values_list("credential", "project_pk", "scope", "count")
    return {row[:3]: row[3] for row in rows}


class View(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasScope]
    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({})

    post = get


class OfProject(View):
    project = None

    def get(self, request):
        self.check_object_permissions(request, self.project)
        return Response({})


class TestAViewOfRestFramework:
    def test_counts_its_scopes(self, django_assert_num_queries):
        minted = mint_pat()
        view = View.as_view()
        with django_assert_num_queries(2):  # one for each key: nothing is written
            assert view(request_of(minted)).status_code == 200
            assert view(request_of(minted)).status_code == 200
        assert uses() == {(minted.key.public_id, "", "payments:read"): 2}

    def test_counts_a_project_key_for_its_project(self):
        minted = mint_key()
        View.as_view()(request_of(minted))
        assert uses() == {(minted.key.public_id, str(minted.key.project.pk), "payments:read"): 1}
        row = ScopeUse.objects.get()
        assert row.kind == PROJECT_KEY
        assert row.first_used_at <= row.last_used_at <= timezone.now()

    def test_counts_nothing_for_a_missing_scope(self):
        minted = mint_pat(scopes=["reports:read"])
        assert View.as_view()(request_of(minted)).status_code == 403
        assert uses() == {}

    def test_counts_nothing_if_another_permission_refuses(self):
        class Never(AnyScope):
            def has_permission(self, request, view):
                return False

        view = View.as_view(permission_classes=[HasScope, Never])
        assert view(request_of(mint_pat())).status_code == 403
        assert uses() == {}

    def test_counts_once_if_operators_ask_twice(self):
        minted = mint_pat()
        project = ProjectFactory()
        MembershipFactory(user=minted.key.user, project=project)
        view = OfProject.as_view(permission_classes=[HasScope | AnyScope], project=project)
        assert view(request_of(minted)).status_code == 200
        assert uses() == {(minted.key.public_id, str(project.pk), "payments:read"): 1}

    def test_counts_for_the_project_of_its_object(self):
        minted = mint_pat()
        project = ProjectFactory()
        MembershipFactory(user=minted.key.user, project=project)
        assert OfProject.as_view(project=project)(request_of(minted)).status_code == 200
        assert uses() == {(minted.key.public_id, str(project.pk), "payments:read"): 1}

    def test_counts_nothing_if_the_object_is_refused(self):
        view = OfProject.as_view(project=ProjectFactory())
        assert view(request_of(mint_pat())).status_code == 403
        assert uses() == {}

    def test_counts_the_scope_of_the_method(self):
        minted = mint_pat(scopes=["payments:write"])
        view = View.as_view(permission_classes=[ReadWriteScope("payments")], required_scopes=None)
        view(request_of(minted))
        view(request_of(minted, "post"))
        view(request_of(minted, "post"))
        assert uses() == {
            (minted.key.public_id, "", "payments:read"): 1,
            (minted.key.public_id, "", "payments:write"): 2,
        }

    def test_counts_nothing_in_a_view_that_needs_no_scope(self):
        for view in (
            View.as_view(required_scopes=[], permission_classes=[]),
            View.as_view(permission_classes=[AnyScope]),
        ):
            assert view(request_of(mint_pat())).status_code == 200
        assert uses() == {}

    def test_counts_default_scopes(self, settings):
        settings.APIKEYS = settings.APIKEYS | {"DEFAULT_SCOPES": {"tests": ["payments:read"]}}
        minted = mint_pat()
        view = View.as_view(permission_classes=[], required_scopes=None)
        assert view(request_of(minted)).status_code == 200
        assert uses() == {(minted.key.public_id, "", "payments:read"): 1}

    def test_counts_what_another_package_checks(self):
        from oauth2_provider.contrib.rest_framework import TokenHasScope

        minted = mint_pat()
        assert (
            View.as_view(permission_classes=[TokenHasScope])(request_of(minted)).status_code == 200
        )
        assert uses() == {(minted.key.public_id, "", "payments:read"): 1}


@pytest.mark.urls("tests.adapters")
@pytest.mark.parametrize("url", [VIEWS[name] for name in VIEWS if name != "middleware"])
class TestEveryAdapter:
    def test_counts_a_granted_request_once(self, client, url):
        minted = mint_pat(scopes=["payments:write"])
        assert client.get(url, headers=bearer(minted.token)).status_code == 200
        assert uses() == {(minted.key.public_id, "", "payments:read"): 1}

    def test_counts_no_refused_request(self, client, url):
        minted = mint_pat(scopes=["reports:read"])
        assert client.get(url, headers=bearer(minted.token)).status_code == 403
        assert client.get(url, headers=bearer(minted.token[:-1])).status_code == 401
        assert uses() == {}


class TestAPlainView:
    def test_counts_all_its_scopes(self):
        minted = mint_pat(scopes=["payments:read", "reports:read"])
        view = require_scopes("payments:read", "reports:read")(lambda request: HttpResponse())
        assert view(request_of(minted)).status_code == 200
        assert uses() == {
            (minted.key.public_id, "", "reports:read"): 1,
            (minted.key.public_id, "", "payments:read"): 1,
        }

    def test_counts_nothing_for_a_missing_scope(self):
        view = require_scopes("payments:write")(lambda request: HttpResponse())
        assert view(request_of(mint_pat())).status_code == 403
        assert uses() == {}

    def test_counts_nothing_beyond_the_rate_limit(self):
        minted = mint_pat(rate_limits=["1/day"])
        view = require_scopes("payments:read")(lambda request: HttpResponse())
        assert [view(request_of(minted)).status_code for _ in range(3)] == [200, 429, 429]
        assert uses() == {(minted.key.public_id, "", "payments:read"): 1}

    def test_counts_in_async_code(self):
        minted = mint_pat()

        @require_scopes("payments:read")
        async def view(request):
            return HttpResponse()

        assert async_to_sync(view)(request_of(minted)).status_code == 200
        assert uses() == {(minted.key.public_id, "", "payments:read"): 1}


def access_of(minted):
    from apikeys.verify import verify

    return verify(minted.token)


def of_client(access, **facts):
    return Access(
        kind="oauth", credential_id="77", name="", scope="payments:read", user=access.user,
        project=access.project, **facts,
    )  # fmt: skip


class TestTokens:
    def test_a_token_of_a_key_counts_for_the_key(self):
        for minted, kind in ((mint_pat(), PERSONAL_ACCESS_TOKEN), (mint_key(), PROJECT_KEY)):
            own = access_of(minted)
            usage.note_scopes(of_client(own, key=own.credential_id), ("payments:read",))
            usage.flush()
            assert ScopeUse.objects.get(kind=kind).credential == minted.key.public_id

    def test_tokens_of_an_application_count_for_what_its_user_granted(self):
        client = Application.objects.create(name="app")
        users = [access_of(mint_pat()) for _ in range(2)]
        for access in (users[0], users[0], users[1]):
            usage.note_scopes(of_client(access, client=client), ("payments:read",))
        grants = [token.grant_id(client.pk, access.user.pk) for access in users]
        assert uses() == {
            (grants[0], "", "payments:read"): 2,
            (grants[1], "", "payments:read"): 1,
        }

    def test_a_token_of_an_issuer_counts_for_nothing(self):
        external = Access(kind="external", credential_id="77", name="", scope="payments:read")
        usage.note_scopes(external, ("payments:read",))
        assert uses() == {}


class TestWriting:
    def test_adds_up_and_keeps_the_first_and_the_last(self):
        access = access_of(mint_pat())
        usage.note_scopes(access, ("payments:read",))
        usage.flush()
        first = ScopeUse.objects.get()
        usage.note_scopes(access, ("payments:read",))
        usage.note_scopes(access, ("reports:read", "payments:read"))
        usage.flush()
        row = ScopeUse.objects.get(scope="payments:read")
        assert row.count == 3
        assert row.first_used_at == first.first_used_at < row.last_used_at

    def test_keeps_what_could_not_be_written(self, monkeypatch):
        access = access_of(mint_pat())
        usage.note_scopes(access, ("payments:read",))
        with monkeypatch.context() as patch:
            patch.setattr(scope_uses, "_add", lambda rows: (_ for _ in ()).throw(OperationalError))
            with pytest.raises(OperationalError):
                usage.flush()
        usage.note_scopes(access, ("payments:read",))
        assert list(uses().values()) == [2]

    def test_bounds_what_is_pending(self, monkeypatch):
        monkeypatch.setattr(scope_uses, "MOST", 2)
        access = access_of(mint_pat())
        for project in (1, 2, 3, 2):
            usage.note_scopes(access, ("payments:read",), project)
        assert sorted(uses().values()) == [1, 2]

    def test_leaves_out_what_does_not_fit(self):
        access = access_of(mint_pat())
        usage.note_scopes(access, ("x" * 300, "a\0b", "payments:read"))
        assert [scope for _, _, scope in uses()] == ["payments:read"]


def row(minted, scope="payments:read", project="", days=0, count=1, kind=None):
    at = timezone.now() - timedelta(days=days)
    kind = kind or token.KIND_NAMES[minted.key.KIND]
    return ScopeUse.objects.create(
        kind=kind, credential=minted.key.public_id, project_pk=project, scope=scope, count=count,
        first_used_at=at - timedelta(days=1), last_used_at=at,
    )  # fmt: skip


def credential(minted):
    return credential_of(access_of(minted))


class TestReading:
    def test_uses_by_scope(self, django_assert_num_queries):
        minted, other = mint_pat(), mint_pat()
        row(minted, project="1", count=3)
        row(minted, project="2", count=4, days=5)
        row(minted, "reports:read", days=200)
        row(other, "invoices:read")
        with django_assert_num_queries(1):
            found = scope_uses.of([("personal_access_token", minted.key.public_id)])
        assert {name: use.requests for name, use in found.items()} == {
            "payments:read": 7,
            "reports:read": 1,
        }
        since = timezone.now() - timedelta(days=90)
        assert set(scope_uses.of([credential(minted)], since)) == {"payments:read"}

    def test_last_use_in_a_project_of_many(self, django_assert_num_queries):
        project = ProjectFactory()
        first, second, third = mint_pat(), mint_key(project), mint_pat()
        row(first, project=str(project.pk), days=3)
        row(first, "reports:read", project=str(project.pk), days=1, count=9)
        row(second, project=str(project.pk))
        row(third, project="elsewhere")
        both = [credential(first), credential(second), credential(third)]
        with django_assert_num_queries(1):
            found = scope_uses.in_project(project, both)
        assert (
            set(found)
            == {credential(first), credential(second)}
            == set(scope_uses.in_project(project))
        )
        assert found[credential(first)].requests == 9
        assert found[credential(first)].last.date() == (timezone.now() - timedelta(days=1)).date()

    def test_projects(self):
        minted = mint_pat()
        row(minted, project="1")
        row(minted, project="2", days=100)
        since = timezone.now() - timedelta(days=90)
        assert scope_uses.projects_of([credential(minted)], since) == {"1"}


class TestPrune:
    def prune(self):
        return usage.prune(timedelta(days=31), timedelta(days=365))

    def test_deletes_old_rows_and_those_of_deleted_keys_and_projects(self):
        project, gone_project = ProjectFactory(), ProjectFactory()
        kept, gone = mint_pat(), mint_key(gone_project)
        row(kept, project=str(project.pk))
        row(kept, "reports:read", project=str(project.pk), days=364)
        row(kept, "payments:write", project=str(project.pk), days=366)
        row(kept, project=str(gone_project.pk))
        row(gone)
        row(gone, kind="oauth")
        gone_project.delete()
        assert self.prune() == 3
        left = set(ScopeUse.objects.values_list("kind", "scope"))
        assert left == {
            ("personal_access_token", "payments:read"),
            ("personal_access_token", "reports:read"),
            ("oauth", "payments:read"),
        }
        assert self.prune() == 0
