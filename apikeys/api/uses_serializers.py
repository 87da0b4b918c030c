"""The parameters, bodies and responses about what a key used."""

from typing import Any

from rest_framework import serializers

from .. import moments
from ..conf import slug_of
from ..errors import LifecycleError
from ..lifecycle.narrowing import DAYS, LEAST, MOST_DAYS, Uses
from .serializers import Body, OneKeySerializer, Whole

_DAYS: dict[str, Any] = {
    "default": DAYS,
    "min_value": LEAST.days,
    "max_value": MOST_DAYS,
    "help_text": "How far back a use counts, in days.",
}


class UsesParameters(serializers.Serializer[Any]):
    days = serializers.IntegerField(
        **_DAYS
        | {
            "help_text": f"How far back a use counts, in days: {LEAST.days} to {MOST_DAYS}. The "
            f"default is {DAYS}."
        }
    )


class NarrowBody(Body):
    """How to narrow a key to what it used."""

    days = Whole(**_DAYS)
    dry_run = serializers.BooleanField(
        default=False, help_text="Return what would be removed, and change nothing."
    )


class ScopeUseSerializer(serializers.Serializer[dict[str, object]]):
    """The uses of a scope."""

    scope = serializers.CharField()
    first_used_at = serializers.DateTimeField(
        allow_null=True, help_text="Null if no use was recorded."
    )
    last_used_at = serializers.DateTimeField(
        allow_null=True, help_text="Null if no use was recorded."
    )
    requests = serializers.IntegerField(
        allow_null=True,
        help_text="The number of requests that used it. Null if no use was recorded.",
    )


class UsesSerializer(serializers.Serializer[dict[str, object]]):
    """The uses of a key, and the scopes and projects that narrowing removes."""

    days = serializers.IntegerField(help_text="How far back a use counts, in days.")
    since = serializers.DateTimeField(
        help_text="From when on uses count. Later than `days` ago if the key, or the record of "
        "uses, is younger."
    )
    scopes = ScopeUseSerializer(
        many=True,
        help_text="The scopes of the key, with their uses also before `since`. Uses of the keys "
        "that it replaced by rotation count.",
    )
    would_keep = serializers.ListField(
        child=serializers.CharField(),
        help_text="The scopes that the key has after narrowing. If it has `payments:write` and "
        "only read, this is `payments:read`.",
    )
    would_remove = serializers.ListField(
        child=serializers.CharField(), help_text="The scopes that narrowing removes."
    )
    would_keep_projects = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="The slugs of the selected projects that stay. Null if narrowing does not "
        "change the projects.",
    )
    would_remove_projects = serializers.ListField(
        child=serializers.CharField(),
        help_text="The slugs of the selected projects that narrowing removes.",
    )
    would_refuse = serializers.CharField(
        allow_null=True,
        help_text="The code of the error if the key cannot be narrowed now, such as "
        "`nothing_used`. Then nothing is removed. Null if it can.",
    )


class NarrowedSerializer(UsesSerializer):
    """The uses of a key before it was narrowed, and the key."""

    key = OneKeySerializer(help_text="The key. With `dry_run`, it is unchanged.")


def record_uses(found: Uses, refusal: LifecycleError | None = None) -> dict[str, Any]:
    """Return ``found`` as JSON. ``refusal`` is why the key cannot be narrowed."""
    kept = found.projects if refusal is None else None
    gone = found.projects_removed if refusal is None else ()
    return {
        "days": found.days,
        "since": moments.iso(found.since),
        "scopes": [
            {
                "scope": name,
                "first_used_at": use and moments.iso(use.first),
                "last_used_at": use and moments.iso(use.last),
                "requests": use and use.requests,
            }
            for name, use in found.scopes.items()
        ],
        "would_keep": list(found.keep if refusal is None else found.scopes),
        "would_remove": list(found.removed if refusal is None else ()),
        "would_keep_projects": None if kept is None else sorted(map(slug_of, kept)),
        "would_remove_projects": sorted(map(slug_of, gone)),
        "would_refuse": refusal and refusal.code,
    }
