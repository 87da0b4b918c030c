"""Fill in the form of a new key from a link, a preset of the site (``PRESETS``), or another key.

A link only fills in the form: it offers nothing that the form would not offer, and the user
checks and submits it.
"""

from collections.abc import Iterable, Mapping
from datetime import date, datetime, timedelta
from typing import Any, Final

from django.http import QueryDict
from django.utils import timezone
from django.utils.text import slugify
from django.utils.translation import gettext as _

from .. import moments, restrictions, token
from ..conf import app_settings, slug_field, slug_of
from ..conf import presets as site_presets
from ..models import AnyKey
from ..models.texts import TEXTS, texts_of
from ..redaction import redact
from ..restrictions import RESTRICTIONS
from ..workloads import rules
from .expiry import CUSTOM, NEVER
from .fields import may_be_kept
from .forms import KeyForm
from .owners import Tokens

#: The labels of the restrictions by their field.
_LABELS: Final = {each.field_name: each.label for each in RESTRICTIONS}
_MOST: Final = 100  # scopes or projects of a link
_DAY: Final = timedelta(days=1)
_HOUR: Final = timedelta(hours=1)


def presets() -> list[dict[str, Any]]:
    """Return the presets of the site, each with its ``slug`` and its ``label``."""
    return [
        {"label": label, "slug": slugify(str(name)) or str(number)} | dict(preset)
        for number, (name, preset) in enumerate(app_settings.PRESETS.items(), 1)
        for label in (preset.get("label", name),)
    ]


def keep(form: KeyForm, entered: QueryDict) -> list[str]:
    """Fill in ``form`` with what the user entered before they chose a preset.

    Return the names of the texts that no preset filled in: a preset must not replace them.
    A pasted key is redacted, and a private key is dropped.
    """
    for name, field in form.fields.items():
        value = field.widget.value_from_datadict(entered, {}, name)
        if isinstance(value, str):
            value = redact(value) if name != "public_key" or may_be_kept(value) else ""
        if value not in (None, "", []):
            form.initial[name] = value
    form.offer_hours(str(form.initial.get("expiry", "")))
    own = {name: {str(each.get(name)) for each in presets()} for name in TEXTS}
    return [
        name for name in TEXTS if form.initial.get(name) and form.initial[name] not in own[name]
    ]


def fill(
    form: KeyForm, params: QueryDict, owner: Tokens, kept: Iterable[str] = ()
) -> dict[str, Any]:
    """Fill in ``form`` as ``params`` ask, and return the template context of what it says.

    ``lacking`` lists what the form does not offer. A preset does not replace the texts ``kept``.
    """
    context: dict[str, Any] = {}
    asked: dict[str, Any] = {}
    if source := _source(params, owner):
        context["copy_of"] = source
        asked |= _of_key(source)
    for preset in presets():
        if preset["slug"] == params.get("preset"):
            context["preset"] = preset
            given = {name: preset[name] for name in _OF_PRESET if preset.get(name) is not None}
            asked |= {name: value for name, value in given.items() if name not in kept}
            if "expires" in given:  # a date goes with the custom expiry alone
                form.initial.pop("expires_on", None)
    linked = _of_link(params)
    if not asked and not linked:
        return context
    context["is_filled"] = bool(linked)
    return context | {"lacking": _put(form, asked | linked)}


_OF_PRESET: Final = (*TEXTS, "scopes", "expires", "projects")


def _source(params: QueryDict, owner: Tokens) -> AnyKey | None:
    public_id = params.get("from", "")
    if not token.is_id(public_id):
        return None
    key: AnyKey | None = owner.keys().filter(public_id=public_id).first()
    return key


def _of_link(params: QueryDict) -> dict[str, Any]:
    """Return what the query string asks for, without what it does not name."""
    asked: dict[str, Any] = {name: params[name] for name in TEXTS if params.get(name)}
    if names := " ".join(params.getlist("scope")).replace(",", " ").split():
        asked["scopes"] = names[:_MOST]
    if names := " ".join(params.getlist("project")).replace(",", " ").split():
        asked["projects"] = names[:_MOST]
    if params.get("expires"):
        asked["expires"] = params["expires"]
    return asked


