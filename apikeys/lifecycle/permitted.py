"""Check what the caller may grant to a key and what the policy allows its owner."""

from datetime import datetime
from typing import Any

from django.utils import timezone
from django.utils.translation import gettext as _

from .. import moments, restrictions, scopes
from ..conf import app_settings, slug_of
from ..errors import LifecycleError
from ..grants import NOTHING, Extent, Grant
from ..models import AnyKey, live
from ..policy import get_policy
from . import locking


def check_kind(model: Any) -> None:
    """Raise ``LifecycleError`` (``project_keys_disabled``) if the site has no such keys."""
    if model.OWNER == "project" and not app_settings.PROJECT_KEYS:
        message = _("This site does not use project keys. Create a personal access token.")
        raise LifecycleError("project_keys_disabled", message, "project")


def to_approve(owner: Any, scope: str) -> list[str]:
    """Return the scopes that need approval, including implied scopes."""
    policy = get_policy()
    return sorted(name for name in scopes.expand(scope) if policy.needs_approval(owner, name))


def longest_expiry(owner: Any, within: Grant | None) -> datetime | None:
    """Return the latest expiry allowed for a new key of ``owner``, or ``None`` for no limit.

    Both the policy and the credential that creates the key limit it.
    """
    latest = within.latest_expiry if within else None
    longest = get_policy().longest_lifetime(owner)
    bounds = [latest, None if longest is None else timezone.now() + longest]
    return min((bound for bound in bounds if bound is not None), default=None)


def check_within(grant: Grant | None, has: Extent, had: Extent = NOTHING) -> None:
    """Check that ``grant`` covers everything in ``has`` that is not in ``had``."""
    if grant is None:
        return
    if has.trusts_beyond(had):
        had = NOTHING  # a person who decides which workload uses a key gets all of it
    if grant.using is not None and has.wider(had):
        had = NOTHING
        if grant.using.is_for_some_resources:
            message = _(
                "Your access token is limited to certain resources, so it cannot create or "
                "extend a key."
            )
            raise LifecycleError("resource_not_grantable", message)
    if lacking := sorted(set(has.scopes_beyond(had)) - grant.scopes):
        message = _("You cannot grant the scope %(scopes)s because you do not have it here.") % {
            "scopes": ", ".join(lacking)
        }
        raise LifecycleError("scope_not_grantable", message, "scopes")
    projects = has.projects_beyond(had)
    if projects is None:
        if not grant.all_projects:
            message = _(
                "Your credential is limited to certain projects. Select from those projects."
            )
            raise LifecycleError("project_not_grantable", message, "projects")
    elif projects:
        reached = set(grant.projects.filter(pk__in=[p.pk for p in projects]))
        if lacking := sorted(slug_of(p) for p in projects - reached):
            message = _(
                "You cannot grant access to the project %(projects)s because you have no "
                "access to it."
            ) % {"projects": ", ".join(lacking)}
            raise LifecycleError("project_not_grantable", message, "projects")
    latest = grant.latest_expiry
    outlives = latest is not None and (has.expires_at is None or has.expires_at > latest)
    if outlives and has.lives_beyond(had):
        message = _("The key must not expire later than your credential, which expires at %(at)s.")
        at = {"at": moments.iso(latest) if latest else ""}
        raise LifecycleError("outlives_credential", message % at, "expires_at")
    if grant.using is not None and had is NOTHING:
        for restriction, bound in has.beyond(restrictions.bounds(grant.using)):
            raise restriction.not_grantable(bound)


def check_reach(grant: Grant | None, key: AnyKey, has: Extent, had: Extent = NOTHING) -> None:
    """Check that a credential reaches every project of a ``key`` that it extends.

    ``check_within`` compares selected projects. This is about all projects of a user: a
    credential that is denied in one of them may not give another token more rights there.
    """
    using = grant.using if grant is not None else None
    if using is None or using.user is None or has.projects is not None:
        return
    if using.revoked_with == key.public_id or not has.wider(had):
        return
    reached = set(using.projects().values_list("pk", flat=True))
    if not reached.issuperset(get_policy().projects(using.user).values_list("pk", flat=True)):
        message = _(
            "Your credential is denied in a project that this token reaches. Use another one."
        )
        raise LifecycleError("project_not_grantable", message, "projects")


def check_approval(key: AnyKey, has: Extent, had: Extent) -> None:
    if not has.wider(had):
        return
    is_same = has.projects_beyond(had) == frozenset() and not has.trusts_beyond(had)
    added = has.scopes_beyond(had) if is_same else has.scope
    new = to_approve(key.owner, " ".join(added) if isinstance(added, list) else added)
    if key.is_pending or new:
        message = _(
            "You cannot add permissions that need approval to an existing key, and cannot extend "
            "a key that waits for approval. Remove what you added, or create a new key and have "
            "it approved."
        )
        raise LifecycleError("approval_required", message, "scopes")


def check_number(key: AnyKey) -> None:
    owner = key.owner
    if (most := get_policy().most_live_keys(owner)) is None:
        return
    locking.hold(owner)  # so that two concurrent requests do not both pass the limit
    of_owner = {key.OWNER: owner}
    alike = type(key)._default_manager.filter(live(), rotated_at=None, **of_owner)
    if alike.order_by()[:most].count() >= most:  # count no further than the limit
        message = _(
            "The limit of %(most)d keys is reached. Paused and pending keys count. Revoke one "
            "first."
        )
        raise LifecycleError("too_many_keys", message % {"most": most})
