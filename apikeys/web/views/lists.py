"""The lists of an owner's keys, of their audit events, and of the user's projects."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from types import SimpleNamespace
from typing import Any, Final

from django.apps import apps
from django.db.models import Count, Q, QuerySet
from django.db.models.functions import Lower
from django.http import Http404, HttpRequest, HttpResponse, StreamingHttpResponse
from django.utils.html import format_html
from django.utils.translation import gettext as _

from ... import audit, moments, token
from ...conf import slug_field
from ...databases.lists import for_list
from ...keys.event_queries import Asked
from ...keys.queries import FEW
from ...models import AnyKey, AuditEvent, Membership, ProjectKey, State, live
from ...policy import get_policy, has_field
from ...reach.listing import noting_rules
from .. import activity, by_id, event_pages
from ..banners import expired_lately, expiring_soon, rejected_lately
from ..filters import ActivityFilter, KeyFilter, number_of
from ..pagination import page_of
from ..project_names import names_of
from .pages import OwnerPage, SettingsPage
from .rows import brief, rows_of

_MOST_REPLACED: Final = 100  # predecessors to list the events of


class Finding(SettingsPage):
    """A list whose search finds an ID among all keys that the user may see."""

    def elsewhere(self, term: str, listed: QuerySet[Any] | None = None) -> list[dict[str, Any]]:
        return [brief(self.user, key) for key in by_id.elsewhere(self.user, term, listed)]


class KeyList(Finding, OwnerPage):
    """Search, filter and sort the keys, all by the query string."""

    size = 20

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if self.holds_secret():
            return self.go_without_secret()
        keys = for_list(self.owner.keys(), request)
        if self.owner.project is None:
            keys = noting_rules(keys.prefetch_related("projects"), self.user)
        listed = KeyFilter(request.GET, self.owner)
        found = listed.rows(keys)
        by, descending = listed.order()
        order = "-pk" if descending else "pk"
        page = page_of(found, request.GET.dict(), anchors=keys, order=order, by=by, size=self.size)
        number = number_of(found)
        rows = rows_of(page.rows, self.owner)
        return self.page(
            "list",
            page=page,
            rows=rows,
            filter=listed,
            elsewhere=self.elsewhere(listed.value("q"), found),
            number=min(number, FEW),
            is_cut=number > FEW,
            kept=listed.link().removeprefix("?"),
            ended=listed.value("state") == "ended",
            soon=self.soon(listed),
            expired=None if listed.value("state") else expired_lately(self.owner),
            rejected=None if listed.value("state") else rejected_lately(self.owner),
            selects=self.owner.may_manage and any(row["is_revocable"] for row in rows),
            pauses=any(row["state"] == State.LIVE for row in rows),
            resumes=any(row["may_resume"] for row in rows),
        )

    def soon(self, listed: KeyFilter) -> dict[str, Any] | None:
        """Return what the banner says of keys that expire soon, unless the list shows them."""
        if listed.value("expires") == "7":
            return None
        first, number = expiring_soon(self.owner)
        keys = [
            {"key": key, "url": self.owner.url("key", key), "rotate": self.owner.url("rotate", key)}
            for key in first[:3]
        ]
        return {"keys": keys, "number": number} if keys else None


class Activity(Finding, OwnerPage):
    """List the audit events of the keys. Only users who may manage the keys see them."""

    manages = True
    size = 20

    def get(self, request: HttpRequest, **kwargs: Any) -> Any:
        if self.holds_secret(but=("after", "before")):
            return self.go_without_secret()
        of_key = token.without_prefix(request.GET.get("key", ""))
        if of_key and not token.is_id(of_key):
            raise Http404
        of_clients = self.owner.project is None and apps.is_installed("apikeys.oauth")
        listed = ActivityFilter(request.GET, of_clients=of_clients)
        key = self.owner.keys().filter(public_id=of_key).first() if of_key else None
        replaced = tuple(self.replaced(key)) if request.GET.get("replaced") == "1" else ()
        asked = listed.asked(of_key, replaced)
        events = for_list(AuditEvent.objects.all(), request)
        if name := request.GET.get("format"):
            found = events.with_clients_of(self.owner.owner)
            return self.export(name, found.none() if asked is None else asked.all(found))
        parts = events.parts_with_clients_of(self.owner.owner) if asked is not None else []
        page = event_pages.page_of(parts, asked or Asked(), request.GET.dict(), size=self.size)
        is_empty = not page.rows and not page.is_partial and asked is not None
        kept = request.GET.copy()
        for cursor in ("after", "before"):
            kept.pop(cursor, None)
        return self.page(
            "activity",
            page=page,
            days=activity.by_day(page.rows, self.url_of, names_of(page.rows, self.owner)),
            filter=listed,
            of_key=of_key,
            last=self.last(parts, asked, listed) if is_empty and asked else None,
            elsewhere=self.elsewhere(listed.value("q")) if is_empty else [],
            who=self.who(of_key, key, page.rows),
            use_url=f"{self.owner.url('key', key)}#ak-use" if key and is_empty else "",
            replaced=replaced,
            has_replaced=key is not None and key.replaces_id is not None,
            kept=f"{kept.urlencode()}&" if kept else "",
            formats=audit.FORMATS,
            most=event_pages.MOST,
        )

    def last(
        self, parts: Sequence[QuerySet[Any]], asked: Asked, listed: ActivityFilter
    ) -> dict[str, Any] | None:
        """Return the last event at any time that matches the other filters, or any filters.

        Its URL lists the events of its day.
        """
        of_key = Asked(asked.key if self.request.GET.get("key") else "", replaced=asked.replaced)
        others: dict[str, str] = dict.fromkeys(("q", *listed.NARROWING), "")
        is_narrow = any(listed.value(name) for name in ("q", "event", "by"))
        at_any_time: list[tuple[bool, Asked, dict[str, str]]] = [(False, of_key, others)]
        if is_narrow and asked.times:
            at_any_time.insert(0, (True, replace(asked, times=Q()), {}))
        for is_match, wanted, changes in at_any_time:
            for event in event_pages.page_of(parts, wanted, {}, size=1).rows:
                day = str(moments.local(event.at).date())
                url = listed.link(**changes | {"since": day, "until": day})
                return {"event": event, "url": url, "is_match": is_match}
        return None

    def replaced(self, key: AnyKey | None) -> Iterator[str]:
        """Yield the IDs of the keys that ``key`` replaced, latest first."""
        if key is None or key.replaces is None:
            return
        yield key.replaces.public_id  # not a predecessor if it had ended before
        for each in key.replaces.predecessors(_MOST_REPLACED - 1):
            yield each.public_id

    def who(self, of_key: str, key: AnyKey | None, events: Sequence[AuditEvent]) -> str:
        """Return the name and the ID of the key whose events are listed, as HTML."""
        code = format_html("<code>{}</code>", of_key)
        if key is not None:
            url = self.owner.url("key", key)
            return format_html('<a href="{}"><strong>{}</strong></a> ({})', url, key.name, code)
        # The key may be deleted.
        name = next((event.name for event in events if event.public_id == of_key), "")
        return format_html("<strong>{}</strong> ({})", name, code) if name else code

    def url_of(self, public_id: str) -> str:
        return self.owner.url("key", SimpleNamespace(public_id=public_id))

    def export(self, name: str, events: QuerySet[Any]) -> Any:
        if name not in audit.FORMATS:
            message = _("Unknown format. Choose one of: %(names)s.")
            return self.refused(message % {"names": ", ".join(audit.FORMATS)}, 400)
        lines, media_type = audit.FORMATS[name]
        found = events.order_by("pk").iterator(chunk_size=500)
        response = StreamingHttpResponse(lines(found), content_type=media_type)
        response["Content-Disposition"] = f'attachment; filename="activity.{name}"'
        return response


class ProjectList(Finding):
    """List the projects whose keys the user may see."""

    section = "projects"

    def get(self, request: HttpRequest) -> HttpResponse:
        if self.hides_project_keys:
            raise Http404
        if self.holds_secret():
            return self.go_without_secret()
        projects = get_policy().projects(request.user)
        by = Lower("name") if has_field(projects.model, "name") else None
        term = request.GET.get("q", "").strip()[:100]
        if "\0" in term:
            projects = projects.none()
        elif term:
            found = Q(**{f"{slug_field()}__icontains": term})
            projects = projects.filter(found | Q(name__icontains=term) if by else found)
        page = page_of(
            projects, request.GET.dict(), order=slug_field(), by=by, name=slug_field(), size=25
        )
        rows, elsewhere = self.rows(page.rows), self.elsewhere(term)
        return self.page("projects", page=page, rows=rows, q=term, elsewhere=elsewhere)

    def rows(self, projects: list[Any]) -> list[dict[str, Any]]:
        """Return the projects with the user's role and the number of active keys. Two queries."""
        pks = [project.pk for project in projects]
        roles = {
            membership.project_id: membership.get_role_display()
            for membership in Membership.objects.filter(user=self.user, project__in=pks)
        }
        active = ProjectKey.objects.filter(live(), project__in=pks).order_by()
        numbers = dict(active.values_list("project").annotate(number=Count("pk")))
        return [
            {
                "project": project,
                "role": roles.get(project.pk, ""),
                "number": numbers.get(project.pk, 0),
            }
            for project in projects
        ]
