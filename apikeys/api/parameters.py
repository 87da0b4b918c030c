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


class AuditParameters(PageParameters):
    key = serializers.RegexField(
        rf"\A{token.ID_PATTERN}\Z", required=False, help_text="The ID of a key."
    )
    event = serializers.ChoiceField(
        [each for each in AuditEvent.Event.choices if each[0] not in EVENTS_OF_SITE],
        required=False,
    )
