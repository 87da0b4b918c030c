"""What people enter. ``lifecycle`` is the judge of it; a form offers what it will accept."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from importlib.util import find_spec
from typing import Any, Final

from django import forms
from django.apps import apps
from django.db.models import Q
from django.http import QueryDict
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_variables

from .. import grants, lifecycle, scopes, token
from ..conf import app_settings
from ..fields import WordsField
from ..lifecycle import MAX_OVERLAP, LifecycleError
from ..models import PersonalAccessToken, ProjectKey, get_project_model
from ..redaction import redact

AnyKey = PersonalAccessToken | ProjectKey

PRESETS: Final = (7, 30, 60, 90)
KEEP, CUSTOM, NEVER = "keep", "custom", "none"


def days(number: int) -> str:
    return ngettext("%(n)d day", "%(n)d days", number) % {"n": number}


@dataclass
class Resource:
    """The scopes of one resource, as one row of the form."""

    name: str
    #: ``(scope, label)``: one of them, or none.
    levels: list[tuple[str, str]] = field(default_factory=list)
    #: ``(scope, label)``: any of them.
    others: list[tuple[str, str]] = field(default_factory=list)


def by_resource(names: Iterable[str]) -> list[Resource]:
    """``names`` grouped: read and write are levels of access, other actions stand alone."""
    levels = {"read": _("Read"), "write": _("Read and write")}
    resources: dict[str, Resource] = {}
    for name in names:
        resource, _colon, action = name.rpartition(":")
        row = resources.setdefault(resource, Resource(resource))
        if resource and action in levels:
            row.levels.append((name, levels[action]))
        else:
            row.others.append((name, action))
    for row in resources.values():
        row.levels.sort()  # read before write
        if [name for name, _label in row.levels] == [f"{row.name}:write"]:
            row.levels = [(row.levels[0][0], _("Write"))]
    return list(resources.values())


class ScopesWidget(forms.CheckboxSelectMultiple):
    """None, read or write for each resource, and a checkbox for each other action."""

    template_name = "apikeys/widgets/scopes.html"

    def __init__(self) -> None:
        super().__init__()
        self.to_approve: frozenset[str] = frozenset()

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        chosen = set(value or ())
        id_ = (attrs or {}).get("id", name)
        declared = scopes.declared()

        def option(number: int, scope: str, label: str) -> dict[str, Any]:
            return {
                "id": f"{id_}_{number}",
                "scope": scope,
                "label": label,
                "description": declared.get(scope, _("No longer offered by this site")),
                "checked": scope in chosen,
                "to_approve": bool(scopes.expand(scope) & self.to_approve),
            }

        rows, number = [], 0
        for resource in by_resource(str(value) for value, _label in self.choices):
            levels = [option(number + n, *level) for n, level in enumerate(resource.levels, 1)]
            number += len(levels)
            if sum(level["checked"] for level in levels) > 1:  # write says read as well
                for level in levels[:-1]:
                    level["checked"] = False
            others = [option(number + n, *other) for n, other in enumerate(resource.others, 1)]
            number += len(others)
            rows.append(
                {
                    "name": resource.name,
                    "field": f"{name}:{resource.name}",
                    "levels": levels,
                    "none": not any(level["checked"] for level in levels),
                    "others": others,
                }
            )
        return {"widget": {"name": name, "id": id_, "attrs": attrs or {}, "rows": rows}}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        values = data.getlist(name)
        values += [data.get(key) for key in data if key.startswith(f"{name}:")]
        return sorted({value for value in values if value})

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False


class ProjectsField(forms.ModelMultipleChoiceField):  # type: ignore[type-arg]
    widget = forms.CheckboxSelectMultiple

    def label_from_instance(self, obj: Any) -> str:
        return str(obj)


class KeylessForm(forms.Form):
    """A field into which somebody put a key is at fault, and not shown again."""

    def full_clean(self) -> None:
        super().full_clean()
        if not self.is_bound or not isinstance(self.data, QueryDict):
            return
        data = self.data.copy()
        if self.has_error("public_key"):
            data.setlist("public_key", [])
        for name, values in self.data.lists():
            if any(token.holds_key(str(value)) for value in values):
                data.setlist(name, [redact(str(value)) for value in values])
                message = _(
                    "That holds a key. Write its id instead: the 16 characters before the secret."
                )
                field = name.partition(":")[0]
                self.errors.pop(field, None)  # it may repeat the value
                self.add_error(field if field in self.fields else None, message)
        self.data = data


class PublicKeyField(forms.CharField):
    """``lifecycle`` says what is none. A private key is not shown again."""

    widget = forms.Textarea(
        attrs={
            "rows": 4,
            "autocomplete": "off",
            "spellcheck": "false",
            "placeholder": "-----BEGIN PUBLIC KEY-----",
        }
    )

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(label=gettext_lazy("Public key"), **kwargs)

    @sensitive_variables()
    def clean(self, value: Any) -> str:
        text = super().clean(value)
        if not text:
            return ""
        try:
            return lifecycle.clean_public_key(text)
        except LifecycleError as error:
            message, code = error.message, error.code
        raise forms.ValidationError(message, code)


def may_be_kept(text: str) -> bool:
    """Whether it is a public key, rather than a private one given by mistake."""
    try:
        lifecycle.clean_public_key(text)
    except LifecycleError:
        return False
    return True


class ExpiryForm(KeylessForm):
    """When a key ends: presets, a date, or never, as far as the policy lets it."""

    expiry = forms.ChoiceField(
        label=gettext_lazy("Expires"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose when it expires.")},
    )
    expires_on = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        error_messages={"invalid": gettext_lazy("Enter a date, such as 2030-12-31.")},
    )

    def __init__(
        self, *args: Any, owner: Any, key: AnyKey | None = None, start: datetime, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.key = key
        policy = app_settings.POLICY
        longest = policy.longest_lifetime(owner)
        self.latest = start + longest if longest is not None else None
        choices: list[tuple[str, str]] = []
        if key is not None:
            choices.append((KEEP, _("As it is: %(when)s") % {"when": _when(key.expires_at)}))
        choices += [(str(n), days(n)) for n in PRESETS if self._allows(timedelta(days=n))]
        if longest is not None and key is None and not choices:
            choices.append(("longest", _("%(time)s, the longest") % {"time": days(longest.days)}))
        choices.append((CUSTOM, _("Custom")))
        if longest is None and policy.allows_no_expiry(owner):
            choices.append((NEVER, _("No expiry")))
        expiry, expires_on = self.fields["expiry"], self.fields["expires_on"]
        assert isinstance(expiry, forms.ChoiceField)  # noqa: S101 - for mypy
        expiry.choices = choices
        values = [value for value, _label in choices]
        expiry.initial = KEEP if key else next(v for v in ("30", *values) if v in values)
        expires_on.widget.attrs["min"] = timezone.localdate().isoformat()
        if self.latest is not None:
            expires_on.widget.attrs["max"] = timezone.localdate(self.latest).isoformat()

    def _allows(self, lifetime: timedelta) -> bool:
        # A preset counts from when the button is pressed, a moment from now.
        now = timezone.now()
        slack = timedelta(0) if self.key is None else timedelta(minutes=1)
        return self.latest is None or now + lifetime + slack <= self.latest + timedelta(seconds=1)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or self.cleaned_data
        choice = cleaned.get("expiry")
        if choice == KEEP and self.key is not None:
            cleaned["expires_at"] = self.key.expires_at
        elif choice == NEVER:
            cleaned["expires_at"] = None
        elif choice == CUSTOM:
            if day := cleaned.get("expires_on"):
                cleaned["expires_at"] = self._end_of(day)
            elif "expires_on" not in self.errors:
                self.add_error("expires_on", _("Enter the last day on which it works."))
        elif choice == "longest" and self.latest is not None:
            cleaned["expires_at"] = self.latest
        elif choice:
            cleaned["expires_at"] = timezone.now() + timedelta(days=int(choice))
        return cleaned

    def _end_of(self, day: date) -> datetime:
        """The end of ``day``, or the latest moment on it that the policy allows."""
        end = timezone.make_aware(datetime.combine(day, time(23, 59, 59)))
        if self.latest is not None and timezone.localdate(self.latest) == day:
            return min(end, self.latest)
        return end


class KeyForm(ExpiryForm):
    """A key to mint, or to edit if ``key`` is given."""

    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=100,
        help_text=gettext_lazy("What it is for, or where it will be kept: it is how you find it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Give the key a name.")},
    )
    reach = forms.ChoiceField(
        label=gettext_lazy("Projects"),
        choices=[
            ("all", gettext_lazy("All my projects, also those that I join later")),
            ("selected", gettext_lazy("Only selected projects")),
        ],
        widget=forms.RadioSelect,
    )
    projects = ProjectsField(
        label=gettext_lazy("Selected projects"),
        queryset=None,
        required=False,
        to_field_name="slug",
        error_messages={
            "invalid_choice": gettext_lazy("You cannot give the project %(value)s."),
        },
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Access"),
        widget=ScopesWidget,
        error_messages={
            "required": gettext_lazy("Choose what the key may do: at least one thing."),
            "invalid_choice": gettext_lazy("You cannot give the scope %(value)s."),
        },
    )

    allowed_networks = WordsField(
        label=gettext_lazy("Allowed networks"),
        required=False,
        help_text=gettext_lazy(
            "From where alone it works, such as 203.0.113.0/24, one to a line; empty for anywhere."
        ),
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off", "spellcheck": "false"}),
    )
    rate_limits = WordsField(
        label=gettext_lazy("Rate limits"),
        required=False,
        help_text=gettext_lazy("How often it works, such as 1000/hour; empty for no bound."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    public_key = PublicKeyField(
        required=False,
        help_text=gettext_lazy(
            "Only for a key that signs its requests: Ed25519 or P-256, in PEM or as a JWK. It then "
            "has no secret. Never paste a private key."
        ),
    )

    exchange_only = forms.BooleanField(
        label=gettext_lazy("For exchange only"),
        required=False,
        help_text=gettext_lazy(
            "Requests with it are refused; it only gets short-lived access tokens."
        ),
    )

    field_order = ["name", "expiry", "expires_on", "reach", "projects", "scopes"]

    def __init__(
        self, *args: Any, owner: Any, grant: grants.Grant, key: AnyKey | None = None, **kwargs: Any
    ) -> None:
        start = key.created_at if key else timezone.now()
        super().__init__(*args, owner=owner, key=key, start=start, **kwargs)
        of_project = owner is not None and isinstance(owner, get_project_model())
        given = key.scopes if key else ()
        offered = [name for name in scopes.declared() if name in grant.scopes or name in given]
        offered += scopes.unknown(given)
        scope_field = self.fields["scopes"]
        assert isinstance(scope_field, forms.MultipleChoiceField)  # noqa: S101 - for mypy
        scope_field.choices = [(name, name) for name in offered]
        widget = scope_field.widget
        assert isinstance(widget, ScopesWidget)  # noqa: S101 - for mypy
        policy = app_settings.POLICY
        widget.to_approve = frozenset(n for n in offered if policy.needs_approval(owner, n))
        if key is not None:
            self.initial.update(name=key.name, scopes=key.scopes)
            self.initial["allowed_networks"] = "\n".join(key.allowed_networks.split())
            self.initial["rate_limits"] = key.rate_limits
            self.initial["exchange_only"] = not key.direct_use
        if not apps.is_installed("apikeys.oauth"):
            del self.fields["exchange_only"]
        if key is not None or not of_project or find_spec("http_message_signatures") is None:
            del self.fields["public_key"]
        if of_project:
            del self.fields["reach"], self.fields["projects"]
        else:
            self._offer_projects(grant, key)

    def _offer_projects(self, grant: grants.Grant, key: AnyKey | None) -> None:
        projects = self.fields["projects"]
        assert isinstance(projects, ProjectsField)  # noqa: S101 - for mypy
        offered = Q(pk__in=grant.projects.order_by().values("pk"))
        self.initial["reach"] = "all"
        if isinstance(key, PersonalAccessToken) and not key.all_projects:
            had = list(key.projects.all())
            offered |= Q(pk__in=[project.pk for project in had])
            self.initial.update(reach="selected", projects=[p.slug for p in had])
        projects.queryset = get_project_model()._default_manager.filter(offered).order_by("slug")

    def clean_allowed_networks(self) -> list[str]:
        return self._clean_bound("allowed_networks")

    def clean_rate_limits(self) -> list[str]:
        return self._clean_bound("rate_limits")

    def _clean_bound(self, name: str) -> list[str]:
        given: list[str] = self.cleaned_data[name]
        try:
            lifecycle.bounds({name: given})
        except LifecycleError as error:
            raise forms.ValidationError(error.message, error.code) from error
        return given

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        if cleaned.get("reach") == "selected" and "projects" not in self.errors:
            if not cleaned.get("projects"):
                self.add_error("projects", _("Select at least one project."))
        elif cleaned.get("reach") == "all":
            cleaned["projects"] = None
        return cleaned

    def asked(self) -> dict[str, Any]:
        """What was entered, as arguments of ``lifecycle``."""
        cleaned = self.cleaned_data
        names = ("name", "scopes", "expires_at", "allowed_networks", "rate_limits")
        asked = {name: cleaned[name] for name in names}
        if "exchange_only" in self.fields:
            asked["direct_use"] = not cleaned["exchange_only"]
        if cleaned.get("public_key"):
            asked["public_key"] = cleaned["public_key"]
        if "projects" in self.fields:
            projects = cleaned["projects"]
            asked["projects"] = None if projects is None else list(projects)
        return asked

    def hidden(self) -> Iterator[tuple[str, str]]:
        """What was entered, as names and values for hidden fields."""
        for name in self.data:
            if name.partition(":")[0] in self.fields:
                values = self.data.getlist(name) if hasattr(self.data, "getlist") else []
                yield from ((name, value) for value in values)


OVERLAPS: Final = (timedelta(0), timedelta(hours=1), timedelta(hours=24), MAX_OVERLAP)


class RotateForm(ExpiryForm):
    overlap = forms.TypedChoiceField(
        label=gettext_lazy("The old key works on for"),
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        widget=forms.RadioSelect,
    )

    public_key = PublicKeyField(
        help_text=gettext_lazy(
            "That is to replace the one before, in PEM or as a JWK. Never paste a private key."
        ),
    )

    field_order = ["overlap", "public_key", "expiry", "expires_on"]

    def __init__(self, *args: Any, owner: Any, key: AnyKey, **kwargs: Any) -> None:
        super().__init__(*args, owner=owner, key=key, start=timezone.now(), **kwargs)
        usual = app_settings.ROTATION_OVERLAP
        overlap = self.fields["overlap"]
        assert isinstance(overlap, forms.TypedChoiceField)  # noqa: S101 - for mypy
        overlap.choices = [
            (str(int(each.total_seconds())), _overlap(each)) for each in sorted({*OVERLAPS, usual})
        ]
        overlap.initial = str(int(usual.total_seconds()))
        if not (isinstance(key, ProjectKey) and key.public_key):
            del self.fields["public_key"]


class RevokeForm(KeylessForm):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("Optional. Whoever sees the key sees it."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )
    also = forms.BooleanField(required=False)


class ConfirmForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


def _when(moment: datetime | None) -> str:
    if moment is None:
        return _("no expiry")
    return date_format(timezone.localtime(moment), "DATETIME_FORMAT")


def _overlap(time: timedelta) -> str:
    if not time:
        return _("No time: it ends now")
    hours, rest = divmod(time, timedelta(hours=1))
    if rest:
        minutes = round(time / timedelta(minutes=1))
        return ngettext("%(n)d minute", "%(n)d minutes", minutes) % {"n": minutes}
    if hours < 48 or hours % 24:
        return ngettext("%(n)d hour", "%(n)d hours", hours) % {"n": hours}
    return days(time.days)
