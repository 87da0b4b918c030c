"""Read the tables of other packages while these still create keys (``LIVE``)."""

import logging
from functools import cache
from typing import Any, Final, NamedTuple

from django.core.signals import setting_changed
from django.db import Error, connections, router
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import lifecycle
from ..conf import slug_of
from ..errors import LifecycleError
from ..legacy import live, options, texts
from ..models import KEY_MODELS, LegacyKey
from ..models.projects import by_slug
from .importer import IMPORTED, THERE, Importer
from .sources import SOURCES, Candidate, Shape, Source

logger = logging.getLogger("apikeys")

_CHUNK: Final = 500


@cache
def source_of(scheme: str) -> Source:
    """Return the table of a live scheme.

    Raise ``LifecycleError`` if it has another shape, and ``LookupError`` if it is not live.
    """
    given = options.live_of(scheme)
    if given is None:
        raise LookupError(f"LEGACY has no LIVE for {scheme!r}.")
    return SOURCES[scheme](Shape(given.model, given.fields, given.owner))


@sensitive_variables("text")
def find(scheme: str, text: str) -> Candidate | None:
    """Return the key ``text`` in the table of a live scheme, or ``None``. One query."""
    return source_of(scheme).find(text)


@sensitive_variables("candidate")
def take_in(scheme: str, candidate: Candidate) -> bool:
    """Import a key at its first use. Return whether it is imported now."""
    given = options.live_of(scheme)
    if given is None:
        return False
    projects = by_slug(given.projects)
    missing = [slug for slug in given.projects if slug not in projects]
    if missing:
        logger.error("LEGACY names a project that does not exist: %s.", ", ".join(missing))
        return False
    importer = Importer(scheme, scopes=given.scopes, projects=[*projects.values()])
    (outcome,) = importer.run([candidate])
    if outcome.outcome not in (IMPORTED, THERE):
        logger.warning("Could not import the %s: %s", outcome.where, outcome.detail)
    return outcome.outcome in (IMPORTED, THERE)


def has_owner(scheme: str, candidate: Candidate, holder: Any) -> bool:
    """Return whether the row of a key still has the owner of ``holder``, a key or an ``Access``."""
    return _is_of(_owner_of(candidate), scheme, holder)


class _Owner(NamedTuple):
    user: Any = None
    slug: str | None = None


def _owner_of(candidate: Candidate) -> _Owner:
    if candidate.user is not None:
        return _Owner(user=candidate.user.pk)
    project = candidate.project
    return _Owner(slug=project if project is None or isinstance(project, str) else slug_of(project))


def _is_of(owner: _Owner, scheme: str, holder: Any) -> bool:
    user, project = getattr(holder, "user", None), getattr(holder, "project", None)
    if owner.user is not None or project is None:
        return user is not None and user.pk == owner.user
    if owner.slug is not None:
        return bool(slug_of(project) == owner.slug)
    # The table has no owners, or no owner of this key: it went to the project of the site.
    given = options.live_of(scheme)
    if not source_of(scheme).owner or given is None or not given.projects:
        return True
    return slug_of(project) in given.projects


def end(scheme: str, kind: str, pk: Any, moved: bool) -> None:
    """Revoke a key whose row in the other package is gone or has another owner (``moved``).

    The request is refused anyway.
    """
    model = KEY_MODELS[kind]
    alias = router.db_for_write(model)
    key = model._default_manager.using(alias).filter(pk=pk, revoked_at=None).first()
    if key is None:
        return
    try:
        lifecycle.revoke(key, reason=_reason(scheme, moved))
    except Error:  # such as a read-only database
        if connections[alias].needs_rollback:
            raise
        logger.warning("Could not revoke %s.", key.public_id, exc_info=True)


def _reason(scheme: str, moved: bool) -> str:
    reason = _("The owner changed in %(name)s.") if moved else _("Deleted in %(name)s.")
    return reason % {"name": scheme}


def sweep(scheme: str) -> int:
    """Revoke the imported keys whose rows are gone or have another owner; return how many.

    Leave out weak texts: only the next request with one can tell.
    """
    present: dict[str | None, _Owner] = {}
    for candidate in source_of(scheme).read():
        if candidate.skip is not None and candidate.skip.reason == "revoked":
            continue
        present[_selector(scheme, candidate)] = _owner_of(candidate)
    rows = LegacyKey.objects.filter(scheme=scheme, salt="").order_by("pk")
    gone, last = 0, 0
    while page := list(
        rows.filter(pk__gt=last).select_related("token__user", "key__project")[:_CHUNK]
    ):
        last = page[-1].pk
        reasons = {}
        for row in page:
            if (key := row.token or row.key) is None:
                continue
            owner = present.get(row.source)
            if owner is None or not _is_of(owner, scheme, key):
                reasons[key] = _reason(scheme, moved=owner is not None)
        gone += len(lifecycle.revoke_all(reasons))
    return gone


@sensitive_variables("candidate")
def _selector(scheme: str, candidate: Candidate) -> str | None:
    if candidate.text:
        return texts.selector(candidate.text)
    stored = candidate.hash
    try:
        stored = texts.keyed(stored) if options.hook_of(scheme) else stored
        return texts.selector_of_hash(stored, candidate.prefix)
    except ValueError:
        return None


def problem(scheme: str) -> str:
    """Return what is wrong with the table of a live scheme; empty if it can be read."""
    try:
        source_of(scheme)
    except LifecycleError as error:
        return str(error)
    return ""


def _reload(*, setting: str, **kwargs: object) -> None:
    if setting in ("APIKEYS", "INSTALLED_APPS"):
        source_of.cache_clear()


setting_changed.connect(_reload, dispatch_uid="apikeys.importing.live")


def start() -> None:
    """Let ``apikeys.legacy`` read the tables. Called when Django is ready."""
    live.register(live.Follower(find, take_in, has_owner, end, problem))
