"""List the credentials that reach a project, and deny or allow one of them there."""

from typing import Any

from django.contrib.auth import get_user_model
from django.utils.translation import gettext_lazy as _
from rest_framework.decorators import action
from rest_framework.exceptions import NotFound, PermissionDenied
from rest_framework.request import Request
from rest_framework.response import Response

from .. import grants, reach
from ..models import ProjectKey
from ..policy import get_policy
from ..reach import sources
from ..reach.entries import Entry, record
from . import projects
from .access_serializers import AccessParameters
from .exceptions import InvalidCursor, UserRequired
from .key_views import KeysView
from .serializers import NoBody, ReasonBody


class NotADenier(PermissionDenied):
    default_code = "may_not_deny"
    default_detail = _("Your role in this project does not allow you to decide about access.")


class ProjectAccessViewSet(KeysView):
    """The credentials that reach a project.

    The policy decides who sees all of them. Other members see their own credentials.
    """

    model = ProjectKey

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        super().initial(request, *args, **kwargs)
        self.project = projects.find(kwargs["slug"], self.access, is_write=self.is_write)
        if self.access is None and not get_policy().may_see_keys(self.person, self.project):
            raise NotFound
        if not self.is_write:
            return
        if self.person is None:
            raise UserRequired
        if not get_policy().may_deny(self.person, self.project):
            raise NotADenier

    def list(self, request: Request, **kwargs: Any) -> Response:
        parameters = AccessParameters(data=request.query_params.dict())
        parameters.is_valid(raise_exception=True)
        asked = dict(parameters.validated_data)
        size, cursor = asked.pop("page_size", 50), asked.pop("cursor", "0")
        if not (cursor.isascii() and cursor.isdigit() and len(cursor) < 10):
            raise InvalidCursor
        found, start = reach.listed(self.project, members=self.seen(), **asked), int(cursor)
        page = found[start : start + size]
        sources.fill(self.project, page)
        after, before = start + size, max(start - size, 0)
        return Response(
            {
                "next": self.link(after) if after < len(found) else None,
                "previous": self.link(before) if start else None,
                "results": [record(each) for each in page],
            }
        )

    def seen(self) -> Any:
        """Return the members whose credentials the caller sees; ``None`` for all, and the keys."""
        person = self.person
        if person is None or get_policy().may_see_access(person, self.project):
            return None
        return get_user_model()._default_manager.filter(pk=person.pk)

    def link(self, cursor: int) -> str:
        query = self.request.query_params.copy()
        query["cursor"] = str(cursor)
        return f"{self.request.build_absolute_uri(self.request.path)}?{query.urlencode()}"

    @action(detail=True, methods=["post"])
    def deny(self, request: Request, **kwargs: Any) -> Response:
        entry, asked = self.entry(), self.body(ReasonBody)
        reason = str(asked.get("reason", ""))
        reach.deny(self.project, entry, reason=reason, by=self.person, using=self.access)
        return self.answer(entry)

    @action(detail=True, methods=["post"])
    def allow(self, request: Request, **kwargs: Any) -> Response:
        entry = self.entry()
        self.body(NoBody)
        self.require_recent_login()
        within = None
        if self.access is not None:
            within = grants.for_project(self.project, using=self.access)
        reach.allow(self.project, entry, by=self.person, within=within)
        return self.answer(entry)

    def entry(self) -> Entry:
        if (entry := reach.find(self.project, self.kwargs["id"])) is None:
            raise NotFound
        return entry

    def answer(self, entry: Entry) -> Response:
        now = reach.find(self.project, entry.id) or entry
        sources.fill(self.project, [now])
        return Response(record(now))
