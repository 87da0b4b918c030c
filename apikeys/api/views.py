"""Views of the JSON API: the tokens of a user, the keys of a project, and pending approvals."""

from typing import Any

from django.db.models import QuerySet
from rest_framework.exceptions import NotFound
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView

from .. import grants, lifecycle, scopes
from ..access import Access
from ..drf import AnyScope, AuthorizedRequest, BearerAuthentication
from ..grants import Grant
from ..keys.facts import with_facts
from ..keys.queries import in_state
from ..lifecycle import Minted
from ..lifecycle.permitted import longest_expiry
from ..models import AuditEvent, PersonalAccessToken, ProjectKey, State, reaching_only
from ..policy import get_policy
from . import projects
from .exceptions import NotAManager, UserRequired, handle
from .key_views import KeysView, KeyViewSet
from .serializers import (
    AccessSerializer,
    EditProjectKeyBody,
    ProjectKeyBody,
    RotateProjectKeyBody,
    TokenBody,
)


class TokenView(APIView):
    """Return the facts of the credential in the request."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [AnyScope]
    serializer_class = AccessSerializer

    def get(self, request: AuthorizedRequest) -> Response:
        return Response(request.auth.facts(), headers={"Cache-Control": "no-store"})

    def get_exception_handler(self) -> Any:
        return handle


class TokenViewSet(KeyViewSet):
    """Manage the personal access tokens of the caller."""

    model = PersonalAccessToken
    create_body = edit_body = TokenBody

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.person is None:
            raise UserRequired

    def get_queryset(self) -> QuerySet[Any]:
        return self.to_decide().filter(user=self.person)

    def to_decide(self) -> QuerySet[Any]:
        return _as_selected(with_facts(self.model), self.access)

    def events(self) -> QuerySet[Any]:
        events = AuditEvent.objects.of(self.person)
        if self.access is None or self.access.selected is None:
            return events
        # A restricted credential may not see tokens with other projects, nor their events.
        return events.filter(public_id__in=self.get_queryset().values("public_id"))

    def grant(self) -> Grant:
        return grants.for_tokens(self.person, self.access)

    def mint(self, **asked: Any) -> Minted[PersonalAccessToken]:
        within = self.grant()
        asked = {"expires_at": longest_expiry(self.person, within)} | asked
        return lifecycle.mint(user=self.person, **asked, by=self.person, within=within)


class ProjectKeyViewSet(KeyViewSet):
    """Manage the keys of a project.

    Members need the permission of the policy. The project's own keys need a scope.
    """

    model = ProjectKey
    create_body, edit_body = ProjectKeyBody, EditProjectKeyBody
    rotate_body = RotateProjectKeyBody

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.project = projects.find(kwargs["slug"], self.access, is_write=self.is_write)
        if self.action in ("approve", "reject"):  # a site admin need not be a member
            return
        self.check_sees()
        if self.is_own or not self.is_write:
            return
        if not get_policy().may_manage_keys(self.person, self.project):
            raise NotAManager

    @property
    def is_own(self) -> bool:
        """Whether the credential belongs to the project: its key, or a token issued for its key."""
        return self.access is not None and self.access.project is not None

    def check_sees(self) -> None:
        if self.is_own:
            return
        if self.person is None or not get_policy().may_see_keys(self.person, self.project):
            raise NotFound

    def get_queryset(self) -> QuerySet[Any]:
        return with_facts(self.model).filter(project=self.project)

    to_decide = get_queryset

    def events(self) -> QuerySet[Any]:
        if not self.is_own and not get_policy().may_manage_keys(self.person, self.project):
            raise NotAManager
        return AuditEvent.objects.of(self.project)

    def grant(self) -> Grant:
        return grants.for_project(self.project, user=self.person, using=self.access)

    def mint(self, **asked: Any) -> Minted[ProjectKey]:
        within = self.grant()
        asked = {"expires_at": longest_expiry(self.project, within)} | asked
        return lifecycle.mint(project=self.project, **asked, by=self.person, within=within)


class Approvals(KeysView):
    """List the pending keys that the caller may approve."""

    def list(self, request: Request, **kwargs: Any) -> Response:
        if self.person is None:
            raise UserRequired
        keys = in_state(self.get_queryset(), State.PENDING)
        return self.paged(get_policy().approvable(self.person, keys))


class TokenApprovals(Approvals):
    model = PersonalAccessToken

    def get_queryset(self) -> QuerySet[Any]:
        return _as_selected(with_facts(self.model), self.access)


class ProjectKeyApprovals(Approvals):
    model = ProjectKey

    def get_queryset(self) -> QuerySet[Any]:
        keys = with_facts(self.model)
        if self.access is None:
            return keys
        return keys.filter(project__in=self.access.projects(scopes.KEYS_READ))


def _as_selected(tokens: QuerySet[Any], access: Access | None) -> QuerySet[Any]:
    """Return the ``tokens`` without access to projects outside the restriction of ``access``."""
    if access is None or access.selected is None:
        return tokens
    return tokens.filter(reaching_only(access.selected()))
