"""The fields of a form that choose the expiry of a key."""

from datetime import date, datetime, timedelta
from typing import Any, Final

from django import forms
from django.utils import timezone
from django.utils.formats import date_format
from django.utils.timesince import timeuntil
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from .. import moments
from ..conf.presets import hours
from ..models import AnyKey
from ..policy import get_policy
from .fields import INVALID_DAY, KeylessForm

PRESETS: Final = (7, 30, 60, 90)
KEEP, CUSTOM, NEVER, AGAIN = "keep", "custom", "none", "again"


def days(number: int) -> str:
    return ngettext("%(n)d day", "%(n)d days", number) % {"n": number}


class ExpiryForm(KeylessForm):
    """Choose the expiry of a key: a preset, a date or never, within the limits of the policy.

    Hours, such as ``1h``, are offered only if a link or a preset of the site asks for them.
    """

    expiry = forms.ChoiceField(
        label=gettext_lazy("Expires"),
        widget=forms.RadioSelect,
        error_messages={"required": gettext_lazy("Choose an expiry.")},
    )
    expires_on = forms.DateField(
        label=gettext_lazy("Last day"),
        required=False,
        widget=forms.DateInput(format="%Y-%m-%d", attrs={"type": "date"}),
        error_messages={"invalid": INVALID_DAY},
    )

    def __init__(
        self, *args: Any, owner: Any, key: AnyKey | None = None, start: datetime, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.key = key
        #: The lifetime that the choice ``AGAIN`` gives.
        self.again: timedelta | None = None
        policy = get_policy()
        longest = policy.longest_lifetime(owner)
        self.latest = start + longest if longest is not None else None
        choices: list[tuple[str, str]] = []
        if key is not None:
            ends = key.expires_at
            keep = _("No expiry") if ends is None else _("Keep %(when)s") % {"when": _when(ends)}
            choices.append((KEEP, keep))
        choices += [(str(n), days(n)) for n in PRESETS if self._allows(timedelta(days=n))]
        if longest is not None and key is None and not choices:
            choices.append(("longest", _("%(time)s (maximum)") % {"time": days(longest.days)}))
        choices.append((CUSTOM, _("Custom")))
        keeps_none = key is not None and key.expires_at is None
        if longest is None and policy.allows_no_expiry(owner) and not keeps_none:
            choices.append((NEVER, _("No expiry")))
        expiry, expires_on = self.fields["expiry"], self.fields["expires_on"]
        assert isinstance(expiry, forms.ChoiceField)  # noqa: S101 - for mypy
        expiry.choices = choices
        values = [value for value, _label in choices]
        expiry.initial = KEEP if key else next(v for v in ("30", *values) if v in values)
        expires_on.widget.attrs["min"] = moments.today().isoformat()
        if timezone.get_current_timezone_name() != timezone.get_default_timezone_name():
            zone = {"zone": timezone.get_default_timezone_name()}
            expires_on.help_text = _("The last day ends at midnight in %(zone)s.") % zone
        if self.latest is not None:
            expires_on.widget.attrs["max"] = moments.day_of(self.latest).isoformat()
        for text in self._sent("expiry"):
            self.offer_hours(str(text))

    def offer_hours(self, text: str) -> bool:
        """Offer a number of hours, such as ``1h``. Return whether the policy allows it."""
        lifetime = hours(text)
        if lifetime is None or not self._allows(lifetime):
            return False
        expiry = self.fields["expiry"]
        assert isinstance(expiry, forms.ChoiceField)  # noqa: S101 - for mypy
        offered: Any = expiry.choices
        if text not in dict(offered):
            number = lifetime // timedelta(hours=1)
            label = ngettext("%(n)d hour", "%(n)d hours", number) % {"n": number}
            expiry.choices = [(text, label), *offered]
        return True

    def offer_again(self, lifetime: timedelta) -> None:
        """Offer ``lifetime`` from now, within the policy, and choose it."""
        if self.latest is not None:
            lifetime = min(lifetime, self.latest - timezone.now())
        expiry = self.fields["expiry"]
        assert isinstance(expiry, forms.ChoiceField)  # noqa: S101 - for mypy
        number = round(lifetime / timedelta(days=1))
        offered: Any = expiry.choices
        if str(number) in dict(offered):
            expiry.initial = str(number)
            return
        self.again = lifetime
        time = days(number) if number else timeuntil(timezone.now() + lifetime, depth=1)
        label = _("%(time)s, as before") % {"time": time}
        expiry.choices = [(AGAIN, label), *offered]
        expiry.initial = AGAIN

    def _allows(self, lifetime: timedelta) -> bool:
        # A preset counts from the submission of the form, which is later than now.
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
                try:
                    cleaned["expires_at"] = self._end_of(day)
                except OverflowError:
                    invalid = self.fields["expires_on"].error_messages["invalid"]
                    self.add_error("expires_on", invalid)
            elif "expires_on" not in self.errors:
                self.add_error("expires_on", _("Enter the last day."))
        elif choice == AGAIN and self.again is not None:
            ends = timezone.now() + self.again
            cleaned["expires_at"] = ends if self.latest is None else min(ends, self.latest)
        elif choice == "longest" and self.latest is not None:
            cleaned["expires_at"] = self.latest
        elif choice:
            span = hours(choice) or timedelta(days=int(choice))
            cleaned["expires_at"] = timezone.now() + span
        if choice and choice != CUSTOM:
            self._check_date(cleaned)
        return cleaned

    def _check_date(self, cleaned: dict[str, Any]) -> None:
        """Refuse a date together with another choice, unless both mean the same day."""
        day, ends = cleaned.get("expires_on"), cleaned.get("expires_at")
        if not any(self._sent("expires_on")):
            return
        if day is None or ends is None or moments.day_of(ends) != day:
            self._answer("expiry", CUSTOM)
            if "expires_on" not in self.errors:
                message = _(
                    "You entered a date while another expiry was selected. The form now uses "
                    "the date. Check it and submit the form again."
                )
                self.add_error("expires_on", message)

    def _end_of(self, day: date) -> datetime:
        """Return the end of ``day``, or the latest time on that day that the policy allows."""
        end = moments.end_of(day)
        if self.latest is not None and moments.day_of(self.latest) == day:
            return min(end, self.latest)
        return end


def _when(moment: datetime) -> str:
    return date_format(moments.local(moment), "DATETIME_FORMAT")
