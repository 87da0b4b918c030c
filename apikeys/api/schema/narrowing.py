"""Describe in the schema how to narrow a key to what it used."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample, extend_schema

from .. import uses_serializers
from .answers import OF_ONE_KEY, answer, one_key, problems
from .examples import USES

#: The actions that ``narrowing`` describes.
ACTIONS: Final = ("uses", "narrow", "undo_narrowing")


def narrowing(noun: str, facts: Any) -> dict[str, Any]:
    """Return the descriptions of ``ACTIONS`` for keys that are called ``noun``."""
    narrowed = USES | {"key": facts | OF_ONE_KEY | {"scopes": USES["would_keep"]}}
    return {
        "uses": extend_schema(
            summary=f"Read what a {noun} used",
            description=f"Return when each scope of the {noun} was used, and what narrowing it "
            "would remove.",
            parameters=[uses_serializers.UsesParameters],
            responses={
                **answer(200, uses_serializers.UsesSerializer, "What it used.", USES),
                **problems(400, 404),
            },
        ),
        "narrow": extend_schema(
            summary=f"Narrow a {noun} to what it used",
            description=f"Remove the scopes and selected projects that the {noun} did not use. "
            "This can be undone for 7 days. With `dry_run`, nothing changes.",
            request=uses_serializers.NarrowBody,
            examples=[OpenApiExample("A dry run", {"dry_run": True}, request_only=True)],
            responses={
                **answer(200, uses_serializers.NarrowedSerializer, "What it used.", narrowed),
                **problems(400, 404, 409, 413, 415),
            },
        ),
        "undo_narrowing": extend_schema(
            summary=f"Undo the narrowing of a {noun}",
            description="Restore what the last narrowing removed, within 7 days and if no one "
            f"changed the scopes or projects of the {noun} since. A credential must be able to "
            f"grant everything that the {noun} has after the undo.",
            request=None,
            responses={**one_key(facts), **problems(400, 404, 409, 413, 415)},
        ),
    }
