"""The forms of the settings pages. They offer the choices that ``lifecycle`` accepts."""

from collections.abc import Iterator
from datetime import timedelta
from importlib.util import find_spec
from typing import Any, Final

from django import forms
from django.db.models import Q
from django.utils import timezone
from django.utils.text import capfirst, format_lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import grants, restrictions, scopes
from ..conf import app_settings, slug_field, slug_of
from ..errors import LifecycleError
from ..keys import trust_forms
from ..keys.forms import ALL, MetadataField
from ..keys.trust_forms import TrustForm
from ..lifecycle import MAX_OVERLAP
from ..lifecycle.metadata import clean as clean_metadata
from ..models import AnyKey, get_project_model
from ..models.texts import OPTIONAL, TEXTS, texts_of
from ..policy import get_policy
from ..restrictions import RESTRICTIONS
from ..restrictions.base import Terms
from ..workloads import rules
from .expiry import ExpiryForm
from .fields import DayField, KeylessForm, PageFields, ProjectsField, PublicKeyField
from .widgets import ScopesWidget
from .wording import message_of

_OF_TOKEN: Final = gettext_lazy(
    "Optional. What the token is for, where it is used, and whom to ask about it."
)

#: The fields that few keys need, besides the restrictions that are not common.
_RARE: Final = ("metadata", "issuer", "claims", "public_key")
_NOTHING: Final[tuple[Any, ...]] = (None, "", False, {}, [])


