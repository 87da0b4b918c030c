from typing import Final

from django import forms
from django.apps import apps
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ..errors import LifecycleError
from ..refusals import EXCHANGE_REQUIRED, Refused
from .base import Circumstances, Fields, Json, Option, Phase, Restriction, Terms

_EXCHANGE_ONLY: Final = gettext_lazy(
    "Cannot call the API directly. Exchange it for short-lived access tokens."
)


class Columns(models.Model):
    direct_use = models.BooleanField(
        gettext_lazy("direct use"),
        default=True,
        help_text=gettext_lazy(
            "Whether API requests accept it. If not, only the token endpoint does."
        ),
    )

    class Meta:
        abstract = True


class DirectUse(Restriction):
    """Whether requests accept a key, or only the token endpoint, in exchange for a token."""

    name = "direct_use"
    phase = Phase.VERIFY
    empty = True
    columns = Columns
    label = gettext_lazy("Exchange only")
    field_name = "exchange_only"
    option = Option(
        "--no-direct-use",
        "Refuse requests with the key. It can only be exchanged for short-lived access tokens "
        "(requires apikeys.oauth).",
    )
    json = Json(
        bool,
        "Whether requests can use it. If false, only the token endpoint accepts it.",
        "Set to false to accept it at the token endpoint only.",
    )

    refusal = EXCHANGE_REQUIRED

    def parse(self, given: bool) -> bool:
        return given

    def from_option(self, given: bool) -> bool:
        return not given

    def covers(self, bound: bool, value: bool) -> bool:
        return bound or not value

    def check(self, value: bool, circumstances: Circumstances) -> None:
        if not circumstances.exchange:
            raise Refused(self.refusal)

    def check_terms(self, value: bool, terms: Terms) -> None:
        if terms.signs:
            message = _(
                "Only a key with a secret can be exchanged. A key that signs requests must "
                "allow direct use."
            )
            raise LifecycleError("exchange_needs_secret", message, self.name)

    def is_offered(self) -> bool:
        return apps.is_installed("apikeys.oauth")

    def field(self, fields: Fields) -> forms.Field:
        return fields.tick(label=self.label, help_text=_EXCHANGE_ONLY)

    def to_form(self, value: bool) -> bool:
        return not value

    def from_form(self, given: bool) -> bool:
        return not given

    def sentence(self, value: bool) -> str:
        return str(_EXCHANGE_ONLY)

    def as_json(self, value: bool) -> bool:
        return value
