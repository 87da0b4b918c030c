"""Base classes of the views of tokens and project keys: list, read, create, change, revoke."""

from dataclasses import replace
from datetime import timedelta
from typing import Any, ClassVar

from django.db.models import QuerySet
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables
from rest_framework.decorators import action
from rest_framework.exceptions import NotAuthenticated, NotFound
from rest_framework.permissions import SAFE_METHODS
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.viewsets import GenericViewSet

from .. import audit, lifecycle, moments, scopes, token
from ..access import Access, lasting_id
from ..conf import app_settings, slug_field, slug_of
from ..databases.lists import for_list
from ..drf import BearerAuthentication, HasScope
from ..errors import LifecycleError
from ..grants import Extent, Grant
from ..keys import ended
from ..keys.event_queries import keys_first
from ..keys.facts import record, with_facts
from ..keys.queries import idle, in_state
from ..lifecycle import Minted, narrowing
from ..models import AnyKey, PersonalAccessToken, State
from ..policy import get_policy
from ..reach.listing import awaits_approval_in
from ..web.sudo import get_sudo
from ..workloads import rules
from .authentication import SessionAuthentication
from .base import JSONView
from .exceptions import NotAnApprover, RecentLoginRequired
from .idempotency import once
from .pagination import KeyPagination
from .parameters import AuditParameters, ListParameters
from .serializers import Body, NoBody, ReasonBody, RotateBody
from .uses_serializers import NarrowBody, UsesParameters, record_uses


class KeysView(JSONView, GenericViewSet[Any]):
    """Base class of all views of keys: authentication, scopes and pagination."""

    authentication_classes = [BearerAuthentication, SessionAuthentication]
    permission_classes = [HasScope]
    required_scopes = {"read": [scopes.KEYS_READ], "write": [scopes.KEYS_WRITE]}
    pagination_class = KeyPagination
    filter_backends = ()

    model: ClassVar[type[AnyKey]]

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        if self.model.OWNER == "project" and not app_settings.PROJECT_KEYS:
            raise NotFound

    @property
    def access(self) -> Access | None:
        """The ``Access`` of the credential, or ``None`` for a user logged in by session.

        Raise ``NotAuthenticated`` for a token of another package, because its scopes and
        projects are unknown.
        """
        auth = self.request.auth
        if auth is not None and not isinstance(auth, Access):
            raise NotAuthenticated
        return auth

    @property
    def person(self) -> Any:
        """The user of the session or of the credential. ``None`` if the credential has no user."""
        return self.request.user if self.access is None else self.access.user

    @property
    def is_write(self) -> bool:
        return self.request.method not in SAFE_METHODS

    def body(self, shape: type[Body], data: Any = None, *, partial: bool = False) -> dict[str, Any]:
        serializer = shape(data=self.request.data if data is None else data, partial=partial)
        serializer.is_valid(raise_exception=True)
        return dict(serializer.validated_data)

    def require_recent_login(self) -> None:
        """Raise ``RecentLoginRequired`` if a session's log-in is older than ``SUDO_MAX_AGE``.

        A credential passes: its creation already required a recent log-in.
        """
        if self.access is None and not get_sudo().is_recent(self.request._request):
            raise RecentLoginRequired

    def paged(self, keys: QuerySet[Any]) -> Response:
        page = self.paginate_queryset(keys)
        return self.get_paginated_response([record(key) for key in page or ()])