class KeyForm(TrustForm, ExpiryForm):
    """Create a key, or edit ``key`` if it is given."""

    #: The ID of the ended key that the new one replaces. The view checks it.
    replaces = forms.Field(required=False, widget=forms.HiddenInput)
    name = forms.CharField(
        label=gettext_lazy("Name"),
        max_length=TEXTS["name"].max_length,
        help_text=gettext_lazy("A name you will recognise, such as “CI on the build server”."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
        error_messages={"required": gettext_lazy("Enter a name.")},
    )
    reach = forms.ChoiceField(
        label=gettext_lazy("Projects"),
        choices=[
            ("all", gettext_lazy("All my current and future projects")),
            ("selected", gettext_lazy("Only selected projects")),
        ],
        widget=forms.RadioSelect,
    )
    projects = ProjectsField(
        label=gettext_lazy("Selected projects"),
        queryset=None,
        required=False,
        to_field_name=slug_field(),
        error_messages={
            "invalid_choice": gettext_lazy("You cannot grant access to the project %(value)s."),
        },
    )
    scopes = forms.MultipleChoiceField(
        label=gettext_lazy("Permissions"),
        widget=ScopesWidget,
        error_messages={
            "required": gettext_lazy("Choose at least one permission."),
            "invalid_choice": gettext_lazy("You cannot grant the scope %(value)s."),
        },
    )

    public_key = PublicKeyField(
        required=False,
        help_text=gettext_lazy(
            "Only for a key that signs requests. Paste an Ed25519 or P-256 public key, in "
            "PEM format or as a JWK. The key then has no secret. Never paste a private key."
        ),
    )

    metadata = MetadataField(
        clean_metadata,
        forms.Textarea(attrs={"rows": 4, "autocomplete": "off", "spellcheck": "false"}),
    )

    field_order = [
        *TEXTS, "expiry", "expires_on", "reach", "projects", "scopes", "issuer", "claims",
    ]  # fmt: skip
    NO_PROJECT = gettext_lazy("Select at least one project.")

    def __init__(
        self, *args: Any, owner: Any, grant: grants.Grant, key: AnyKey | None = None, **kwargs: Any
    ) -> None:
        start = key.created_at if key else timezone.now()
        self.owner = owner
        super().__init__(*args, owner=owner, key=key, start=start, **kwargs)
        of_project = owner is not None and isinstance(owner, get_project_model())
        self.of_project = of_project
        if not of_project:
            self.fields["description"].help_text = _OF_TOKEN
        given = key.scopes if key else ()
        offered = [name for name in scopes.declared() if name in grant.scopes or name in given]
        offered += scopes.unknown(given)
        scope_field = self.fields["scopes"]
        assert isinstance(scope_field, forms.MultipleChoiceField)  # noqa: S101 - for mypy
        scope_field.choices = [(name, name) for name in offered]
        widget = scope_field.widget
        assert isinstance(widget, ScopesWidget)  # noqa: S101 - for mypy
        policy = get_policy()
        widget.to_approve = frozenset(n for n in offered if policy.needs_approval(owner, n))
        if key is not None:
            self.initial.update(texts_of(key), scopes=key.scopes, metadata=key.metadata)
            for each, value in zip(RESTRICTIONS, restrictions.of(key), strict=True):
                self.initial[each.field_name] = each.to_form(value)
                field = self.fields[each.field_name]
                if isinstance(field, DayField) and value != each.empty and field.hides(value):
                    as_it_is = _("As it is: %(when)s") % {"when": each.display(value)}
                    field.help_text = f"{field.help_text} ({as_it_is})"
        for each in RESTRICTIONS:
            if not each.is_offered():
                del self.fields[each.field_name]
        if key is not None:
            del self.fields["replaces"]
        if key is not None or not of_project or find_spec("http_message_signatures") is None:
            del self.fields["public_key"]
        if of_project and trust_forms.is_offered() and (key is None or key.trust):
            self.offer_issuers(key.trust if key else "", required=key is not None)
        else:
            trust_forms.remove(self)
        if of_project:
            del self.fields["reach"], self.fields["projects"]
        else:
            self._offer_projects(grant, key)

    def _offer_projects(self, grant: grants.Grant, key: AnyKey | None) -> None:
        projects = self.fields["projects"]
        assert isinstance(projects, ProjectsField)  # noqa: S101 - for mypy
        offered = Q(pk__in=grant.projects.order_by().values("pk"))
        self.initial.setdefault("reach", "all")
        if key is not None and not key.all_projects:
            had = key.reach() or []
            offered |= Q(pk__in=[project.pk for project in had])
            self.initial.update(reach="selected", projects=[slug_of(p) for p in had])
        projects.queryset = (
            get_project_model()._default_manager.filter(offered).order_by(slug_field())
        )

    def shown_restrictions(self) -> list[forms.BoundField]:
        """Return the fields of the restrictions to show at once, below the scopes."""
        return self._restrictions(common=True)

    def more(self) -> list[forms.BoundField]:
        """Return the fields to show only on request: few keys need them."""
        rare = [self[name] for name in _RARE if name in self.fields]
        return [*self._restrictions(common=False), *rare]

    def needs_more(self) -> bool:
        """Return whether a field of ``more`` has a value or an error, so that it must be seen."""
        return any(field.errors or field.value() not in _NOTHING for field in self.more())

    def _restrictions(self, *, common: bool) -> list[forms.BoundField]:
        named = (each.field_name for each in RESTRICTIONS if each.is_common is common)
        return [self[name] for name in named if name in self.fields]

    def _asked_restrictions(self) -> dict[str, Any]:
        """Return the entered restrictions by name. Return only the changed ones of an edit.

        So an edit does not overwrite a concurrent change of another restriction, nor the time
        of a ``datetime`` that the form shows as a date.
        """
        names = self.fields if self.key is None else self.changed_data
        return {
            each.name: each.from_form(self.cleaned_data[each.field_name])
            for each in RESTRICTIONS
            if each.field_name in names and each.field_name in self.cleaned_data
        }

    def _check_restrictions(self) -> None:
        asked = self._asked_restrictions()
        had = restrictions.EMPTY if self.key is None else restrictions.of(self.key)
        for each, value in zip(RESTRICTIONS, had, strict=True):
            try:
                new = each.clean(asked[each.name], self.owner) if each.name in asked else value
                if new != each.empty and "expires_at" in self.cleaned_data:
                    each.check_terms(new, self._terms())
            except LifecycleError as error:
                self.add_error(
                    each.field_name if each.field_name in self.fields else None,
                    forms.ValidationError(
                        message_of(error, of_tokens=not self.of_project), error.code
                    ),
                )

    def _terms(self) -> Terms:
        signs = bool(self.cleaned_data.get("public_key") or (self.key and self.key.public_key))
        return Terms(self.cleaned_data["expires_at"], signs)

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean()
        self._check_restrictions()
        if "reach" in self.fields:
            self.clean_reach_and_projects()
            if cleaned.get("reach") == ALL:
                cleaned["projects"] = None
        return cleaned

    def asked(self) -> dict[str, Any]:
        """Return the cleaned values as arguments of ``lifecycle.mint`` or ``lifecycle.edit``."""
        cleaned = self.cleaned_data
        asked = {name: cleaned[name] for name in (*TEXTS, "scopes", "expires_at")}
        if self.key is not None:
            # A browser does not send a scope that another one includes. It stays.
            chosen = cleaned["scopes"]
            kept = [name for name in self.key.scopes if scopes.covers(chosen, [name])]
            asked["scopes"] = list(dict.fromkeys([*chosen, *kept]))
        asked |= self._asked_restrictions()
        if self.key is None or "metadata" in self.changed_data:
            asked["metadata"] = cleaned["metadata"]
        if cleaned.get("public_key"):
            asked["public_key"] = cleaned["public_key"]
        if cleaned.get("trust"):
            asked["trust"] = cleaned["trust"]
            is_new = self._had is None
            if is_new or not rules.find_issuer(cleaned["trust"]["issuer"]).direct_use:
                asked["direct_use"] = False
        if "projects" in self.fields:
            projects = cleaned["projects"]
            asked["projects"] = None if projects is None else list(projects)
        return asked

    def optional_texts(self) -> Iterator[forms.BoundField]:
        """Return the fields of the optional texts of a key."""
        return (self[name] for name in OPTIONAL)

    def hidden(self) -> Iterator[tuple[str, str]]:
        """Yield the submitted names and values, for hidden fields."""
        for name in self.data:
            if name.partition(":")[0] in self.fields:
                values = self.data.getlist(name) if hasattr(self.data, "getlist") else []
                yield from ((name, value) for value in values)


def _text(column: Any) -> forms.CharField:
    return forms.CharField(
        label=capfirst(column.verbose_name),
        max_length=column.max_length,
        required=False,
        help_text=format_lazy("{} {}", gettext_lazy("Optional."), column.help_text),
        widget=forms.Textarea(attrs={"rows": 2, "autocomplete": "off"}),
    )


KeyForm.base_fields.update({name: _text(column) for name, column in OPTIONAL.items()})
KeyForm.base_fields.update({each.field_name: each.field(PageFields()) for each in RESTRICTIONS})

OVERLAPS: Final = (timedelta(0), timedelta(hours=1), timedelta(hours=24), MAX_OVERLAP)


def overlap_field(label: Any) -> forms.TypedChoiceField:
    return forms.TypedChoiceField(
        label=label,
        coerce=lambda seconds: timedelta(seconds=int(seconds)),
        widget=forms.RadioSelect,
    )


def offer_overlaps(field: forms.Field) -> None:
    assert isinstance(field, forms.TypedChoiceField)  # noqa: S101 - for mypy
    usual = app_settings.ROTATION_OVERLAP
    field.choices = [
        (str(int(each.total_seconds())), _overlap(each)) for each in sorted({*OVERLAPS, usual})
    ]
    field.initial = str(int(usual.total_seconds()))


class RotateForm(TrustForm, ExpiryForm):
    overlap = overlap_field(gettext_lazy("The old one stops working"))

    public_key = PublicKeyField(
        help_text=gettext_lazy(
            "The new public key, in PEM format or as a JWK. Never paste a private key."
        ),
    )

    field_order = ["overlap", "public_key", "issuer", "claims", "expiry", "expires_on"]

    def __init__(self, *args: Any, owner: Any, key: AnyKey, **kwargs: Any) -> None:
        super().__init__(*args, owner=owner, key=key, start=timezone.now(), **kwargs)
        offer_overlaps(self.fields["overlap"])
        of_project = isinstance(owner, get_project_model())
        self.fields["expiry"].label = _("New key expires") if of_project else _("New token expires")
        if key.expires_at is not None:
            self.offer_again(key.expires_at - key.created_at)
        if not key.public_key:
            del self.fields["public_key"]
        if key.trust and trust_forms.is_offered():
            self.offer_issuers(key.trust, required=True, keeps=False)
        else:
            trust_forms.remove(self)


class ConvertForm(TrustForm, KeylessForm):
    """Choose the workload that takes the place of a secret."""

    overlap = overlap_field(gettext_lazy("The secret stops working"))

    field_order = ["issuer", "claims", "overlap"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.offer_issuers("", required=True)
        offer_overlaps(self.fields["overlap"])


_REASON_OF_TOKEN: Final = gettext_lazy(
    "Optional. Everyone who can view the token can read the reason."
)


class PauseForm(KeylessForm):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        required=False,
        help_text=gettext_lazy("Optional. Everyone who can view the key can read the reason."),
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, of_tokens: bool = False, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if of_tokens:
            self.fields["reason"].help_text = _REASON_OF_TOKEN


class RevokeForm(PauseForm):
    also = forms.BooleanField(required=False)


class ConfirmForm(forms.Form):
    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "current-password", "autofocus": True}),
    )


def _overlap(time: timedelta) -> str:
    if not time:
        return _("now")
    hours, rest = divmod(time, timedelta(hours=1))
    if rest:
        minutes = round(time / timedelta(minutes=1))
        return ngettext("after %(n)d minute", "after %(n)d minutes", minutes) % {"n": minutes}
    if hours < 48 or hours % 24:
        return ngettext("after %(n)d hour", "after %(n)d hours", hours) % {"n": hours}
    return ngettext("after %(n)d day", "after %(n)d days", time.days) % {"n": time.days}
