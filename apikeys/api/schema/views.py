"""Describe the views of keys, approvals and leaks, and the session, in the schema."""

from typing import Any

from django.conf import settings
from drf_spectacular.extensions import OpenApiAuthenticationExtension, OpenApiViewExtension
from drf_spectacular.openapi import AutoSchema
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)

from ... import token
from ...models import PersonalAccessToken, ProjectKey
from .. import access_serializers, serializers
from .. import parameters as parameters_of
from .answers import answer, one_key, problems
from .examples import (
    ENTRY,
    EVENT,
    OF_PROJECT,
    PAUSED,
    RECORD,
    REPLACES,
    SECRET,
    SECRET_OF_PROJECT,
)
from .fields import REASON
from .narrowing import ACTIONS, narrowing

_IDEMPOTENCY_KEY = OpenApiParameter(
    "Idempotency-Key",
    {"type": "string", "minLength": 1, "maxLength": 255, "pattern": "^[!-~]+$"},
    OpenApiParameter.HEADER,
    description="Send the same value within 24 hours to repeat a request without creating another "
    "key. The response then has `token: null` and the header `Idempotency-Replayed: true`.",
)
_REPLAYED = OpenApiParameter(
    "Idempotency-Replayed",
    {"type": "string", "enum": ["true"]},
    OpenApiParameter.HEADER,
    description="Set if the request is a repetition. No key was created.",
    response=[201],
)
_REASON = OpenApiParameter("reason", REASON, description="The reason, shown with the revoked key.")
_ID = OpenApiParameter(
    "id",
    {"type": "string", "pattern": f"^{token.ID_PATTERN}$"},
    OpenApiParameter.PATH,
    description="The ID of the key.",
)
_CREDENTIAL = OpenApiParameter(
    "id",
    {"type": "string", "pattern": f"^{token.ID_PATTERN}$"},
    OpenApiParameter.PATH,
    description="The ID of the credential, from the list.",
)
_SLUG = OpenApiParameter("slug", str, OpenApiParameter.PATH, description="The slug of the project.")
_ONE = (
    "retrieve", "partial_update", "destroy", "rotate", "pause", "resume", "approve", "reject",
    *ACTIONS,
)  # fmt: skip
_OF_ONE = extend_schema_view(**{action: extend_schema(parameters=[_ID]) for action in _ONE})
_OF_A_PROJECT = extend_schema_view(
    **{action: extend_schema(parameters=[_SLUG]) for action in ("list", "audit", "create", *_ONE)}
)


