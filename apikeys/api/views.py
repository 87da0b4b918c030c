"""The JSON API over ``lifecycle``: tokens of a person, and keys of a project."""

import re
from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from django.core.exceptions import ObjectDoesNotExist
from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework.decorators import action
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.views import APIView
from rest_framework.viewsets import GenericViewSet

from .. import audit, grants, lifecycle, scopes, token
from ..access import OAUTH, Access
from ..conf import app_settings
from ..drf import AnyScope, AuthorizedRequest, BearerAuthentication, HasScope, InsufficientScope
from ..grants import Extent, Grant
from ..lifecycle import LifecycleError, Minted
from ..models import (
    AuditEvent,
    PersonalAccessToken,
    ProjectKey,
    State,
    reaching_only,
)
from ..records import record, with_facts
from ..states import in_state
from ..web.sudo import get_sudo
from .authentication import SessionAuthentication
from .base import JSONView
from .exceptions import NotAManager, NotAnApprover, RecentLoginRequired, UserRequired, handle
from .idempotency import once
from .pagination import KeyPagination
from .serializers import (
    AccessSerializer,
    AuditParameters,
    Body,
    KeyBody,
    ListParameters,
    NoBody,
    ProjectKeyBody,
    ReasonBody,
    RotateBody,
    RotateProjectKeyBody,
    TokenBody,
)

AnyKey = PersonalAccessToken | ProjectKey

_ID = re.compile(rf"[0-9a-z]{{{token.ID_LENGTH}}}", re.ASCII)


class TokenView(APIView):
    """Who the caller is: the facts of the credential that the request was made with."""

    authentication_classes = [BearerAuthentication]
    permission_classes = [AnyScope]
    serializer_class = AccessSerializer

    def get(self, request: AuthorizedRequest) -> Response:
        return Response(request.auth.facts(), headers={"Cache-Control": "no-store"})

    def get_exception_handler(self) -> Any:
        return handle


