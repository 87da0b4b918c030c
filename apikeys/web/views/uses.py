"""The pages that narrow a key to what it used, and undo that."""

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.utils.translation import gettext as _

from ... import lifecycle
from ...errors import LifecycleError
from ...lifecycle import narrowing
from ...models import AnyKey
from ...templatetags.apikeys_pages import quoted
from ..owners import Tokens
from .pages import CONFLICTS, KeyPage
from .rows import is_editable, labelled


def uses_of(key: AnyKey, owner: Tokens) -> dict[str, Any]:
    """Return what the page of ``key`` says about the use of its permissions."""
    found = narrowing.uses(key)
    own = narrowing.own_uses(key) if key.replaces_id is not None else found.scopes
    may_edit = owner.may_manage and is_editable(key)
    undoable = narrowing.undoable(key) if may_edit else None
    last = key.last_used_at
    return {
        "uses": found,
        "used_without_scope": not found.is_used and last is not None and last >= found.since,
        "scopes_used": [
            {
                "name": name,
                "words": words,
                "use": found.scopes[name],
                "is_recent": name in found.recent,
                "own": own[name],
            }
            for name, words in labelled(key.scopes)
        ],
        "may_narrow": may_edit and found.is_narrowable,
        "undo_until": undoable.at + narrowing.UNDO_FOR if undoable else None,
    }


class KeepUsed(KeyPage):
    """Show what would stay and go, and remove what was not used."""

    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        return self.ask() if is_editable(self.key) else self.go(self.url)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        try:
            lifecycle.keep_used(
                self.key,
                shown=request.POST.get("shown", ""),
                by=self.user,
                within=self.owner.grant(),
            )
        except LifecycleError as error:
            if error.code in CONFLICTS:
                return self.conflict(error)
            return self.ask(422, error)
        done = _("Removed what %(name)s did not use. You can undo this for 7 days.")
        return self.go(self.url, done % {"name": quoted(self.key.name)})

    def ask(self, status: int = 200, error: LifecycleError | None = None) -> HttpResponse:
        found = lifecycle.uses(self.key)
        if not found.is_narrowable and error is None:
            return self.go(self.url)
        return self.page(
            "keep_used",
            status,
            error=error and self.worded(error),
            uses=found,
            stays=labelled(found.keep),
            goes=labelled(found.removed),
            added=set(found.added),
        )


class Undo(KeyPage):
    """Restore what was removed as unused."""

    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if lifecycle.undoable(self.key) is None:
            return self.go(self.url)
        if not self.is_recent:
            return self.ask_who()
        return self.ask()

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not self.is_recent:
            return self.ask_who()
        try:
            lifecycle.undo(self.key, by=self.user, within=self.owner.grant())
        except LifecycleError as error:
            if error.code in {*CONFLICTS, "nothing_to_undo"}:
                return self.conflict(error)
            return self.ask(422, error)
        done = _("Restored what was removed from %(name)s as unused.") % {
            "name": quoted(self.key.name)
        }
        return self.go(self.url, done)

    def ask(self, status: int = 200, error: LifecycleError | None = None) -> HttpResponse:
        event = lifecycle.undoable(self.key)
        if event is None:
            return self.go(self.url)
        change = event.changes.get("scopes", {})
        left = change.get("after", [])
        returns = [name for name in change.get("before", []) if name not in left]
        moved = event.changes.get("projects", {})
        before, after = moved.get("before") or [], moved.get("after") or []
        return self.page(
            "undo_narrowing",
            status,
            error=error and self.worded(error),
            returns=labelled(tuple(returns)),
            projects=[slug for slug in before if slug not in after],
            until=event.at + narrowing.UNDO_FOR,
        )
