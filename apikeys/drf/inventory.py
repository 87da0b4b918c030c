"""List the views of a site: which credentials each accepts, and which scopes it requires."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from django.http import HttpRequest
from django.urls import Resolver404, URLPattern, URLResolver, get_resolver, resolve
from django.urls.resolvers import RegexPattern
from rest_framework.request import Request
from rest_framework.throttling import ScopedRateThrottle, UserRateThrottle
from rest_framework.views import APIView

from .. import acceptance, scopes
from ..acceptance import function_name
from ..access import PROJECT_KEY
from ..http import views
from .authentication import BearerAuthentication
from .defaults import effective_scopes, unchecked_scopes
from .scoping import checks_scope, overriding, refuses_all, view_name

#: A view that refuses every credential, because nothing shows that it checks scopes.
NOT_DECLARED: Final = "scope_not_declared"
#: A view that refuses every credential, because ``DEFAULT_SCOPES`` says so.
ON_PURPOSE: Final = "refused_on_purpose"
#: A view whose permission overrides ``has_permission``, so that nothing shows that it checks.
OVERRIDDEN: Final = "has_permission_overridden"
#: A view whose permissions need a real request.
UNREADABLE: Final = "permissions_unreadable"
#: A view that requires a scope which no credential can have.
UNKNOWN_SCOPE: Final = "unknown_scope"
#: A view that lists a kind of credential which does not exist.
UNKNOWN_KIND: Final = "unknown_kind"

# The modules whose views are a router's root, a schema or documentation. They need no scope.
_DESCRIBING: Final = (
    "rest_framework.routers",
    "rest_framework.schemas",
    "rest_framework.documentation",
    "drf_spectacular",
    "drf_yasg",
)


@dataclass(frozen=True)
class Operation:
    """One method of one URL."""

    url: str
    #: Empty if the view accepts any method.
    method: str
    view: str
    #: The dotted name of the class, without the action of a ViewSet.
    cls: str
    #: The kinds of credentials that it accepts. Empty for a view outside this package.
    accepts: tuple[str, ...] = ()
    #: The required scopes. ``None`` if it accepts or requires nothing.
    requires: tuple[str, ...] | None = None
    #: The reason for which it refuses every credential, or empty.
    problem: str = ""
    #: More about the problem, for people.
    about: str = ""
    #: Whether another package answers with a description of the API: no data of the site.
    describes: bool = False
    #: The throttles that count all project keys together.
    shared_throttles: tuple[str, ...] = field(default=())


def operations(urlconf: Any = None) -> Iterator[Operation]:
    """Yield every method of every URL of the site."""
    for url, callback in _urls(get_resolver(urlconf).url_patterns, "/"):
        yield from _of(url, callback)


def operation_at(path: str, method: str, urlconf: Any = None) -> Operation | None:
    """Return the operation of ``method`` at a path of the site; ``None`` if no view has it."""
    try:
        callback = resolve(path, urlconf).func
    except Resolver404:
        return None
    return next((each for each in _of(path, callback) if each.method in (method, "")), None)


def _urls(patterns: Iterable[URLPattern | URLResolver], base: str) -> Iterator[tuple[str, Any]]:
    for each in patterns:
        url = base + _text(each.pattern)
        if isinstance(each, URLResolver):
            yield from _urls(each.url_patterns, url)
        else:
            yield url, each.callback


def _text(pattern: Any) -> str:
    text = str(pattern)
    if not isinstance(pattern, RegexPattern):
        return text
    from django.contrib.admindocs.views import simplify_regex  # which imports the whole admin

    return simplify_regex(text).removeprefix("/")


def _of(url: str, callback: Any) -> Iterator[Operation]:
    cls = views.class_of(callback)
    if isinstance(cls, type) and issubclass(cls, APIView) and _takes_credentials(callback, cls):
        for method, action in _methods(callback, cls):
            yield _of_drf(url, callback, cls, method, action)
        return
    found = False
    for operation in views.ninja_operations(callback):
        found = True
        auth = next(iter(views.key_auths(operation)), None)
        name = function_name(operation.view_func)
        for method in operation.methods:
            yield _declared(url, method, name, auth and auth.scopes, auth and auth.accepts)
    if not found:
        name = function_name(cls or callback)
        required = getattr(callback, "required_scopes", None)
        if cls is None or isinstance(getattr(cls, "required_scopes", None), list):
            methods = [""]
        else:
            methods = [each.upper() for each in cls.http_method_names if hasattr(cls, each)]
        for method in methods:
            if method != "OPTIONS":
                yield _declared(url, method, name, required, views.accepts_of(callback, method))


def _declared(url: str, method: str, name: str, required: Any, accepts: Any) -> Operation:
    """Return the operation of a view that is guarded by a decorator, or by nothing."""
    if required is None:
        return Operation(url, method, name, name)
    kinds, names = acceptance.kinds_of(accepts), tuple(required)
    problem = UNKNOWN_SCOPE if scopes.unknown(names) else ""
    return Operation(url, method, name, name, kinds, names, problem)


def _takes_credentials(callback: Any, cls: Any) -> bool:
    given = views.arguments_of(callback).get("authentication_classes")
    return any(
        isinstance(each, type) and issubclass(each, BearerAuthentication)
        for each in (cls.authentication_classes if given is None else given)
    )


def _methods(callback: Any, cls: Any) -> list[tuple[str, str | None]]:
    if actions := getattr(callback, "actions", None):
        return [(method.upper(), action) for method, action in actions.items()]
    names = [each for each in cls.http_method_names if each != "options" and hasattr(cls, each)]
    return [(each.upper(), None) for each in names]


def _describes(cls: Any, method: str) -> bool:
    module = getattr(getattr(cls, method.lower(), None), "__module__", None) or ""
    return any(f"{module}.".startswith(f"{each}.") for each in _DESCRIBING)


def _of_drf(url: str, callback: Any, cls: Any, method: str, action: str | None) -> Operation:
    view = cls(**views.arguments_of(callback))
    view.args, view.kwargs, view.format_kwarg, view.action = (), {}, None, action
    blank = HttpRequest()  # a factory of tests would import an HTTP client into every site
    blank.method, blank.path, blank.path_info = method, "/", "/"
    view.request = request = Request(blank, authenticators=[])
    accepts = getattr(view, "accepts", None)
    kinds = acceptance.kinds_of(accepts)
    view.action = None
    name = view_name(view)
    view.action = action
    facts: dict[str, Any] = {
        "url": url,
        "method": method,
        "view": view_name(view),
        "cls": name,
        "accepts": kinds,
        "describes": action is None and _describes(cls, method),
        "shared_throttles": _shared_throttles(view) if PROJECT_KEY in kinds else (),
    }
    if refuses_all(view):
        return Operation(**facts, problem=ON_PURPOSE)
    try:
        checked, overridden = checks_scope(request, view), overriding(view)
        required = effective_scopes(request, view)
        is_refused = not checked and unchecked_scopes(request, view) is None
    except Exception as error:  # noqa: BLE001 - a site's get_permissions() needs a real request
        return Operation(**facts, problem=UNREADABLE, about=repr(error))
    if is_refused and overridden:
        permission, base = overridden[0]
        about = f"{function_name(permission)} overrides has_permission() of {function_name(base)}"
        return Operation(**facts, problem=OVERRIDDEN, about=about)
    if is_refused:
        return Operation(**facts, problem=NOT_DECLARED)
    # A site that does not declare these keeps the API of keys to people.
    if unknown := sorted(set(scopes.unknown(required)) - scopes.BY_NAME):
        return Operation(
            **facts, requires=required, problem=UNKNOWN_SCOPE, about=", ".join(unknown)
        )
    if accepts is not None and (strange := acceptance.unknown(accepts)):
        about = ", ".join(strange)
        return Operation(**facts, requires=required, problem=UNKNOWN_KIND, about=about)
    return Operation(**facts, requires=required)


def _shared_throttles(view: Any) -> tuple[str, ...]:
    """Return the view's throttles that count by primary key of the user."""
    return tuple(
        function_name(each)
        for each in getattr(view, "throttle_classes", ())
        if isinstance(each, type)
        and any(
            issubclass(each, base) and each.get_cache_key is base.get_cache_key
            for base in (UserRateThrottle, ScopedRateThrottle)
        )
        and (not issubclass(each, ScopedRateThrottle) or getattr(view, "throttle_scope", None))
    )
