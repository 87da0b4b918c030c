"""System checks of REST framework views: missing scopes, and throttles that keys would share."""

from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final

from django.apps import AppConfig
from django.conf import settings
from django.core.checks import CheckMessage, Tags, Warning, register

from ..conf import app_settings
from . import inventory
from .inventory import Operation

_SHOWN: Final = 10  # classes that a message names


@register("apikeys", Tags.urls)
def check_views(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    if not getattr(settings, "ROOT_URLCONF", None):
        return []
    found = list(inventory.operations())
    return [*_refusing(found), *_unknown(found), *_throttled(found)]


def _refusing(found: Iterable[Operation]) -> Iterator[CheckMessage]:
    problems = (inventory.NOT_DECLARED, inventory.OVERRIDDEN)
    refusing = [each for each in found if each.problem in problems and not each.describes]
    if not refusing:
        return
    count, names = _named(refusing)
    yield Warning(
        f"{count} would refuse every key, because no scope is declared: {names}.",
        hint="`manage.py apikeys audit-views` lists all views. Give a view of yours "
        "permission_classes = [HasScope] and required_scopes, or set APIKEYS['DEFAULT_SCOPES'], "
        "which also holds for views of other packages. Set None there for a module that refuses "
        "every key on purpose. If you wrote a permission class with its "
        "own has_permission() that checks scopes, call apikeys.drf.scoping.register() with it.",
        id="apikeys.W001",
    )


def _named(found: Iterable[Operation]) -> tuple[str, str]:
    """Return the number of views, and their names with the methods or actions of each."""
    methods: dict[str, dict[str, None]] = {}
    for each in found:
        about = f"; {each.about}" if each.about else ""
        name = each.view.removeprefix(f"{each.cls}.") if each.view != each.cls else each.method
        methods.setdefault(each.cls, {})[name + about] = None
    shown = [f"{name} ({', '.join(its)})" for name, its in list(methods.items())[:_SHOWN]]
    if more := len(methods) - len(shown):
        shown.append(f"and {more:,} more")
    return f"{len(methods):,} view{'s' * (len(methods) != 1)}", "; ".join(shown)


def _unknown(found: Iterable[Operation]) -> Iterator[CheckMessage]:
    messages: dict[tuple[str, str, str], CheckMessage] = {}
    for each in found:
        key = each.problem, each.view, each.method
        if each.problem == inventory.UNREADABLE:
            messages[key] = Warning(
                f"Cannot check whether {each.view} requires scopes for {each.method}: "
                f"{each.about}.",
                hint="Make its get_permissions() work without a user and without URL keywords.",
                id="apikeys.W003",
            )
        elif each.problem == inventory.UNKNOWN_SCOPE:
            messages[key] = Warning(
                f"{each.view} requires the scope {each.about} for {each.method}, "
                "which APIKEYS['SCOPES'] does not declare, so no key can have it.",
                hint="Declare it, or correct the name.",
                id="apikeys.W002",
            )
        elif each.problem == inventory.UNKNOWN_KIND:
            messages[each.problem, each.cls, ""] = Warning(
                f"{each.cls} accepts {each.about}, which is not a kind of credential.",
                hint="Choose from personal_access_token, project_key, oauth and external.",
                id="apikeys.W005",
            )
    yield from messages.values()


def _throttled(found: Iterable[Operation]) -> Iterator[CheckMessage]:
    if app_settings.PROJECT_USER is not None:
        return
    shared = [each for each in found if each.shared_throttles and not each.problem]
    if not shared:
        return
    throttles = ", ".join(dict.fromkeys(name for each in shared for name in each.shared_throttles))
    count, names = _named(shared)
    yield Warning(
        f"{count} would count the requests of all project keys together, by {throttles}: {names}.",
        hint="Use apikeys.drf.CredentialRateThrottle or CredentialScopedRateThrottle, which count "
        "each credential by itself.",
        id="apikeys.W006",
    )
