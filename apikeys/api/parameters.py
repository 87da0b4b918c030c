"""The query parameters of lists in the JSON API."""

from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers

from .. import token
from ..models import AuditEvent, State
from ..models.audit import EVENTS_OF_SITE


class PageParameters(serializers.Serializer[Any]):
    cursor = serializers.CharField(
        required=False, help_text="The cursor from `next` or `previous`."
    )
    page_size = serializers.IntegerField(
        required=False, min_value=1, max_value=100, help_text="The default is 50."
    )


class ListParameters(PageParameters):
    state = serializers.ChoiceField(State.choices, required=False)
    unused_for = serializers.RegexField(
        r"\A[0-9]{1,6}[mhdwy]\Z",
        required=False,
        error_messages={"invalid": _("Enter a duration such as 12h, 90d, 4w or 1y.")},
        help_text="List only keys that were not used for this time, such as `90d`: their last "
        "use is longer ago, or their creation if they were never used.",
    )


class _IdField(serializers.RegexField):
    """The ID of a key, with or without the prefix of the site."""

    def __init__(self, **kwargs: Any) -> None:
        prefix = rf"{token.PREFIX_PATTERN}_{token.KIND_PATTERN}_"
        super().__init__(rf"\A(?:{prefix})?{token.ID_PATTERN}\Z", **kwargs)

    def to_internal_value(self, data: Any) -> str:
        return token.without_prefix(super().to_internal_value(data))


class AuditParameters(PageParameters):
    key = _IdField(
        required=False,
        help_text="The ID of a key, such as `zejlosc9kd96fngc` or `acme_pat_zejlosc9kd96fngc`.",
    )
    event = serializers.ChoiceField(
        [each for each in AuditEvent.Event.choices if each[0] not in EVENTS_OF_SITE],
        required=False,
    )
