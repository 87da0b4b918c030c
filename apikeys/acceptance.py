"""Decide which kinds of credentials a view accepts, and who ``request.user`` is.

Every adapter asks here, so that all accept and refuse the same way.
"""

import logging
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any, Final

from django.db.models.fields.related_descriptors import (
    ForwardManyToOneDescriptor,
    ReverseOneToOneDescriptor,
)
from django.utils.text import format_lazy

from . import refusals
from .access import (
    EXTERNAL,
    OAUTH,
    PERSONAL_ACCESS_TOKEN,
    PROJECT_KEY,
    Access,
    ProjectUser,
    ServiceUser,
    UserRequired,
)
from .conf import CREDENTIAL_KINDS, app_settings
from .databases import unavailable
from .models.owners import is_active
from .refusals import Refusal, Refused

logger = logging.getLogger("apikeys")

_LOG: Final = (
    "%s needs a user, but the %s %s has none. Set APIKEYS['PROJECT_USER'] to a relation on the "
    "project, leave %s out of the `accepts` of the view, or set APIKEYS['PROJECT_KEYS'] to False."
)


def check(access: Access, accepts: Any = None) -> None:
    """Raise ``Refused`` unless the view accepts the kind of ``access``.

    ``accepts`` lists the kinds that the view accepts. ``None`` means ``ACCEPTS`` of the site. An
    OAuth token that was issued for a key can do what the key can, so the view must accept both.
    """
    if accepts is None and app_settings.ACCEPTS is None:
        return  # every kind that the site uses
    kinds = kinds_of(accepts)
    if not {access.kind, _behind(access)} <= set(kinds):
        raise Refused(_not_accepted(kinds))


def _behind(access: Access) -> str:
    """Return the kind of the credential that an OAuth token was issued for."""
    if access.project is not None:
        return PROJECT_KEY
    return PERSONAL_ACCESS_TOKEN if access.kind == OAUTH and access.key else access.kind


def kinds_of(accepts: Any = None) -> tuple[str, ...]:
    """Return the kinds that a view with this ``accepts`` accepts.

    ``None`` means ``ACCEPTS`` of the site. Unknown names accept nothing.
    """
    if accepts is None:
        accepts = app_settings.ACCEPTS
    names = CREDENTIAL_KINDS if accepts is None else _names(accepts)
    return tuple(kind for kind in used_kinds() if kind in names)


def used_kinds() -> tuple[str, ...]:
    """Return the kinds of credentials that the site uses at all."""
    turned_off = _not_installed if app_settings.PROJECT_KEYS else {PROJECT_KEY, *_not_installed}
    return tuple(kind for kind in CREDENTIAL_KINDS if kind not in turned_off)


#: Kinds of optional apps that are not installed.
_not_installed: set[str] = {EXTERNAL}


def offer(kind: str) -> None:
    """Count ``kind`` among the kinds that the site uses. Called by the app that verifies it."""
    _not_installed.discard(kind)


def unknown(accepts: Any) -> list[str]:
    """Return the names in ``accepts`` that are not kinds."""
    return [str(name) for name in _names(accepts) if name not in CREDENTIAL_KINDS]


def check_names(accepts: Any) -> None:
    """Raise ``TypeError`` if ``accepts`` has a name that is not a kind."""
    if accepts is not None and (names := unknown(accepts)):
        kinds = ", ".join(CREDENTIAL_KINDS)
        raise TypeError(f"accepts has {', '.join(names)}. Use {kinds}.")


def _names(accepts: Any) -> tuple[Any, ...]:
    if isinstance(accepts, str):
        return tuple(accepts.split())
    if isinstance(accepts, Iterable) and not isinstance(accepts, Mapping):
        return tuple(accepts)
    return ()


@lru_cache(maxsize=64)
def _not_accepted(kinds: tuple[str, ...]) -> Refusal:
    names = ", ".join(kinds) or "-"
    base = refusals.CREDENTIAL_NOT_ACCEPTED
    message = format_lazy(refusals.ACCEPTED_KINDS, kinds=names)
    return Refusal(base.code, message, base.status, base.error)


def check_project_keys() -> None:
    """Raise ``Refused`` if the site does not use project keys (``PROJECT_KEYS``)."""
    if not app_settings.PROJECT_KEYS:
        raise Refused(_not_accepted(used_kinds()))


def principal_of(project: Any) -> Any:
    """Return ``request.user`` for a credential of ``project``.

    It is the user that ``PROJECT_USER`` names, or else a ``ProjectUser``. Raises ``Refused``
    without that user (``user_required``), or if the user is deactivated (``inactive_user``).
    """
    relation = app_settings.PROJECT_USER
    if relation is None:
        return ProjectUser(project)
    user = getattr(project, relation, None)
    if user is None:
        logger.warning(
            "%s %s was refused, because its %s is empty (APIKEYS['PROJECT_USER']).",
            project._meta.label,
            project.pk,
            relation,
        )
        raise Refused(refusals.USER_REQUIRED)
    if not is_active(user):
        raise Refused(refusals.INACTIVE_USER)
    return user


def in_view(error: Exception, view: str, access: Any) -> Refusal | None:
    """Return the refusal for an exception of a view that accepted a credential.

    The database may be unavailable, or the view may need a user where the credential has none.
    Returns ``None`` for every other exception. The writes of the request are rolled back.
    """
    if (found := unavailable.in_view(error)) is not None:
        return found
    if not needs_user(error):
        return None
    kind = access.kind if access.project is None else PROJECT_KEY
    logger.warning(_LOG, view, access.kind.replace("_", " "), access.credential_id, kind)
    unavailable.roll_back()
    return refusals.USER_REQUIRED


#: The functions that refuse to assign an object of another class to a relation.
_ASSIGNING: Final = {
    ForwardManyToOneDescriptor.__set__.__code__,
    ReverseOneToOneDescriptor.__set__.__code__,
}


def needs_user(error: BaseException) -> bool:
    """Return whether ``error`` says that a ``ProjectUser`` was used in place of a user.

    A view may use it as a value in a query, assign it to a relation, or read an attribute that
    only a row of the user model has.
    """
    if isinstance(error, UserRequired):
        return True
    if isinstance(error, AttributeError):
        return isinstance(error.obj, ServiceUser)
    if isinstance(error, ValueError):
        return _is_assignment(error)
    cls = type(error)
    return cls.__name__ == "NotUserNorGroup" and cls.__module__.startswith("guardian.")


def _is_assignment(error: ValueError) -> bool:
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    if trace is None or trace.tb_frame.f_code not in _ASSIGNING:
        return False
    return isinstance(trace.tb_frame.f_locals.get("value"), ServiceUser)


def function_name(view: Any) -> str:
    """Return the dotted name of a function or class."""
    view = getattr(view, "func", view)
    return f"{view.__module__}.{getattr(view, '__qualname__', type(view).__qualname__)}"
