"""Form fields about the workload that may use a key, in the pages and in the admin."""

from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import LifecycleError
from ..workloads import rules
from ..workloads.conf import WorkloadIssuer, audiences, workload_settings
from ..workloads.rules import Trust

#: The names of the fields.
FIELDS = ("issuer", "claims")


def is_offered() -> bool:
    """Return whether the site trusts any issuer of workloads."""
    return bool(workload_settings.WORKLOAD_ISSUERS)


def remove(form: forms.Form) -> None:
    """Remove the fields from a form of a key that trusts no workload."""
    for name in FIELDS:
        del form.fields[name]


def _label(entry: WorkloadIssuer) -> str:
    """Return how an issuer is called. Its URL is shown if others of its kind have another."""
    label = str(entry.preset.label)
    return label if entry.url in (entry.preset.issuer, label) else f"{label} ({entry.url})"


class TrustForm(forms.Form):
    """Choose an issuer and enter rules."""

    #: The rules of the key today, and whether they may stay.
    _had: Trust | None = None
    _keeps = True

    issuer = forms.ChoiceField(
        label=gettext_lazy("Workload"),
        required=False,
        help_text=gettext_lazy(
            "Choose who runs the CI job, pod or server that may use this key. It then needs no "
            "secret: it sends the identity token that it already has."
        ),
    )
    claims = forms.CharField(
        label=gettext_lazy("Claims"),
        required=False,
        max_length=8000,
        strip=True,
        help_text=gettext_lazy(
            "One rule per line, such as repository_id=123456789. A token must match all rules."
        ),
        widget=forms.Textarea(
            attrs={
                "rows": 4,
                "autocomplete": "off",
                "spellcheck": "false",
                "placeholder": "repository_id=123456789\nenvironment=production",
            }
        ),
    )

    def offer_issuers(self, stored: str, *, required: bool, keeps: bool = True) -> None:
        """Offer the issuers of the site, and show what ``stored`` trusts.

        ``keeps`` allows rules that the user does not change, even if the site would refuse them
        for a new key.
        """
        field = self.fields["issuer"]
        assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for mypy
        entries = workload_settings.WORKLOAD_ISSUERS.values()
        choices = [(entry.url, _label(entry)) for entry in entries]
        field.choices = choices if required else [("", _("None: the key has a secret")), *choices]
        field.required = required
        self._keeps, self._had = keeps, rules.read(stored)
        if self._had is not None:
            self.fill(self._had)
            if self._had.issuer not in workload_settings.WORKLOAD_ISSUERS:
                # Otherwise the browser would choose another issuer.
                field.choices = [(self._had.issuer, self._had.issuer), *field.choices]

    def fill(self, trust: Trust) -> None:
        """Show what a key trusts."""
        lines = [f"{name}={value}" for name, value in trust.claims.items()]
        self.initial.update(issuer=trust.issuer, claims="\n".join(lines))
        rows = self.fields["claims"].widget.attrs
        rows["rows"] = max(rows["rows"], len(lines) + 1)

    def clean(self) -> dict[str, Any]:
        cleaned: dict[str, Any] = super().clean() or {}
        cleaned["trust"] = None
        if "issuer" not in self.fields or self.has_error("issuer"):
            return cleaned
        issuer, text = cleaned.get("issuer"), cleaned.get("claims") or ""
        if not issuer:
            if text:
                self.add_error("issuer", _("Choose who runs the workload."))
            return cleaned
        try:
            cleaned["trust"] = self._trust(issuer, _claims(text))
        except LifecycleError as error:
            self.add_error("claims", forms.ValidationError(error.message, error.code))
        return cleaned

    def _trust(self, issuer: str, claims: dict[str, str]) -> dict[str, Any] | None:
        """Return what the key trusts, or ``None`` to leave it. Raise ``LifecycleError``."""
        trust: dict[str, Any] = {"issuer": issuer, "claims": claims}
        had = self._had if self._had is not None and self._had.issuer == issuer else None
        try:
            if had is not None and had.audience in audiences(rules.find_issuer(issuer)):
                trust["audience"] = had.audience  # the form does not show it
            rules.clean(trust)
        except LifecycleError:
            if self._keeps and had is not None and had.claims == claims:
                return None
            raise
        return trust


def _claims(text: str) -> dict[str, str]:
    claims: dict[str, str] = {}
    for line in filter(None, map(str.strip, text.splitlines())):
        name, equals, value = (part.strip() for part in line.partition("="))
        if not equals or name in claims:
            message = _("Enter one rule per line, as name=value, each name once.")
            raise LifecycleError("invalid_trust", message, "trust")
        claims[name] = value
    return claims
