"""Describe the responses of each view, and its errors, in the schema."""

from typing import Any, Final

from drf_spectacular.utils import OpenApiExample, OpenApiResponse

from .. import serializers

_PROBLEMS = {
    400: (
        "The request is invalid. `errors` lists the reasons.",
        serializers.InvalidSerializer,
        "unknown_field",
    ),
    401: (
        "The credential is missing or invalid.",
        serializers.ProblemSerializer,
        "expired_key",
    ),
    403: (
        "The credential or the user does not have permission.",
        serializers.ProblemSerializer,
        "scope_not_grantable",
    ),
    404: (
        "The resource does not exist, or the caller may not see it.",
        serializers.ProblemSerializer,
        "not_found",
    ),
    406: ("Responses are available as JSON only.", serializers.ProblemSerializer, "not_acceptable"),
    409: (
        "The current state of the key does not allow this.",
        serializers.ProblemSerializer,
        "already_rotated",
    ),
    413: ("The request body is too large.", serializers.ProblemSerializer, "body_too_large"),
    415: (
        "Send the request body as JSON.",
        serializers.ProblemSerializer,
        "unsupported_media_type",
    ),
    422: (
        "The Idempotency-Key was used for another request.",
        serializers.ProblemSerializer,
        "idempotency_key_reused",
    ),
    429: (
        "Too many requests with the credential or from the address.",
        serializers.ProblemSerializer,
        "rate_limited",
    ),
    503: (
        "The credential cannot be checked right now. Try again after `Retry-After`.",
        serializers.ProblemSerializer,
        "verification_busy",
    ),
}


def problems(*statuses: int) -> dict[int, OpenApiResponse]:
    found = {}
    for status in sorted({401, 403, 406, 503, *statuses}):
        description, shape, code = _PROBLEMS[status]
        example = OpenApiExample(code, {"detail": f"{description}", "code": code})
        found[status] = OpenApiResponse(shape, description, [example])
    return found


def answer(status: int, shape: Any, description: str, facts: Any) -> dict[int, OpenApiResponse]:
    example = OpenApiExample(description, facts, response_only=True, status_codes=[str(status)])
    return {status: OpenApiResponse(shape, description, [example])}


#: The facts that only the response about one key has.
OF_ONE_KEY: Final[dict[str, Any]] = {
    "used_after_end": None,
    "used_after_denial": [],
    "awaits_approval_in": [],
}


def one_key(facts: Any) -> dict[int, OpenApiResponse]:
    facts = facts | OF_ONE_KEY
    return answer(200, serializers.OneKeySerializer, "The facts of the key.", facts)
