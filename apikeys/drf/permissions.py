from collections.abc import Callable, Mapping
from typing import Any

from rest_framework.permissions import (
    AND,
    NOT,
    OR,
    BasePermission,
    BasePermissionMetaclass,
    OperandHolder,
    OperationHolderMixin,
    SingleOperandHolder,
)
from rest_framework.request import Request

from .. import refusals
from ..access import Access
from ..models import get_project_model
from .exceptions import InsufficientScope, RefusedException, refuse, scope_not_declared
from .scoping import register, required_scopes


class _Composable(OperationHolderMixin):
    """Composes so that a refusal does not end the others' say, and is told if they agree."""

    def __and__(self, other: Any) -> Any:
        return _pair(AND, self, other)

    def __rand__(self, other: Any) -> Any:
        return _pair(AND, other, self)

    def __or__(self, other: Any) -> Any:
        return _pair(_Or, self, other)

    def __ror__(self, other: Any) -> Any:
        return _pair(_Or, other, self)

    def __invert__(self) -> Any:
        return _Inverse(_Not, self)  # type: ignore[arg-type]


class _Pair(_Composable, OperandHolder):
    pass


def _pair(operator: Any, one: Any, other: Any) -> Any:
    return _Pair(operator, one, other)


class _Inverse(_Composable, SingleOperandHolder):
    pass


class _ComposableMeta(_Composable, BasePermissionMetaclass):
    pass


class _Or(OR):
    op1: Any
    op2: Any

    def has_permission(self, request: Request, view: Any) -> bool:
        return self._either(lambda op: op.has_permission(request, view))

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        return self._either(
            lambda op: (
                op.has_permission(request, view) and op.has_object_permission(request, view, obj)
            )
        )

    def _either(self, allows: Callable[[Any], bool]) -> bool:
        first: RefusedException | None = None
        for operand in (self.op1, self.op2):
            try:
                if allows(operand):
                    return True
            except RefusedException as refused:
                first = first or refused
        if first is not None:
            raise first
        return False


class _Not(NOT):
    op1: Any

    def has_permission(self, request: Request, view: Any) -> bool:
        try:
            return not self.op1.has_permission(request, view)
        except RefusedException:
            return True

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        try:
            return not self.op1.has_object_permission(request, view, obj)
        except RefusedException:
            return True


class AnyScope(BasePermission, metaclass=_ComposableMeta):
    """Any valid credential will do, whatever its scopes; so will a logged-in user.

    For the views that tell a caller who it is, and few others: say it where it is meant.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not getattr(request.user, "is_authenticated", False):
            raise refuse(refusals.NOT_AUTHENTICATED)
        return True


class HasScope(AnyScope):
    """The credential must have the view's ``required_scopes``.

    A list means all of these, for every request; a mapping goes by ViewSet action, HTTP
    method, or ``read`` and ``write``. Users who are logged in by session pass: scopes
    bound credentials, not people.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        super().has_permission(request, view)
        if request.auth is None:
            return True
        required = self.get_required_scopes(request, view)
        if not required:
            raise scope_not_declared(request, view)
        # Another package's token passes if it can answer for scopes, like DOT's own.
        allows = getattr(request.auth, "allow_scopes", None)
        if allows is not None and allows(required):
            return True
        raise InsufficientScope(*required)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """The scopes must hold in the object's project, if it has one."""
        if not isinstance(request.auth, Access):
            return True
        model = get_project_model()
        project = obj if isinstance(obj, model) else getattr(obj, "project", None)
        required = self.get_required_scopes(request, view)
        if not isinstance(project, model) or request.auth.allows(*required, project=project):
            return True
        raise InsufficientScope(*required)

    def get_required_scopes(self, request: Request, view: Any) -> tuple[str, ...]:
        """Override to compute them; an empty answer refuses every credential."""
        # Not ``request.method``, which DRF's request looks for in itself first, in vain.
        method = request._request.method or ""
        return required_scopes(view, method, getattr(view, "action", None))


class HasBinding(HasScope):
    """``HasScope``, and what the URL names has to be bound to the caller.

    ``bindings`` of the view says which URL keywords, and as what: ``["subscriber_id"]``, or
    ``{"pk": "subscriber_id"}``; one that says nothing lets nobody in. People who are logged
    in by session are held to what is bound to them and to their projects.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        from ..gateway.bindings import holds, user_holds

        super().has_permission(request, view)
        declared = getattr(view, "bindings", None)
        if not declared or isinstance(declared, str):
            raise scope_not_declared(request, view)
        if not isinstance(declared, Mapping):
            declared = {keyword: keyword for keyword in declared}
        required = self.get_required_scopes(request, view)
        for keyword, kind in declared.items():
            identifier = str(view.kwargs[keyword])
            if isinstance(request.auth, Access):
                bound = holds(request.auth, kind, identifier, required)
            else:
                bound = request.auth is None and user_holds(request.user, kind, identifier)
            if not bound:
                raise refuse(refusals.NOT_BOUND, kind=kind)
        return True


register(AnyScope, lambda permission, request, view: True)
register(HasScope, lambda permission, request, view: permission.get_required_scopes(request, view))
