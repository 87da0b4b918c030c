"""What drf-spectacular tells of the JSON API; imported where it is installed."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import (
    OpenApiAuthenticationExtension,
    OpenApiSerializerExtension,
    OpenApiSerializerFieldExtension,
    OpenApiViewExtension,
)
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)

from .. import lifecycle, scopes, token
from ..models import PersonalAccessToken, ProjectKey
from . import serializers

_RECORD: dict[str, Any] = {
    "kind": "personal_access_token",
    "id": "7k2m4q0x9c1v8b3n",
    "name": "laptop",
    "user": "ada",
    "project": None,
    "scopes": ["payments:read"],
    "projects": ["analytical-engine"],
    "allowed_networks": [],
    "rate_limits": [],
    "expires_at": "2030-01-31T12:00:00+00:00",
    "direct_use": True,
    "public_key": None,
    "state": "live",
    "created_at": "2030-01-01T12:00:00+00:00",
    "created_by": "ada",
    "last_used_at": None,
    "last_used_ip": None,
    "minted_with": None,
    "legacy": None,
    "approved_at": None,
    "approved_by": None,
    "rotated_at": None,
    "replaces": None,
    "replaced_by": None,
    "revoked_at": None,
    "revoked_by": None,
    "revoked_reason": None,
}
_OF_PROJECT = _RECORD | {"kind": "project_key", "name": "server", "user": None}
_OF_PROJECT |= {"project": "analytical-engine"}
_EVENT = {
    "id": 42,
    "at": "2030-01-01T12:00:00+00:00",
    "event": "revoked",
    "kind": "personal_access_token",
    "key": "7k2m4q0x9c1v8b3n",
    "name": "laptop",
    "owner": "ada",
    "by": "ada",
    "using": None,
    "instance": None,
    "authorized_by": None,
    "ip": "203.0.113.7",
    "changes": {"reason": "Lost."},
}
_SECRET = {"token": "acme_pat_7k2m4q0x9c1v8b3n_9fQ3…"}
_SECRET_OF_PROJECT = {"token": "acme_key_7k2m4q0x9c1v8b3n_9fQ3…"}
_REPLACES = {"replaces": "0c5v7b9n1m3k5j7h"}

_PROBLEMS = {
    400: ("The request makes no sense as it is.", serializers.InvalidSerializer, "unknown_field"),
    401: ("No credential, or one that is no good.", serializers.ProblemSerializer, "expired_key"),
    403: (
        "Good, but not for this: a scope, the role, or what the credential may give.",
        serializers.ProblemSerializer,
        "scope_not_grantable",
    ),
    404: (
        "There is none, as far as the caller may know.",
        serializers.ProblemSerializer,
        "not_found",
    ),
    406: ("JSON only.", serializers.ProblemSerializer, "not_acceptable"),
    409: ("Not in the state that it is in.", serializers.ProblemSerializer, "already_rotated"),
    413: ("Too large a body.", serializers.ProblemSerializer, "body_too_large"),
    415: ("JSON only.", serializers.ProblemSerializer, "unsupported_media_type"),
    422: (
        "The Idempotency-Key belongs to another request.",
        serializers.ProblemSerializer,
        "idempotency_key_reused",
    ),
    503: (
        "A key whose pepper is gone cannot be checked just now.",
        serializers.ProblemSerializer,
        "verification_busy",
    ),
}

_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="The same request with the same key within a day makes one key. The second "
    "answer has its record, with `token: null`, and the header `Idempotency-Replayed: true`.",
)
_REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    description="Where this was asked for before, and nothing was made now.",
    response=[201],
)
# Of characters that databases take and terminals survive; a name has something to see as well.
_PLAIN = r"[^\u0000-\u001f\u007f-\u009f]*"
_VISIBLE = rf"^{_PLAIN}[^\s\u0000-\u001f\u007f-\u009f]{_PLAIN}$"
_REASON_SCHEMA: dict[str, Any] = {
    "type": "string",
    "maxLength": PersonalAccessToken._meta.get_field("revoked_reason").max_length,
    "pattern": f"^{_PLAIN}$",
}
_REASON = OpenApiParameter("reason", _REASON_SCHEMA, description="Shown with the revoked key.")


def problems(*statuses: int) -> dict[int, OpenApiResponse]:
    found = {}
    for status in sorted({401, 403, 406, 503, *statuses}):
        description, shape, code = _PROBLEMS[status]
        example = OpenApiExample(code, {"detail": f"{description}", "code": code})
        found[status] = OpenApiResponse(shape, description, [example])
    return found


def _answer(status: int, shape: Any, description: str, facts: Any) -> dict[int, OpenApiResponse]:
    example = OpenApiExample(description, facts, response_only=True, status_codes=[str(status)])
    return {status: OpenApiResponse(shape, description, [example])}


def _one(facts: Any) -> dict[int, OpenApiResponse]:
    return _answer(200, serializers.KeySerializer, "The record.", facts)


def _list(summary: str, facts: Any, parameters: Any = serializers.ListParameters) -> Any:
    return extend_schema(
        summary=summary,
        parameters=[parameters],
        request=None,
        responses={
            200: OpenApiResponse(
                serializers.KeySerializer(many=True),
                "A page, newest first.",
                [OpenApiExample("A key", facts)],
            ),
            **problems(400, 404),
        },
    )


def _keys(noun: str, view: Any, example: Any, facts: Any, secret: Any) -> Any:
    """The schema of a ``KeyViewSet``."""
    made = facts | secret
    return extend_schema_view(
        list=_list(f"List {noun}s", facts),
        audit=extend_schema(
            summary=f"What happened to the {noun}s",
            parameters=[serializers.AuditParameters],
            request=None,
            responses={
                200: OpenApiResponse(
                    serializers.AuditEventSerializer(many=True),
                    "A page, newest first.",
                    [OpenApiExample("An event", _EVENT)],
                ),
                **problems(400, 404),
            },
        ),
        create=extend_schema(
            summary=f"Make a {noun}",
            description="The secret is in the answer, this once.",
            parameters=[_IDEMPOTENCY_KEY, _REPLAYED],
            request=view.create_body,
            examples=[OpenApiExample(f"A {noun}", example, request_only=True)],
            responses={
                **_answer(201, serializers.MintedSerializer, "The record and the secret.", made),
                **problems(400, 404, 409, 413, 415, 422),
            },
        ),
        retrieve=extend_schema(
            summary=f"Read a {noun}",
            description="Also of one that was revoked.",
            responses={**_one(facts), **problems(404)},
        ),
        partial_update=extend_schema(
            summary=f"Change a {noun}",
            description="From the next request on. What is left out stays as it is.",
            request=view.edit_body,
            examples=[OpenApiExample("Another name", {"name": "desk"}, request_only=True)],
            responses={**_one(facts | {"name": "desk"}), **problems(400, 404, 409, 413, 415)},
        ),
        destroy=extend_schema(
            summary=f"Revoke a {noun}",
            description="At once and for good, with all that was made with it. "
            "The record stays. Again is no error.",
            parameters=[_REASON],
            request=None,
            responses={
                204: OpenApiResponse(description="Revoked."),
                **problems(400, 404, 413, 415),
            },
        ),
        rotate=extend_schema(
            summary=f"Rotate a {noun}",
            description="Makes its successor, with the same name, scopes, projects and expiry.",
            parameters=[_IDEMPOTENCY_KEY, _REPLAYED],
            request=view.rotate_body,
            examples=[OpenApiExample("An hour", {"overlap_seconds": 3600}, request_only=True)],
            responses={
                **_answer(
                    201,
                    serializers.MintedSerializer,
                    "The record of the successor and the secret.",
                    made | _REPLACES,
                ),
                **problems(400, 404, 409, 413, 415, 422),
            },
        ),
        approve=extend_schema(
            summary=f"Approve a {noun}",
            description="For whom the site's policy lets decide on it.",
            request=None,
            responses={**_one(facts), **problems(400, 404, 409, 413, 415)},
        ),
        reject=extend_schema(
            summary=f"Reject a {noun}",
            description="Revokes it. For whom the site's policy lets decide on it.",
            request=serializers.ReasonBody,
            examples=[OpenApiExample("A reason", {"reason": "Read only."}, request_only=True)],
            responses={
                **_one(facts | {"state": "revoked", "revoked_reason": "Read only."}),
                **problems(400, 404, 409, 413, 415),
            },
        ),
    )


_ID = OpenApiParameter(
    "id",
    {"type": "string", "pattern": f"^[0-9a-z]{{{token.ID_LENGTH}}}$"},
    OpenApiParameter.PATH,
    description="The public id.",
)
_SLUG = OpenApiParameter("slug", str, OpenApiParameter.PATH, description="Of the project.")
_ONE = ("retrieve", "partial_update", "destroy", "rotate", "approve", "reject")
_OF_ONE = extend_schema_view(**{action: extend_schema(parameters=[_ID]) for action in _ONE})
_OF_A_PROJECT = extend_schema_view(
    **{action: extend_schema(parameters=[_SLUG]) for action in ("list", "create", *_ONE)}
)


class TokenViewSetExtension(OpenApiViewExtension):
    target_class = "apikeys.api.views.TokenViewSet"

    def view_replacement(self) -> Any:
        asked = {
            "name": "laptop",
            "scopes": ["payments:read"],
            "expires_at": "2030-01-31T12:00:00Z",
            "projects": ["analytical-engine"],
        }

        @_keys("token", self.target, asked, _RECORD, _SECRET)
        @_OF_ONE
        class Described(self.target):  # type: ignore[name-defined]
            queryset = PersonalAccessToken.objects.none()

        return Described


class ProjectKeyViewSetExtension(OpenApiViewExtension):
    target_class = "apikeys.api.views.ProjectKeyViewSet"

    def view_replacement(self) -> Any:
        asked = {"name": "server", "scopes": ["payments:read"], "expires_at": None}

        @_keys("project key", self.target, asked, _OF_PROJECT, _SECRET_OF_PROJECT)
        @_OF_ONE
        @_OF_A_PROJECT
        class Described(self.target):  # type: ignore[name-defined]
            queryset = ProjectKey.objects.none()

        return Described


class ApprovalsExtension(OpenApiViewExtension):
    target_class = "apikeys.api.views.Approvals"
    match_subclasses = True

    def view_replacement(self) -> Any:
        model = self.target.model
        noun, facts = "project key", _OF_PROJECT
        if model is PersonalAccessToken:
            noun, facts = "token", _RECORD
        summary = f"List the {noun}s that await the caller's approval"
        facts = facts | {"state": "pending"}

        @extend_schema_view(list=_list(summary, facts, serializers.PageParameters))
        class Described(self.target):  # type: ignore[name-defined]
            queryset = model.objects.none()

        return Described


class LeakedExtension(OpenApiViewExtension):
    target_class = "apikeys.api.leaks.Leaked"

    def view_replacement(self) -> Any:
        class Described(self.target):  # type: ignore[name-defined]
            serializer_class = serializers.LeakedBody

            @extend_schema(
                summary="Revoke keys that were found where they should not be",
                auth=[],
                request=serializers.LeakedBody,
                responses={
                    200: serializers.LeakedAnswer,
                    **{s: p for s, p in problems(400, 413, 415).items() if s not in (401, 403)},
                },
            )
            def post(self, request: Any) -> Any: ...

        return Described


class BodyExtension(OpenApiSerializerExtension):
    target_class = "apikeys.api.serializers.Body"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        mapped = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**mapped, "additionalProperties": False}


class NameExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Name"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        limit = PersonalAccessToken._meta.get_field("name").max_length
        return {"type": "string", "minLength": 1, "maxLength": limit, "pattern": _VISIBLE}


class ReasonExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Reason"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        return _REASON_SCHEMA


class ScopeExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Scope"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        declared = scopes.declared()
        told = "\n".join(f"* `{name}`: {text}" for name, text in declared.items())
        return {"type": "string", "enum": list(declared), "description": told}


class NetworkExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Network"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        byte = "(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
        cidr = {"type": "string", "pattern": rf"^{byte}\.{byte}\.{byte}\.0/24$"}
        single = [{"type": "string", "format": name} for name in ("ipv4", "ipv6")]
        return {"anyOf": [*single, cidr], "description": "CIDRs of other sizes likewise."}


class RateExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Rate"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        pattern = "^[1-9][0-9]{0,8}/(second|minute|hour|day)$"
        return {"type": "string", "pattern": pattern, "example": "1000/hour"}


class PublicKeyExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.PublicKey"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> Any:
        return {"oneOf": [{"type": "string"}, {"type": "object"}]}


class SomeExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Some"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        mapped = auto_schema._map_serializer_field(self.target, direction, bypass_extensions=True)
        return {**mapped, "minItems": 1}


class SecondsExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Seconds"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        most = int(lifecycle.MAX_OVERLAP.total_seconds())
        return {"type": "integer", "minimum": 0, "maximum": most}


class SessionAuthenticationScheme(OpenApiAuthenticationExtension):
    target_class = "apikeys.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "A person who is logged in on the site. Whatever writes needs the "
            "CSRF token as the header `X-CSRFToken` too.",
        }