def _of_key(key: AnyKey) -> dict[str, Any]:
    values = zip(RESTRICTIONS, restrictions.of(key), strict=True)
    is_over = key.state() in ("expired", "revoked")
    asked: dict[str, Any] = dict(texts_of(key)) | {"metadata": key.metadata}
    if not is_over:
        name = _("%(name)s (copy)") % {"name": key.name}
        asked["name"] = name if len(name) <= TEXTS["name"].max_length else key.name
    reach = key.reach() if key.SELECTS_PROJECTS else None
    if (trust := rules.read(key.trust)) is not None:
        asked["trust"] = trust
    return asked | {
        "scopes": key.scopes,
        "projects": reach and [slug_of(project) for project in reach],
        "expires": lifetime_of(key),
        # A start in the past would be no restriction.
        "restrictions": {
            each.field_name: each.to_form(value)
            for each, value in values
            if value != each.empty and not (isinstance(value, datetime) and value < timezone.now())
        },
    }


def lifetime_of(key: AnyKey) -> str:
    """Return the lifetime of ``key`` as the parameter ``expires``: in days, in hours or never."""
    if key.expires_at is None:
        return "never"
    lifetime = key.expires_at - key.created_at
    hours = max(1, round(lifetime / _HOUR))
    return f"{hours}h" if hours < 24 else str(round(lifetime / _DAY))


def _put(form: KeyForm, asked: Mapping[str, Any]) -> list[str]:
    lacking: list[str] = []
    for name, column in TEXTS.items():
        if text := asked.get(name):
            form.initial[name] = str(text)[: column.max_length]
    if asked.get("metadata"):
        form.initial["metadata"] = asked["metadata"]
    if (names := asked.get("scopes")) is not None:
        form.initial["scopes"], missing = _offered(form.fields["scopes"], names)
        lacking += missing
    if (names := asked.get("projects")) and "projects" in form.fields:
        choices: Any = form.fields["projects"]
        slugs = set(choices.queryset.values_list(slug_field(), flat=True))
        if names == site_presets.SELECTED:  # the user selects them, unless there is only one
            names = slugs if len(slugs) == 1 else ()
        known = [name for name in names if name in slugs]
        lacking += [name for name in names if name not in slugs]
        # Never all projects in place of some that the form does not offer.
        form.initial.update(reach="selected", projects=known)
    if (expires := asked.get("expires")) is not None and not _choose(form, str(expires)):
        lacking.append(_("the expiry"))
    if (trust := asked.get("trust")) is not None:
        if "issuer" in form.fields and _offered(form.fields["issuer"], [trust.issuer])[0]:
            form.fill(trust)
        else:
            lacking.append(trust.issuer)
    for name, value in asked.get("restrictions", {}).items():
        if name in form.fields:
            form.initial[name] = value
        else:
            lacking.append(str(_LABELS[name]))
    return lacking


def _offered(field: Any, names: Iterable[str]) -> tuple[list[str], list[str]]:
    offered = {value for value, _label in field.choices}
    names = list(dict.fromkeys(names))
    return [n for n in names if n in offered], [n[:60] for n in names if n not in offered]


def _choose(form: KeyForm, expires: str) -> bool:
    """Choose an expiry: days, hours, a date or ``never``. Return whether it is offered."""
    field: Any = form.fields["expiry"]
    choices = {value for value, _label in field.choices}
    if expires == "never":
        if NEVER in choices:
            form.initial["expiry"] = NEVER
        return NEVER in choices
    if form.offer_hours(expires):
        form.initial["expiry"] = expires
        return True
    if expires in choices and expires.isascii() and expires.isdigit():
        form.initial["expiry"] = expires
        return True
    day = _day(expires)
    if day is None or (form.latest is not None and day > moments.day_of(form.latest)):
        return False
    form.initial.update(expiry=CUSTOM, expires_on=day)
    return True


def _day(expires: str) -> date | None:
    try:
        if expires.isascii() and expires.isdigit() and len(expires) < 6:
            day = moments.today() + timedelta(days=int(expires))
        else:
            day = date.fromisoformat(expires)
    except (ValueError, OverflowError):
        return None
    return day if moments.today() <= day and day.year <= moments.MAX_YEAR else None
