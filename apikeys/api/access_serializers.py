"""The parameters and the responses of ``access_views``."""

from typing import Any

from rest_framework import serializers

from ..reach.entries import FACTS, KINDS
from ..reach.listing import ANSWERS, ORDERS
from .parameters import PageParameters
from .serializers import FactsSerializer


class EntrySerializer(FactsSerializer):
    """A credential that reaches a project, without its secret."""

    facts = FACTS

    def get_fields(self) -> dict[str, Any]:
        return super().get_fields() | {"kind": serializers.ChoiceField(list(KINDS))}


class AccessParameters(PageParameters):
    q = serializers.CharField(
        required=False,
        max_length=100,
        help_text="A part of a name, a username or a client ID, or the start of an ID.",
    )
    kind = serializers.ChoiceField(list(KINDS), required=False)
    state = serializers.ChoiceField(["live", "pending", "paused"], required=False)
    denied = serializers.ChoiceField(
        list(ANSWERS),
        required=False,
        help_text=(
            "`awaiting` lists tokens that are pending approval, and `allowed` what was allowed."
        ),
    )
    used = serializers.RegexField(
        r"\A(?:never|(?:not-)?[0-9]{1,4})\Z",
        required=False,
        help_text="`never`, used in the last days (`30`), or older and not used since (`not-30`).",
    )
    sort = serializers.ChoiceField(
        [each for each in ORDERS if each],
        required=False,
        help_text="By default, tokens that are pending approval come first, then all by name.",
    )
