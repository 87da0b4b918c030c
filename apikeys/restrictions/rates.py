from collections.abc import Iterable
from typing import Final

from django import forms
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import LifecycleError
from ..limits import rates
from ..refusals import RATE_LIMITED
from .base import Fields, Json, Option, Phase, Restriction

MAX_RATES: Final = 5


class Columns(models.Model):
    rate_limits = models.CharField(
        gettext_lazy("rate limits"),
        max_length=200,
        blank=True,
        default="",
        help_text=gettext_lazy(
            "Maximum number of requests, such as 1000/hour. Separate several limits with spaces."
        ),
    )

    class Meta:
        abstract = True


class RateLimits(Restriction):
    """How often a key may be used."""

    name = "rate_limits"
    phase = Phase.SPEND
    empty = ""
    columns = Columns
    label = gettext_lazy("Rate limits")
    is_code = True
    option = Option(
        "--rate-limit",
        "A rate limit, such as 1000/hour (default: no limit). Repeat the option for several.",
        "A rate limit. Those that you give replace those of the key; none removes them. Repeat the "
        "option for several.",
        metavar="RATE",
        clear="none",
        absent="no limit",
    )
    json = Json(
        list[str],
        "The rate limits, such as 1000/hour. Empty for no limit.",
        "The maximum number of requests, such as 1000/hour.",
        item={
            "type": "string",
            "pattern": "^[1-9][0-9]{0,8}/(second|minute|hour|day)$",
            "example": "1000/hour",
        },
        most=MAX_RATES,
    )

    refusal = RATE_LIMITED

    def parse(self, given: Iterable[str]) -> str:
        found = []
        for text in given:
            try:
                found.append(rates.parse(text))
            except ValueError:
                message = _(
                    "%(text)s is not a rate limit. Enter one such as 1000/hour or 10/second."
                )
                message %= {"text": text[:60]}
                raise LifecycleError("invalid_rate_limit", message, self.name) from None
        if len(set(found)) > MAX_RATES:
            message = _("Enter at most %(most)d rate limits.") % {"most": MAX_RATES}
            raise LifecycleError("too_many_rate_limits", message, self.name)
        return rates.join(found)

    def covers(self, bound: str, value: str) -> bool:
        return set(bound.split()).issubset(value.split())

    def both(self, one: str, other: str) -> str:
        return rates.join(rates.parse_all(f"{one} {other}"))

    def rates(self, value: str) -> str:
        return value

    def not_grantable(self, bound: str) -> LifecycleError:
        message = _("The rate limits must include those of your credential: %(all)s.")
        names = {"all": ", ".join(bound.split())}
        return LifecycleError("rate_limit_not_grantable", message % names, self.name)

    def field(self, fields: Fields) -> forms.Field:
        help_text = gettext_lazy(
            "Maximum number of requests, such as 1000/hour. Leave empty for no limit."
        )
        return fields.words(label=self.label, help_text=help_text)

    def sentence(self, value: str) -> str:
        return _("Limited to %(names)s.") % {"names": ", ".join(value.split())}

    def display(self, value: str) -> str:
        return value

    def as_json(self, value: str) -> list[str]:
        return value.split()
