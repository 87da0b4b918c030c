from typing import Any

from rest_framework.permissions import BasePermission, BasePermissionMetaclass
from rest_framework.request import Request

from .. import refusals
from ..access import Access
from ..models import get_project_model
from .exceptions import InsufficientScope, refuse, scope_not_declared
from .scoping import register, required_scopes


class _ComposableMeta(BasePermissionMetaclass):
    """In a composition a refusal must be ``False``: an exception would end it there."""

    def _quiet(cls) -> Any:
        return type(cls)(cls.__name__, (cls,), {"raises": False, "__module__": cls.__module__})

    def __and__(cls, other: Any) -> Any:
        return BasePermissionMetaclass.__and__(cls._quiet(), other)

    def __or__(cls, other: Any) -> Any:
        return BasePermissionMetaclass.__or__(cls._quiet(), other)

    def __rand__(cls, other: Any) -> Any:
        return BasePermissionMetaclass.__rand__(cls._quiet(), other)

    def __ror__(cls, other: Any) -> Any:
        return BasePermissionMetaclass.__ror__(cls._quiet(), other)

    def __invert__(cls) -> Any:
        return BasePermissionMetaclass.__invert__(cls._quiet())


class AnyScope(BasePermission, metaclass=_ComposableMeta):
    """Any valid credential will do, whatever its scopes; so will a logged-in user.

    For the views that tell a caller who it is, and few others: say it where it is meant.
    """

    #: Whether to answer with the exact refusal, or with ``False`` (in a composition).
    raises = True

    def has_permission(self, request: Request, view: Any) -> bool:
        if not getattr(request.user, "is_authenticated", False):
            return self._refused(refuse(refusals.NOT_AUTHENTICATED))
        return True

    def _refused(self, exception: Exception) -> bool:
        if self.raises:
            raise exception
        return False


class HasScope(AnyScope):
    """The credential must have the view's ``required_scopes``.

    A list means all of these, for every request; a mapping goes by ViewSet action, HTTP
    method, or ``read`` and ``write``. Users who are logged in by session pass: scopes
    bound credentials, not people.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        if request.auth is None:
            return True
        required = self.get_required_scopes(request, view)
        if not required:
            return self._refused(scope_not_declared(request, view))
        # Another package's token passes if it can answer for scopes, like DOT's own.
        allows = getattr(request.auth, "allow_scopes", None)
        if allows is not None and allows(required):
            return True
        return self._refused(InsufficientScope(*required))

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """The scopes must hold in the object's project, if it has one."""
        if not isinstance(request.auth, Access):
            return True
        model = get_project_model()
        project = obj if isinstance(obj, model) else getattr(obj, "project", None)
        required = self.get_required_scopes(request, view)
        if not isinstance(project, model) or request.auth.allows(*required, project=project):
            return True
        return self._refused(InsufficientScope(*required))

    def get_required_scopes(self, request: Request, view: Any) -> tuple[str, ...]:
        """Override to compute them; an empty answer refuses every credential."""
        return required_scopes(view, request.method or "", getattr(view, "action", None))


register(AnyScope, lambda permission, request, view: True)
register(HasScope, HasScope.get_required_scopes)
