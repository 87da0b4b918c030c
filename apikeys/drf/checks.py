"""System check: the views that would refuse every key, listed before a caller finds them."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register
from django.urls import URLPattern, URLResolver, get_resolver
from rest_framework.request import Request
from rest_framework.test import APIRequestFactory
from rest_framework.views import APIView

from .. import scopes
from .authentication import BearerAuthentication
from .scoping import checks_scope, declared_scopes, view_name


@register("apikeys", Tags.urls)
def check_views(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    messages: dict[tuple[str, str], CheckMessage] = {}
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    for callback in _callbacks(get_resolver().url_patterns):
        cls = getattr(callback, "cls", None) or getattr(callback, "view_class", None)
        for method, action in _operations(callback, cls):
            for message in _check(callback, cls, method, action):
                messages.setdefault((message.id or "", message.msg), message)
    return list(messages.values())


def _callbacks(patterns: Iterable[URLPattern | URLResolver]) -> Iterator[Any]:
    for pattern in patterns:
        if isinstance(pattern, URLResolver):
            yield from _callbacks(pattern.url_patterns)
        else:
            yield pattern.callback


def _operations(callback: Any, cls: Any) -> Iterator[tuple[str, str | None]]:
    if not (isinstance(cls, type) and issubclass(cls, APIView)):
        return
    given = getattr(callback, "initkwargs", {}).get("authentication_classes")
    authentications = cls.authentication_classes if given is None else given
    if not any(
        isinstance(each, type) and issubclass(each, BearerAuthentication)
        for each in authentications
    ):
        return
    if actions := getattr(callback, "actions", None):
        yield from ((method.upper(), action) for method, action in actions.items())
    else:
        methods = [m for m in cls.http_method_names if m != "options" and hasattr(cls, m)]
        yield from ((method.upper(), None) for method in methods)


def _check(callback: Any, cls: Any, method: str, action: str | None) -> Iterator[CheckMessage]:
    view = cls(**getattr(callback, "initkwargs", {}))
    view.args, view.kwargs, view.format_kwarg, view.action = (), {}, None, action
    view.request = Request(APIRequestFactory().generic(method, "/"), authenticators=[])
    view.request.method = method
    name = view_name(view)
    try:
        checked = checks_scope(view.request, view)
        unknown = scopes.unknown(declared_scopes(view.request, view))
    except Exception as error:  # noqa: BLE001 - a site's get_permissions() needs a real request
        yield Warning(
            f"Whether {name} checks scopes for {method} cannot be told: {error!r}.",
            hint="Its get_permissions() does not work without a user or URL keywords.",
            id="apikeys.W003",
        )
        return
    if not checked:
        yield Warning(
            f"{name} takes keys but declares no scope for {method}, so it refuses every key.",
            hint="Give it permission_classes = [HasScope] and required_scopes, or AnyScope.",
            id="apikeys.W001",
        )
    # A site that does not declare these keeps the API of keys to people.
    if unknown := sorted(set(unknown) - scopes.BY_NAME):
        yield Warning(
            f"{name} requires the scope {', '.join(unknown)} for {method}, "
            "which APIKEYS['SCOPES'] does not declare, so no key can have it.",
            hint="Declare it, or mend the name.",
            id="apikeys.W002",
        )
