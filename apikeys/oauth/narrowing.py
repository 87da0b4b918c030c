"""Take a part of an application's access back, without revoking the rest."""

from collections.abc import Collection, Iterable
from typing import Any, NamedTuple

from django.db.models import QuerySet
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import scopes
from ..conf import slug_of
from ..databases import transactions
from ..databases.primary import reading_primary
from ..lifecycle import descendants
from ..models import AnyKey
from .models import Consent
from .signals import consent_narrowed


class Reach(NamedTuple):
    """The scopes and projects that consents allow together; ``None`` for all projects."""

    scope: str
    projects: dict[Any, Any] | None

    def as_json(self) -> dict[str, Any]:
        """Return the extent as plain values."""
        named = None if self.projects is None else sorted(map(slug_of, self.projects.values()))
        return {"scopes": list(scopes.split(self.scope)), "projects": named}

    def covers(self, key: AnyKey) -> bool:
        """Return whether ``key`` reaches no more than this."""
        if not scopes.expand(self.scope).issuperset(key.scope.split()):
            return False
        reached = key.reach()
        if self.projects is None or reached is None:
            return self.projects is None
        return all(project.pk in self.projects for project in reached)


@transactions.retried
@reading_primary()
def narrow(
    user: Any,
    application: Any,
    *,
    names: Iterable[str],
    projects: Collection[Any] | None,
    by: Any = None,
) -> dict[str, tuple[Any, Any]]:
    """Limit all consents of ``user`` to ``application``; return ``{field: (before, after)}``.

    ``names`` are the scopes to keep, and ``projects`` the projects; ``None`` keeps the projects
    as they are. Nothing is added: each consent keeps only the scopes and projects that are also
    in these. A consent that keeps nothing ends, with its tokens. Takes effect at the next request,
    for every token and refresh token. A key that the application created ends if it reaches more
    than the consents still allow.
    """
    kept = scopes.join(names)
    with transactions.atomic(Consent):
        seen: set[Any] = set()
        before: list[Reach] = []
        after: list[Reach] = []
        # The next round finds a consent that was created while this waited for the locks.
        while rows := list(_locked(user, application).exclude(pk__in=seen)):
            for consent in rows:
                seen.add(consent.pk)
                before.append(_reach(consent))
                if (left := _narrow(consent, kept, projects)) is not None:
                    after.append(left)
        had, has = _together(before), _together(after)
        changes = {
            field: (was, has.as_json()[field])
            for field, was in had.as_json().items()
            if was != has.as_json()[field]
        }
        if changes:
            descendants.end_from(
                [f"client:{application.pk}"],
                user=user,
                only=lambda key: not has.covers(key),
                reason=_("Created by an application whose access was narrowed."),
            )
            consent_narrowed.send(
                Consent, application=application, user=user, by=by, changes=changes
            )
    return changes


def _locked(user: Any, application: Any) -> QuerySet[Consent]:
    rows = Consent.objects.filter(user=user, application=application)
    return rows.order_by("pk").select_for_update()


def _reach(consent: Consent) -> Reach:
    projects = None if consent.all_projects else {each.pk: each for each in consent.projects.all()}
    return Reach(consent.scope, projects)


def _narrow(consent: Consent, kept: str, projects: Collection[Any] | None) -> Reach | None:
    """Narrow one consent, or delete it if nothing is left. Return what is left."""
    had = _reach(consent)
    scope, left = scopes.narrow(had.scope, kept), had.projects
    if projects is not None:
        chosen = {each.pk: each for each in projects}
        left = {
            pk: each for pk, each in chosen.items() if had.projects is None or pk in had.projects
        }
    if not scope or left == {}:
        consent.delete()  # ends its tokens
        return None
    has = Reach(scope, left)
    if has != had:
        consent.scope, consent.all_projects = scope, left is None
        consent.narrowed_at = timezone.now()
        consent.save(update_fields=["scope", "all_projects", "narrowed_at"])
        consent.projects.set((left or {}).values())
    return has


def _together(found: Iterable[Reach]) -> Reach:
    names: set[str] = set()
    projects: dict[Any, Any] | None = {}
    for each in found:
        names.update(each.scope.split())
        projects = None if projects is None or each.projects is None else projects | each.projects
    return Reach(scopes.join(names), projects)