class KeyViewSet(KeysView):
    """Manage the keys of one owner: a user or a project."""

    create_body: ClassVar[type[Body]]
    edit_body: ClassVar[type[Body]]
    rotate_body: ClassVar[type[Body]] = RotateBody

    def get_queryset(self) -> QuerySet[Any]:
        """Return the keys that the caller may see. All others are answered with 404."""
        raise NotImplementedError

    def grant(self) -> Grant:
        """Return the limits on what the caller may grant to a key."""
        raise NotImplementedError

    def mint(self, **asked: Any) -> Minted[Any]:
        raise NotImplementedError

    def to_decide(self) -> QuerySet[Any]:
        """Return the keys that the caller may approve or reject, if the policy allows it."""
        raise NotImplementedError

    def check_sees(self) -> None:
        """Raise ``NotFound`` if the caller may not see the owner's keys."""

    def get_object(self) -> Any:
        return self.find(self.get_queryset())

    def find(self, keys: QuerySet[Any]) -> Any:
        public_id = self.kwargs["id"]
        if not token.is_id(public_id):
            raise NotFound
        return keys.get(public_id=public_id)

    def answer(self, key: AnyKey) -> Response:
        return Response(self.facts(key))

    def facts(self, key: AnyKey) -> dict[str, Any]:
        return _one(with_facts(type(key)).get(pk=key.pk))

    def listed(self, rows: QuerySet[Any]) -> QuerySet[Any]:
        """Return ``rows`` of a list, read from a replica if the site says so (``LISTS_FROM``).

        The primary decides which rows a credential with selected projects may see.
        """
        access = self.access
        if access is not None and access.selected is not None:
            return rows
        return for_list(rows, self.request if access is None else None)

    def list(self, request: Request, **kwargs: Any) -> Response:
        keys = self.listed(self.get_queryset())
        parameters = ListParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        if state := parameters.validated_data.get("state"):
            keys = in_state(keys, State(state))
        if span := parameters.validated_data.get("unused_for"):
            keys = idle(keys, moments.ago(span))
        return self.paged(keys)

    def retrieve(self, request: Request, **kwargs: Any) -> Response:
        return Response(_one(self.get_object()))

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
        how |= {
            name: asked[name] for name in ("public_key", "trust") if asked.get(name) is not None
        }
        # A token never exceeds the rights of its user, so its user may rotate it without limits.
        own = self.access is None and isinstance(key, PersonalAccessToken)
        within = None if own else self.grant()
        return self.made(lambda: lifecycle.rotate(key, **how, by=self.person, within=within))

    @method_decorator(sensitive_variables())
    def made(self, make: Any) -> Response:
        """Return 201 with the facts of the new key and its secret.

        ``token`` is ``None`` for a repeated request.
        """
        made = once(self.request, self.caller(), make)
        if isinstance(made, str):
            facts = record(self.get_queryset().get(public_id=made)) | {"token": None}
            return Response(facts, status=201, headers={"Idempotency-Replayed": "true"})
        facts = record(with_facts(self.model).get(pk=made.key.pk))
        # Add the secret last, so that no error page can show a frame that holds it.
        return Response(facts | {"token": made.token or None}, status=201)

    def caller(self) -> str:
        """Return who owns the ``Idempotency-Key``.

        For an OAuth token this is its client and user, so that a repetition may use a
        refreshed token.
        """
        access = self.access
        if access is None:
            return f"session {self.person.pk}"
        if not lasting_id(access):
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
    def pause(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        lifecycle.pause(key, by=self.person, reason=self.reason(), using=self.access)
        return self.answer(key)

    @action(detail=True, methods=["post"])
    def resume(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        self.body(NoBody)
        self.require_recent_login()
        within = self.grant() if self.access is not None else None
        lifecycle.resume(key, by=self.person, within=within)
        return self.answer(key)

    @action(detail=True, methods=["get"])
    def uses(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        parameters = UsesParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        found = lifecycle.uses(key, parameters.validated_data["days"])
        return Response(record_uses(found, narrowing.refusal(key, found)))

    @action(detail=True, methods=["post"])
    def narrow(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        asked = self.body(NarrowBody)
        found = lifecycle.uses(key, asked["days"])
        if (error := narrowing.refusal(key, found)) is not None:
            raise error
        if not asked["dry_run"]:
            # With ``shown``, it removes exactly what the response says.
            how: dict[str, Any] = {"days": found.days, "shown": found.mark}
            lifecycle.keep_used(key, **how, by=self.person, within=self.grant())
        return Response(record_uses(found) | {"key": self.facts(key)})

    @action(detail=True, methods=["post"])
    def undo_narrowing(self, request: Request, **kwargs: Any) -> Response:
        key = self.get_object()
        self.body(NoBody)
        self.require_recent_login()
        lifecycle.undo(key, by=self.person, within=self.grant())
        return self.answer(key)

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
        if self.person is None or not get_policy().may_approve(self.person, key):
            # Return 403 only to callers who may see the key. Others get 404.
            self.check_sees()
            self.get_object()
            raise NotAnApprover
        return key

    @action(detail=False, methods=["get"])
    def audit(self, request: Request, **kwargs: Any) -> Response:
        """List the events of the owner's keys, newest first."""
        parameters = AuditParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        asked = parameters.validated_data
        events = self.listed(self.events())
        if (key := asked.get("key")) is not None:
            events = events.filter(public_id=key)
        if (event := asked.get("event")) is not None:
            events = events.filter(event=event)
        page = self.paginate_queryset(keys_first(events))
        return self.get_paginated_response([audit.record(each) for each in page or ()])

    def events(self) -> QuerySet[Any]:
        """Return the events that the caller may see."""
        raise NotImplementedError

    def reason(self) -> str:
        """Return the ``reason`` from the query or the body.

        The query is accepted because some clients and proxies drop the body of a DELETE.
        """
        query = self.request.query_params.dict()
        body = self.request.data
        data = {**query, **body} if isinstance(body, dict) else body
        return str(self.body(ReasonBody, data).get("reason", ""))

    def resolve(self, asked: dict[str, Any], key: AnyKey | None = None) -> dict[str, Any]:
        """Replace the project slugs in ``asked`` by projects.

        Raise ``LifecycleError`` if a project does not exist or the caller has no access to it.
        ``key`` keeps the projects that it already has.
        """
        slugs = asked.get("projects")
        if slugs is None:
            return asked
        reached = self.grant().projects.filter(**{f"{slug_field()}__in": slugs})
        found = {slug_of(project): project for project in reached}
        if key is not None:
            found |= {slug_of(project): project for project in key.reach() or ()}
        if lacking := sorted(set(slugs) - set(found)):
            names = {"projects": ", ".join(lacking)}
            if self.access is None:
                message = _("You are not a member of the project %(projects)s.") % names
                raise LifecycleError("unknown_project", message, "projects")
            message = _("Your credential has no access to the project %(projects)s.") % names
            raise LifecycleError("project_not_grantable", message, "projects")
        return asked | {"projects": [found[slug] for slug in slugs]}


def _one(key: AnyKey) -> dict[str, Any]:
    return record(key) | ended.record(key) | {"awaits_approval_in": awaits_approval_in(key)}


def _after(key: AnyKey, asked: dict[str, Any]) -> Extent:
    """Return the extent that ``key`` would have after the edit ``asked``."""
    had = Extent.of(key)
    projects = asked.get("projects", had.projects)
    return replace(
        had,
        scope=scopes.join(asked["scopes"]) if "scopes" in asked else had.scope,
        projects=None if projects is None else frozenset(projects),
        expires_at=asked.get("expires_at", had.expires_at),
        trust=rules.clean(asked["trust"]) if asked.get("trust") else had.trust,
    ).restricted(asked)


def _overlap(seconds: int | None) -> timedelta | None:
    if seconds is None:
        return None
    # A timedelta overflows on huge numbers. ``lifecycle`` refuses the bounds on both sides.
    bound = int(lifecycle.MAX_OVERLAP.total_seconds()) + 1
    return timedelta(seconds=max(-1, min(seconds, bound)))
