"""Describe the request bodies and their fields in the schema."""

from typing import Any

from drf_spectacular.extensions import OpenApiSerializerExtension, OpenApiSerializerFieldExtension
from drf_spectacular.openapi import AutoSchema

from ... import lifecycle, scopes
from ...models import PersonalAccessToken
from ..leaks import MOST

# No control characters: databases refuse some, and terminals interpret others. A name also needs
# a visible character.
_PLAIN = r"[^\u0000-\u001f\u007f-\u009f]*"
_VISIBLE = rf"^{_PLAIN}[^\s\u0000-\u001f\u007f-\u009f]{_PLAIN}$"
REASON: dict[str, Any] = {
    "type": "string",
    "maxLength": PersonalAccessToken._meta.get_field("revoked_reason").max_length,
    "pattern": f"^{_PLAIN}$",
}


class LeakedBodyExtension(OpenApiSerializerExtension):
    target_class = "apikeys.api.serializers.LeakedBody"

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        mapped = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        fields: dict[str, Any] = mapped.pop("properties")
        fields["tokens"] |= {"minItems": 1, "maxItems": MOST}
        return {
            "oneOf": [
                {
                    **mapped,
                    "properties": {name: field},
                    "required": [name],
                    "additionalProperties": False,
                }
                for name, field in fields.items()
            ]
        }


class BodyExtension(OpenApiSerializerExtension):
    target_class = "apikeys.api.serializers.Body"
    match_subclasses = True

    def map_serializer(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        mapped = auto_schema._map_serializer(self.target, direction, bypass_extensions=True)
        return {**mapped, "additionalProperties": False}


class NoteExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Note"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        column = self.target.column
        if column.blank:
            return {"type": "string", "maxLength": column.max_length, "pattern": f"^{_PLAIN}$"}
        limits = {"minLength": 1, "maxLength": column.max_length}
        return {"type": "string", **limits, "pattern": _VISIBLE}


class ReasonExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Reason"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        return REASON


class ScopeExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Scope"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        declared = scopes.declared()
        description = "\n".join(f"* `{name}`: {text}" for name, text in declared.items())
        return {"type": "string", "enum": list(declared), "description": description}


class ItemExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Item"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: Any) -> dict[str, Any]:
        return dict(self.target.schema)


class PublicKeyExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.PublicKey"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> Any:
        return {"oneOf": [{"type": "string"}, {"type": "object"}]}


class TrustExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Trust"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> Any:
        text = {"type": "string"}
        values = [text, {"type": "integer"}, {"type": "boolean"}]
        return {
            "type": "object",
            "properties": {
                "issuer": {**text, "description": "The name or URL of a trusted issuer."},
                "audience": {**text, "description": "The URL of this site, which is the default."},
                "claims": {"type": "object", "additionalProperties": {"oneOf": values}},
            },
            "required": ["issuer", "claims"],
            "additionalProperties": False,
        }


class MetadataExtension(OpenApiSerializerFieldExtension):
    target_class = "apikeys.api.serializers.Metadata"

    def map_serializer_field(self, auto_schema: AutoSchema, direction: str) -> Any:
        return {"type": "object", "additionalProperties": True}


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