class KeysView(JSONView, GenericViewSet[Any]):
    """What all views of keys share: who asks, and with what."""

    authentication_classes = [BearerAuthentication, SessionAuthentication]
    permission_classes = [HasScope]
    required_scopes = {"read": [scopes.KEYS_READ], "write": [scopes.KEYS_WRITE]}
    pagination_class = KeyPagination
    filter_backends = ()

    model: ClassVar[type[AnyKey]]

    @property
    def access(self) -> Access | None:
        """The credential; ``None`` for a person who is logged in by session."""
        auth = self.request.auth
        if auth is not None and not isinstance(auth, Access):
            raise NotAuthenticated  # another package's token: what it reaches cannot be told
        return auth

    @property
    def person(self) -> Any:
        """The user who asks, by session or with a credential of theirs; else ``None``."""
        return self.request.user if self.access is None else self.access.user

    @property
    def is_write(self) -> bool:
        return self.request.method not in SAFE_METHODS

    def body(self, shape: type[Body], data: Any = None, *, partial: bool = False) -> dict[str, Any]:
        serializer = shape(data=self.request.data if data is None else data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def require_recent_login(self) -> None:
        """Of a person; a credential was made by one who was asked."""
        if self.access is None and not get_sudo().is_recent(self.request._request):
            raise RecentLoginRequired

    def paged(self, keys: QuerySet[Any]) -> Response:
        page = self.paginate_queryset(keys)
        return self.get_paginated_response([record(key) for key in page or ()])


class KeyViewSet(KeysView):
    """The keys of one owner."""

    create_body: ClassVar[type[Body]]
    edit_body: ClassVar[type[Body]]
    rotate_body: ClassVar[type[Body]] = RotateBody

    def get_queryset(self) -> QuerySet[Any]:
        """The keys that the caller gets to see; others do not exist for it."""
        raise NotImplementedError

    def grant(self) -> Grant:
        """The most that the caller may give."""
        raise NotImplementedError

    def mint(self, **asked: Any) -> Minted[Any]:
        raise NotImplementedError

    def to_decide(self) -> QuerySet[Any]:
        """The keys on which the caller may decide, if they exist for it."""
        raise NotImplementedError

    def check_sees(self) -> None:
        """Raises ``NotFound`` for whom the owner's keys do not exist."""

    def get_object(self) -> Any:
        return self.find(self.get_queryset())

    def find(self, keys: QuerySet[Any]) -> Any:
        public_id = self.kwargs["id"]
        if not _ID.fullmatch(public_id):
            raise NotFound
        return keys.get(public_id=public_id)

    def answer(self, key: AnyKey) -> Response:
        return Response(record(with_facts(type(key)).get(pk=key.pk)))

    def list(self, request: Request, **kwargs: Any) -> Response:
        keys = self.get_queryset()
        parameters = ListParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        if state := parameters.validated_data.get("state"):
            keys = in_state(keys, State(state))
        return self.paged(keys)

    def retrieve(self, request: Request, **kwargs: Any) -> Response:
        return Response(record(self.get_object()))

    @method_decorator(sensitive_variables())
    def create(self, request: Request, **kwargs: Any) -> Response:
        asked = self.body(self.create_body)
        self.require_recent_login()
        return self.made(lambda: self.mint(**self.resolve(asked)))

    @action(detail=True, methods=["post"])
    @method_decorator(sensitive_variables())
    def rotate(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        asked = self.body(self.rotate_body)
        self.require_recent_login()
        how: dict[str, Any] = {"overlap": _overlap(asked.get("overlap_seconds"))}
        if asked.get("public_key") is not None:
            how["public_key"] = asked["public_key"]
        # A person's own token acts within that person's rights anyway.
        own = self.access is None and isinstance(key, PersonalAccessToken)
        within = None if own else self.grant()
        return self.made(lambda: lifecycle.rotate(key, **how, by=self.person, within=within))

    @method_decorator(sensitive_variables())
    def made(self, make: Any) -> Response:
        """201 with the record and the secret; without it, where it was asked for before."""
        made = once(self.request, self.caller(), make)
        if isinstance(made, str):
            facts = record(self.get_queryset().get(public_id=made)) | {"token": None}
            return Response(facts, status=201, headers={"Idempotency-Replayed": "true"})
        facts = record(with_facts(self.model).get(pk=made.key.pk))
        # Last, so that no error page can show a frame that holds it.
        return Response(facts | {"token": made.token or None}, status=201)

    def caller(self) -> str:
        """Whose ``Idempotency-Key`` it is; an OAuth token may be refreshed in between."""
        access = self.access
        if access is None:
            return f"session {self.person.pk}"
        if access.kind == OAUTH and not access.key:
            client = access.client.pk if access.client else None
            user = access.user.pk if access.user else None
            return f"{access.kind} {client} {user}"
        return f"{access.kind} {access.revoked_with}"

    def partial_update(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        asked = self.resolve(self.body(self.edit_body, partial=True), key)
        if _after(key, asked).wider(Extent.of(key)):
            self.require_recent_login()
        lifecycle.edit(key, **asked, by=self.person, within=self.grant())
        return self.answer(key)

    def destroy(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        reason = self.reason()
        lifecycle.revoke(key, by=self.person, reason=reason, using=self.access)
        return Response(status=204)

    @action(detail=True, methods=["post"])
    def approve(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_decided()
        self.body(NoBody)
        self.require_recent_login()
        within = self.grant() if self.access is not None else None
        lifecycle.approve(key, by=self.person, within=within)
        return self.answer(key)

    @action(detail=True, methods=["post"])
    def reject(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_decided()
        lifecycle.reject(key, by=self.person, reason=self.reason(), using=self.access)
        return self.answer(key)

    def get_decided(self) -> Any:
        key = self.find(self.to_decide())
        if self.person is None or not app_settings.POLICY.may_approve(self.person, key):
            # Who sees the key otherwise is told why; for others it does not exist.
            self.check_sees()
            self.get_object()
            raise NotAnApprover
        return key

    @action(detail=False, methods=["get"])
    def audit(self, request: Request, **kwargs: Any) -> Response:
        """What happened to the keys of the owner, newest first."""
        parameters = AuditParameters(data=request.query_params)
        parameters.is_valid(raise_exception=True)
        asked = parameters.validated_data
        events = self.events()
        if (key := asked.get("key")) is not None:
            events = events.filter(public_id=key)
        if (event := asked.get("event")) is not None:
            events = events.filter(event=event)
        page = self.paginate_queryset(events)
        return self.get_paginated_response([audit.record(each) for each in page or ()])

    def events(self) -> QuerySet[Any]:
        """The events that the caller gets to see."""
        raise NotImplementedError

    def reason(self) -> str:
        """In the query, because some software drops the body of a DELETE; or in the body."""
        query = self.request.query_params.dict()
        body = self.request.data
        data = {**query, **body} if isinstance(body, dict) else body
        return str(self.body(ReasonBody, data).get("reason", ""))

    def resolve(self, asked: dict[str, Any], key: AnyKey | None = None) -> dict[str, Any]:
        """With the projects that the slugs name, as far as they exist for the caller."""
        slugs = asked.get("projects")
        if slugs is None:
            return asked
        reached = self.grant().projects.filter(slug__in=slugs)
        found = {project.slug: project for project in reached}
        if isinstance(key, PersonalAccessToken):
            found |= {project.slug: project for project in key.projects.all()}
        if lacking := sorted(set(slugs) - set(found)):
            names = {"projects": ", ".join(lacking)}
            if self.access is None:
                message = _("You are in no project %(projects)s.") % names
                raise LifecycleError("unknown_project", message, "projects")
            message = _("Your credential reaches no project %(projects)s.") % names
            raise LifecycleError("project_not_grantable", message, "projects")
        return asked | {"projects": [found[slug] for slug in slugs]}


class TokenViewSet(KeyViewSet):
    """The personal access tokens of whoever asks."""

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
        # Of tokens that reach further it is told no more than of the tokens themselves.
        return events.filter(public_id__in=self.get_queryset().values("public_id"))

    def grant(self) -> Grant:
        return grants.for_tokens(self.person, self.access)

    def mint(self, **asked: Any) -> Minted[PersonalAccessToken]:
        return lifecycle.mint(user=self.person, **asked, by=self.person, within=self.grant())


class ProjectKeyViewSet(KeyViewSet):
    """The keys of a project, for members whom the policy allows, and for its own keys."""

    model = ProjectKey
    create_body, edit_body, rotate_body = ProjectKeyBody, KeyBody, RotateProjectKeyBody

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.project = self.find_project(kwargs["slug"])
        if self.action in ("approve", "reject"):  # a site admin need not be a member
            return
        self.check_sees()
        if self.is_own or not self.is_write:
            return
        if not app_settings.POLICY.may_manage_keys(self.person, self.project):
            raise NotAManager

    @property
    def is_own(self) -> bool:
        """Whether a key of the project asks, or a token got with one."""
        return self.access is not None and self.access.project is not None

    def check_sees(self) -> None:
        if self.is_own:
            return
        if self.person is None or not app_settings.POLICY.may_see_keys(self.person, self.project):
            raise NotFound

    def find_project(self, slug: str) -> Any:
        access = self.access
        policy = app_settings.POLICY
        if access is None:
            return _project(policy.active_projects(), slug)
        required = (scopes.KEYS_WRITE if self.is_write else scopes.KEYS_READ,)
        try:
            return _project(access.projects(*required), slug)
        except NotFound:
            _project(access.projects(), slug)
            raise InsufficientScope(*required) from None

    def get_queryset(self) -> QuerySet[Any]:
        return with_facts(self.model).filter(project=self.project)

    to_decide = get_queryset

    def events(self) -> QuerySet[Any]:
        if not self.is_own and not app_settings.POLICY.may_manage_keys(self.person, self.project):
            raise NotAManager
        return AuditEvent.objects.of(self.project)

    def grant(self) -> Grant:
        return grants.for_project(self.project, user=self.person, using=self.access)

    def mint(self, **asked: Any) -> Minted[ProjectKey]:
        return lifecycle.mint(project=self.project, **asked, by=self.person, within=self.grant())


class Approvals(KeysView):
    """What awaits approval, as far as the caller may decide on it."""

    def list(self, request: Request, **kwargs: Any) -> Response:
        if self.person is None:
            raise UserRequired
        keys = in_state(self.get_queryset(), State.PENDING)
        return self.paged(app_settings.POLICY.approvable(self.person, keys))


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


def _project(projects: QuerySet[Any], slug: str) -> Any:
    if "\0" in slug:
        raise NotFound
    try:
        project = projects.get(slug=slug)
    except (ObjectDoesNotExist, ValueError):
        raise NotFound from None
    if project.slug != slug:  # a collation may be less exact
        raise NotFound
    return project


def _as_selected(tokens: QuerySet[Any], access: Access | None) -> QuerySet[Any]:
    """Those that reach no project beyond the ones that ``access`` is restricted to."""
    if access is None or access.selected is None:
        return tokens
    return tokens.filter(reaching_only(access.selected()))


def _after(key: AnyKey, asked: dict[str, Any]) -> Extent:
    """What an edit asks for, for telling whether that is more."""
    had = Extent.of(key)
    projects = asked.get("projects", had.projects)
    return replace(
        had,
        scope=scopes.join(asked["scopes"]) if "scopes" in asked else had.scope,
        projects=None if projects is None else frozenset(projects),
        expires_at=asked.get("expires_at", had.expires_at),
        **lifecycle.bounds(asked),
    )


def _overlap(seconds: int | None) -> timedelta | None:
    if seconds is None:
        return None
    # Beyond any that lifecycle takes, and within what a timedelta can be.
    bound = int(lifecycle.MAX_OVERLAP.total_seconds()) + 1
    return timedelta(seconds=max(-1, min(seconds, bound)))
