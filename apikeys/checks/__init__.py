"""System checks: report each invalid setting, what it must be, and how to fix it.

The checks of other parts are in those parts, such as ``apikeys.gateway.checks``.
"""

from collections.abc import Iterator, Mapping, Sequence
from difflib import get_close_matches
from importlib import import_module
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.conf import settings
from django.contrib.auth import get_user_model
from django.core.checks import CheckMessage, Error, Warning, register
from django.core.exceptions import ImproperlyConfigured
from django.db.models import CharField, TextField

from .. import scopes
from ..conf import AppSettings, app_settings, slug_field
from ..conf.endings import end_settings
from ..conf.replicas import replica_settings
from ..conf.setting import all_names, given
from ..models import get_project_model
from ..policy import has_field

_EXAMPLE = (
    'Set it to, for example, {"PREFIX": "acme", "SCOPES": {"payments:read": "See payments"}}.'
)

#: Scopes of OpenID Connect Core (sections 5.4 and 11), which have fixed names.
_OPENID = {"openid", "profile", "email", "address", "phone", "offline_access"}

#: Settings of optional parts. They are imported only to recognise an unknown name.
_OPTIONAL = ("apikeys.gateway.conf", "apikeys.issuers.conf", "apikeys.oauth.conf")


@register("apikeys")
def check_settings(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    if not isinstance(getattr(settings, "APIKEYS", {}), Mapping):
        return [Error("APIKEYS is not a dictionary.", hint=_EXAMPLE, id="apikeys.E001")]
    return [
        *_names(),
        *app_settings.errors(),
        *end_settings.errors(),
        *replica_settings.errors(),
        *_scopes(),
        *_extras(),
        *_project(),
    ]


def _names() -> Iterator[CheckMessage]:
    unknown = [name for name in given() if name not in app_settings.names()]
    for part in _OPTIONAL if unknown else ():
        import_module(part)
    known = all_names()
    for name in unknown:
        if name not in known:
            close = get_close_matches(str(name), known, n=1)
            found = f"Did you mean {close[0]!r}?" if close else f"Available: {', '.join(known)}."
            yield Error(
                f"APIKEYS has no setting {name!r}.",
                hint=f"Correct the name, or remove the setting. {found}",
                id="apikeys.E001",
            )


def _scopes() -> Iterator[CheckMessage]:
    declared: Mapping[Any, Any] = app_settings.SCOPES
    for name in declared:
        if not isinstance(name, str) or not scopes.TOKEN_PATTERN.fullmatch(name):
            yield Error(
                f"APIKEYS['SCOPES'] has {name!r}, which is not a scope (RFC 6749 section 3.3).",
                hint="Name it resource:action in printable ASCII, without a space.",
                id="apikeys.E004",
            )
        elif name not in _OPENID and not all(name.partition(":")):
            yield Warning(
                f"APIKEYS['SCOPES'] has {name!r}, which is not resource:action.",
                hint="Name it, for example, payments:read. No other scope implies this one, and "
                "viewers do not get it. Silence this check if a permission class of "
                "django-oauth-toolkit needs the name.",
                id="apikeys.W004",
            )


def _extras() -> Iterator[CheckMessage]:
    if app_settings.TRUSTED_PROXIES and find_spec("python_ipware") is None:
        yield Error(
            "APIKEYS['TRUSTED_PROXIES'] is set, but python-ipware is not installed.",
            hint='Install it with `pip install "apikeys[networks]"`.',
            id="apikeys.E031",
        )


def _is_slug(field: Any) -> bool:
    return bool(field.unique) and isinstance(field, (CharField, TextField))


def _project() -> Iterator[CheckMessage]:
    try:
        model = get_project_model()
    except ImproperlyConfigured as error:
        yield Error(str(error), id="apikeys.E008")
        return
    name = slug_field()
    if not has_field(model, name) or not _is_slug(model._meta.get_field(name)):
        yield Error(
            f"{model._meta.label} needs a unique text field `{name}`.",
            hint="Add the field, subclass apikeys.models.AbstractProject, or name another field in "
            "APIKEYS_PROJECT_SLUG_FIELD.",
            obj=model,
            id="apikeys.E009",
        )
    relation = app_settings.PROJECT_USER
    if isinstance(relation, str) and not _leads_to_user(model, relation):
        yield Error(
            f"{model._meta.label} has no foreign key or one-to-one field {relation!r} to the user "
            "model, which APIKEYS['PROJECT_USER'] names.",
            hint="Add the field, or correct the name.",
            obj=model,
            id=AppSettings.PROJECT_USER.check,
        )


def _leads_to_user(model: Any, relation: str) -> bool:
    if not has_field(model, relation):
        return False
    field = model._meta.get_field(relation)
    return bool(field.many_to_one or field.one_to_one) and field.related_model is get_user_model()
