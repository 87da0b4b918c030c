"""Describe the JSON API of bindings to drf-spectacular. Imported only if it is installed."""

from typing import Any

from drf_spectacular.extensions import OpenApiViewExtension
from drf_spectacular.utils import (
    OpenApiExample,
    OpenApiParameter,
    OpenApiResponse,
    extend_schema,
    extend_schema_view,
)

from ..api.schema.answers import problems
from .api import BindingParameters, BindingSerializer
from .models import ResourceBinding

_ASKED = {"project": "analytical-engine", "kind": "subscriber_id", "identifier": "1001"}
_BINDING = {"id": 42, "user": None, **_ASKED, "created_at": "2030-01-01T12:00:00Z"}
_ID = OpenApiParameter("id", {"type": "integer", "minimum": 1}, OpenApiParameter.PATH)


def _one(description: str) -> OpenApiResponse:
    example = OpenApiExample("A binding", _BINDING, response_only=True)
    return OpenApiResponse(BindingSerializer, description, [example])


class BindingViewSetExtension(OpenApiViewExtension):
    target_class = "apikeys.gateway.api.BindingViewSet"

    def view_replacement(self) -> Any:
        @extend_schema_view(
            list=extend_schema(
                summary="List bindings",
                description="Filter by owner, kind and identifier.",
                parameters=[BindingParameters],
                responses={
                    200: OpenApiResponse(
                        BindingSerializer(many=True),
                        "A page of bindings, newest first.",
                        [OpenApiExample("A binding", _BINDING)],
                    ),
                    **problems(400),
                },
            ),
            create=extend_schema(
                summary="Bind a resource",
                description="Bind it to either a user or a project. Takes effect at once.",
                request=BindingSerializer,
                examples=[OpenApiExample("Bind to a project", _ASKED, request_only=True)],
                responses={201: _one("The new binding."), **problems(400, 413, 415)},
            ),
            retrieve=extend_schema(
                summary="Read a binding",
                description="Return one binding.",
                parameters=[_ID],
                responses={200: _one("The binding."), **problems(404)},
            ),
            destroy=extend_schema(
                summary="Unbind a resource",
                description="Takes effect at once: the next request for the resource is refused.",
                parameters=[_ID],
                responses={204: OpenApiResponse(description="Unbound."), **problems(404)},
            ),
        )
        class Described(self.target):  # type: ignore[name-defined]
            queryset = ResourceBinding.objects.none()

        return Described
