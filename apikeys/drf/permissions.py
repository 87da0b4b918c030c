from collections.abc import Callable, Iterable, Mapping
from functools import cache
from typing import Any

from rest_framework.permissions import (
    AND,
    NOT,
    OR,
    SAFE_METHODS,
    BasePermission,
    BasePermissionMetaclass,
    OperandHolder,
    OperationHolderMixin,
    SingleOperandHolder,
)
from rest_framework.request import Request

from .. import refusals
from ..access import Access
from ..http.header import not_authenticated
from ..models import get_project_model
from ..usage import denied
from . import granted
from .exceptions import (
    InsufficientScope,
    RefusedException,
    finish_answers,
    refuse,
    scope_not_declared,
)
from .scoping import (
    AUTHENTICATED,
    is_open,
    register,
    register_operator,
    required_scopes,
    says_scopes,
)


class _Composable(OperationHolderMixin):
    """Let other operands decide after a refusal, and report the refusal if they refuse too."""

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


# REST framework composes the classes themselves (``HasScope | IsAdminUser``), and only a
# metaclass sees an operator between classes. Its own is one for the same reason.
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
    """Allow any valid credential, whatever its scopes, and any logged-in user.

    Use it only for views such as "who am I".
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if AUTHENTICATED not in request.__dict__:
            # Another authentication class found the user, or there is no user.
            finish_answers(view)
        if not getattr(request.user, "is_authenticated", False):
            raise refuse(not_authenticated(request))
        return True


def check_object(request: Request, access: Access, required: Iterable[str], obj: Any) -> None:
    """Raise ``insufficient_scope`` if ``access`` lacks the scopes in the project of ``obj``.

    If it lacks them because it was denied there, raise ``denied_in_project``.
    """
    model = get_project_model()
    project = obj if isinstance(obj, model) else getattr(obj, "project", None)
    if isinstance(project, model):
        required = tuple(required)
        if not access.allows(*required, project=project):
            _check_denied(request, denied.find(access, required, [project.pk]))
            raise InsufficientScope(*required)
        granted.project(request, project.pk)


def _check_denied(request: Request, denial: denied.Denial | None) -> None:
    """Raise ``denied_in_project`` if a denial was found. The response counts the use."""
    if denial is not None:
        request.__dict__[granted.DENIED] = denial
        raise refuse(refusals.DENIED_IN_PROJECT)


class HasScope(AnyScope):
    """Require the view's ``required_scopes``.

    A list requires all its scopes for every request. A mapping goes by ViewSet action, HTTP
    method, or ``read`` and ``write``. Users with a session pass: scopes limit credentials, not
    people.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        if not super().has_permission(request, view):
            return False
        auth = request.auth
        if auth is None:
            if AUTHENTICATED in request.__dict__:
                raise scope_not_declared(request, view)  # there is nothing to check
            return True
        # An iterator is always true, and is empty the second time.
        required = tuple(self.get_required_scopes(request, view) or ())
        if not required:
            # An empty list in the view itself contradicts this permission. A subclass refuses
            # by an empty result.
            is_own = type(self).get_required_scopes is HasScope.get_required_scopes
            if is_own and not says_scopes(view) and is_open(view, request._request.method or ""):
                return True
            raise scope_not_declared(request, view)
        # Another package's token passes if it can check scopes, like DOT's.
        allows = getattr(auth, "allow_scopes", None)
        if allows is not None and allows(required):
            facts = request.__dict__
            if granted.GRANTED not in facts:  # saves a call at every request
                facts[granted.GRANTED] = required
            else:
                granted.scopes(request, required)
            return True
        raise InsufficientScope(*required)

    def has_object_permission(self, request: Request, view: Any, obj: Any) -> bool:
        """Require the scopes in the object's project, if it has one."""
        if isinstance(request.auth, Access):
            check_object(request, request.auth, self.get_required_scopes(request, view), obj)
        return True

    def get_required_scopes(self, request: Request, view: Any) -> tuple[str, ...]:
        """Return the required scopes. An empty result refuses every credential. Overridable."""
        declared = getattr(view, "required_scopes", None)
        if type(declared) is list:  # most views: saves a call at every request
            return tuple(declared)
        # Faster than ``request.method``, which DRF's request looks up in itself first.
        method = request._request.method or ""
        return required_scopes(view, method, getattr(view, "action", None))


@cache
def ReadWriteScope(resource: str) -> type[HasScope]:  # noqa: N802 - it stands for a class
    """Return a permission class that requires a scope by method: one line for a whole API.

    ``ReadWriteScope("api")`` requires ``api:read`` for ``GET``, ``HEAD`` and ``OPTIONS``, and
    ``api:write`` for all other methods. A view with ``required_scopes`` requires these instead.
    Raises ``TypeError`` for an empty name.
    """
    if not resource:
        raise TypeError('ReadWriteScope() needs the name of a resource, such as "api".')
    scopes = (f"{resource}:read",), (f"{resource}:write",)

    class ByMethod(HasScope):
        def get_required_scopes(self, request: Request, view: Any) -> tuple[str, ...]:
            if says_scopes(view):
                return super().get_required_scopes(request, view)
            return scopes[request._request.method not in SAFE_METHODS]

    ByMethod.__name__ = ByMethod.__qualname__ = f"ReadWriteScope[{resource}]"
    return ByMethod


class HasBinding(HasScope):
    """Require ``HasScope``, and a binding of the URL's resource to the caller.

    The view's ``bindings`` names the URL keywords and their kind: ``["subscriber_id"]`` or
    ``{"pk": "subscriber_id"}``. An empty value refuses every request. Users with a session need
    a binding to themselves or to one of their projects.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        from ..gateway.bindings import denial_of, owner_of, user_holds

        if not super().has_permission(request, view):
            return False
        declared = getattr(view, "bindings", None)
        required = self.get_required_scopes(request, view)
        # A binding holds for scopes, so it means nothing for a view that needs none.
        is_unscoped = request.auth is not None and not required
        if not declared or isinstance(declared, str) or is_unscoped:
            raise scope_not_declared(request, view)
        if not isinstance(declared, Mapping):
            declared = {keyword: keyword for keyword in declared}
        for keyword, kind in declared.items():
            identifier = str(view.kwargs[keyword])
            if isinstance(request.auth, Access):
                owner = owner_of(request.auth, kind, identifier, required)
                bound = owner is not None
                if owner is not None and owner.project != "":
                    granted.project(request, owner.project)
            else:
                bound = request.auth is None and user_holds(request.user, kind, identifier)
            if not bound:
                if isinstance(request.auth, Access):
                    denial = denial_of(request.auth, kind, identifier, required)
                    _check_denied(request, denial)
                raise refuse(refusals.NOT_BOUND, kind=kind)
        return True


register(AnyScope, lambda permission, request, view: True)
register(HasScope, lambda permission, request, view: permission.get_required_scopes(request, view))
register(HasBinding)
register_operator(_Or, all)