def _list(
    summary: str, description: str, facts: Any, parameters: Any = parameters_of.ListParameters
) -> Any:
    return extend_schema(
        summary=summary,
        description=description,
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
    """Return a decorator that describes a ``KeyViewSet`` of ``noun``."""
    made = facts | secret
    return extend_schema_view(
        list=_list(f"List {noun}s", f"Return the {noun}s that the caller may see.", facts),
        audit=extend_schema(
            summary=f"List the events of {noun}s",
            description=f"Return the audit events of the {noun}s that the caller may see.",
            parameters=[parameters_of.AuditParameters],
            request=None,
            responses={
                200: OpenApiResponse(
                    serializers.AuditEventSerializer(many=True),
                    "A page, newest first.",
                    [OpenApiExample("An event", EVENT)],
                ),
                **problems(400, 404),
            },
        ),
        create=extend_schema(
            summary=f"Create a {noun}",
            description="The response contains the secret. It is not shown again.",
            parameters=[_IDEMPOTENCY_KEY, _REPLAYED],
            request=view.create_body,
            examples=[OpenApiExample(f"A {noun}", example, request_only=True)],
            responses={
                **answer(201, serializers.MintedSerializer, "The new key and its secret.", made),
                **problems(400, 404, 409, 413, 415, 422),
            },
        ),
        retrieve=extend_schema(
            summary=f"Read a {noun}",
            description=f"Return a {noun} in any state, including expired and revoked.",
            responses={**one_key(facts), **problems(404)},
        ),
        partial_update=extend_schema(
            summary=f"Change a {noun}",
            description="Changes apply to the next request. Omitted fields stay as they are.",
            request=view.edit_body,
            examples=[OpenApiExample("Another name", {"name": "desk"}, request_only=True)],
            responses={**one_key(facts | {"name": "desk"}), **problems(400, 404, 409, 413, 415)},
        ),
        destroy=extend_schema(
            summary=f"Revoke a {noun}",
            description=f"Revoke the {noun} and every credential that was created with it. This "
            "cannot be undone. Repeating the request is not an error.",
            parameters=[_REASON],
            request=None,
            responses={
                204: OpenApiResponse(description="Revoked."),
                **problems(400, 404, 413, 415),
            },
        ),
        rotate=extend_schema(
            summary=f"Rotate a {noun}",
            description="Create a successor with the same name, scopes, projects and expiry, and a "
            "new secret.",
            parameters=[_IDEMPOTENCY_KEY, _REPLAYED],
            request=view.rotate_body,
            examples=[OpenApiExample("An hour", {"overlap_seconds": 3600}, request_only=True)],
            responses={
                **answer(
                    201,
                    serializers.MintedSerializer,
                    "The successor and its secret.",
                    made | REPLACES,
                ),
                **problems(400, 404, 409, 413, 415, 422),
            },
        ),
        pause=extend_schema(
            summary=f"Pause a {noun}",
            description=f"Refuse all requests with the {noun} until it is resumed. Nothing else of "
            "it changes. Repeating the request is not an error.",
            request=serializers.ReasonBody,
            examples=[OpenApiExample("A reason", {"reason": "Is it in use?"}, request_only=True)],
            responses={
                **one_key(facts | PAUSED),
                **problems(400, 404, 409, 413, 415),
            },
        ),
        resume=extend_schema(
            summary=f"Resume a {noun}",
            description=f"Let a paused {noun} work again. A credential must be able to grant all "
            f"that the {noun} has. Only a site admin can resume a {noun} that is held.",
            request=None,
            responses={**one_key(facts), **problems(400, 404, 409, 413, 415)},
        ),
        **narrowing(noun, facts),
        approve=extend_schema(
            summary=f"Approve a {noun}",
            description=f"Activate a pending {noun}. The policy decides who may approve it.",
            request=None,
            responses={**one_key(facts), **problems(400, 404, 409, 413, 415)},
        ),
        reject=extend_schema(
            summary=f"Reject a {noun}",
            description=f"Revoke a pending {noun}. The policy decides who may reject it.",
            request=serializers.ReasonBody,
            examples=[OpenApiExample("A reason", {"reason": "Read only."}, request_only=True)],
            responses={
                **one_key(facts | {"state": "revoked", "revoked_reason": "Read only."}),
                **problems(400, 404, 409, 413, 415),
            },
        ),
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

        @_keys("token", self.target, asked, RECORD, SECRET)
        @_OF_ONE
        class Described(self.target):  # type: ignore[name-defined]
            queryset = PersonalAccessToken.objects.none()

        return Described


class ProjectKeyViewSetExtension(OpenApiViewExtension):
    target_class = "apikeys.api.views.ProjectKeyViewSet"

    def view_replacement(self) -> Any:
        asked = {"name": "server", "scopes": ["payments:read"], "expires_at": None}

        @_keys("project key", self.target, asked, OF_PROJECT, SECRET_OF_PROJECT)
        @_OF_ONE
        @_OF_A_PROJECT
        class Described(self.target):  # type: ignore[name-defined]
            queryset = ProjectKey.objects.none()

        return Described


class ProjectAccessExtension(OpenApiViewExtension):
    target_class = "apikeys.api.access_views.ProjectAccessViewSet"

    def view_replacement(self) -> Any:
        reason, denied = "Unknown laptop.", {"denied": True, "denied_by": "ada"}
        denied |= {"denied_at": "2030-01-01T12:00:00+00:00", "denied_reason": reason}
        described = "Return the keys, workloads, tokens and applications that reach the project."
        parameters = [_SLUG, _CREDENTIAL]

        def one(facts: Any) -> Any:
            shape = access_serializers.EntrySerializer
            return {
                **answer(200, shape, "The facts of the credential.", facts),
                **problems(400, 404, 409, 413, 415),
            }

        @extend_schema_view(
            list=extend_schema(
                summary="List what reaches a project",
                description=described,
                parameters=[_SLUG, access_serializers.AccessParameters],
                request=None,
                responses={
                    200: OpenApiResponse(
                        access_serializers.EntrySerializer(many=True),
                        "A page.",
                        [OpenApiExample("A token", ENTRY)],
                    ),
                    **problems(400, 404),
                },
            ),
            deny=extend_schema(
                summary="Deny a credential in a project",
                description="From the next request on, it does not reach the project, and neither "
                "does what was created with it. A project key is paused.",
                parameters=parameters,
                request=serializers.ReasonBody,
                examples=[OpenApiExample("A reason", {"reason": reason}, request_only=True)],
                responses=one(ENTRY | denied),
            ),
            allow=extend_schema(
                summary="Allow a credential in a project",
                description="Take a denial back, or approve a token that is pending approval.",
                parameters=parameters,
                request=None,
                responses=one(ENTRY),
            ),
        )
        class Described(self.target):  # type: ignore[name-defined]
            queryset = ProjectKey.objects.none()

        return Described


class ApprovalsExtension(OpenApiViewExtension):
    target_class = "apikeys.api.views.Approvals"
    match_subclasses = True

    def view_replacement(self) -> Any:
        model = self.target.model
        noun, facts = "project key", OF_PROJECT
        if model is PersonalAccessToken:
            noun, facts = "token", RECORD
        summary = f"List {noun}s pending approval"
        facts = facts | {"state": "pending"}

        described = f"Return the {noun}s that the caller may approve."

        @extend_schema_view(list=_list(summary, described, facts, parameters_of.PageParameters))
        class Described(self.target):  # type: ignore[name-defined]
            queryset = model.objects.none()

        return Described


class TokenExtension(OpenApiViewExtension):
    target_class = "apikeys.api.views.TokenView"

    def view_replacement(self) -> Any:
        return extend_schema(
            summary="Read the current credential",
            responses={200: serializers.AccessSerializer, **problems(429)},
        )(self.target)


class _RequiredBody(AutoSchema):
    """Mark the request body as required.

    drf-spectacular treats a body as optional if none of its fields is always required.
    """

    def _get_request_body(self, direction: Any = "request") -> Any:
        body = super()._get_request_body(direction)
        return body and {**body, "required": True}


class LeakedExtension(OpenApiViewExtension):
    target_class = "apikeys.api.leaks.Leaked"

    def view_replacement(self) -> Any:
        def post(view: Any, request: Any) -> Any: ...

        vars(post)["schema"] = _RequiredBody()
        described = extend_schema(
            summary="Report leaked keys",
            auth=[],
            request=serializers.LeakedBody,
            responses={
                200: serializers.LeakedAnswer,
                **{s: p for s, p in problems(400, 413, 415).items() if s not in (401, 403)},
            },
        )(post)
        members = {
            "serializer_class": serializers.LeakedBody,
            "post": described,
            "__doc__": self.target.__doc__,
        }
        return type("Described", (self.target,), members)


class SessionAuthenticationScheme(OpenApiAuthenticationExtension):
    target_class = "apikeys.api.authentication.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: AutoSchema) -> dict[str, Any]:
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "A user who is logged in on the site. Requests that write also need "
            "the CSRF token in the header `X-CSRFToken`.",
        }
