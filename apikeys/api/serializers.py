"""The bodies of requests and responses of the JSON API."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any, ClassVar, Final

from django.db.models import Choices
from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import empty

from .. import audit, moments
from ..access import EXTERNAL, OAUTH, PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from ..keys.facts import FACTS, Fact
from ..models.texts import TEXTS, about
from ..restrictions import RESTRICTIONS
from ..restrictions.base import Restriction
from .ended_serializers import DeniedUseSerializer, EndedUseSerializer


class AccessSerializer(serializers.Serializer[dict[str, object]]):
    """The credential of a request."""

    kind = serializers.ChoiceField([PERSONAL_ACCESS_TOKEN, PROJECT_KEY, OAUTH, EXTERNAL])
    id = serializers.CharField(help_text="The public ID.")
    name = serializers.CharField()
    user = serializers.CharField(allow_null=True)
    project = serializers.CharField(allow_null=True)
    client = serializers.CharField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField())
    projects = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    key = serializers.CharField(
        required=False, help_text="The ID of the key that was exchanged for an OAuth token."
    )
    issuer = serializers.CharField(
        required=False, help_text="The identity provider that issued an external token."
    )
    metadata = serializers.DictField(
        required=False, help_text="The metadata of the key. Absent if it has none."
    )
    signed = serializers.BooleanField(
        required=False,
        help_text="Whether the request is signed. If so, `name` is the name of the instance.",
    )
    authorized_by = serializers.CharField(
        required=False,
        allow_null=True,
        help_text="The user who approved the key of a signed request, or else created it.",
    )


def _field(kind: Any, **kwargs: Any) -> Any:
    """Return a serializer field for the Python type ``kind``."""
    if kind == list[str]:
        return serializers.ListField(child=serializers.CharField(), **kwargs)
    if issubclass(kind, Choices):
        return serializers.ChoiceField(kind.choices, **kwargs)
    return _FIELDS[kind](**kwargs)


_FIELDS: Final[dict[type, Any]] = {
    str: serializers.CharField,
    bool: serializers.BooleanField,
    datetime: serializers.DateTimeField,
    int: serializers.IntegerField,
    dict: serializers.JSONField,
}


class FactsSerializer(serializers.Serializer[dict[str, object]]):
    facts: ClassVar[Sequence[Fact]]

    def get_fields(self) -> dict[str, Any]:
        facts = {
            # Pass only the arguments that the fact sets.
            fact.name: _field(
                fact.type,
                **({"allow_null": True} if fact.optional else {}),
                **({"help_text": fact.about} if fact.about else {}),
            )
            for fact in self.facts
        }
        return facts | super().get_fields()


class KeySerializer(FactsSerializer):
    """The facts of a key, without its secret."""

    facts = FACTS


class OneKeySerializer(KeySerializer):
    """The facts of one key, without its secret."""

    used_after_end = EndedUseSerializer(
        allow_null=True,
        help_text="The uses of the key after its end: the first, the last, how many, and from "
        "where. Null without any.",
    )
    used_after_denial = DeniedUseSerializer(
        many=True,
        help_text="The same for each project in which the token was used although it is denied "
        "there. Always empty for a project key.",
    )
    awaits_approval_in = serializers.ListField(
        child=serializers.CharField(),
        help_text="The slugs of the projects that the token reaches only once someone approves it "
        "there. Always empty for a project key.",
    )


class MintedSerializer(KeySerializer):
    """The facts of a new key and its secret."""

    token = serializers.CharField(
        allow_null=True,
        help_text="The secret. It is not shown again. Null if the request is a repetition, "
        "because the secret is not stored. Null for a key that signs requests or trusts a "
        "workload, because it has no secret.",
    )


class ProblemSerializer(serializers.Serializer[dict[str, object]]):
    detail = serializers.CharField(
        help_text="A message for people, in the language of the request."
    )
    code = serializers.CharField(help_text="A stable code for programs.")
    field = serializers.CharField(
        required=False, help_text="The invalid field. Absent if no field is at fault."
    )


class InvalidSerializer(ProblemSerializer):
    errors = ProblemSerializer(  # type: ignore[assignment]
        many=True, required=False, help_text="All errors of the request."
    )


class Text(serializers.CharField):
    """Accept a JSON string. Refuse numbers and booleans instead of converting them."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Written(Text):
    """Text that ``lifecycle`` validates. Blank text passes here, and is refused there."""

    def run_validation(self, data: Any = empty) -> Any:
        return "" if isinstance(data, str) and not data.strip() else super().run_validation(data)


class Reason(Written):
    """The reason of a revocation or a pause."""


class Note(Written):
    """A text about a key, stored in the model field ``column``."""

    def __init__(self, column: Any) -> None:
        self.column = column
        help_text: dict[str, Any] = {"help_text": about(column)} if column.help_text else {}
        super().__init__(required=not column.blank, **help_text)


class Scope(Text):
    """The name of a scope. ``lifecycle`` refuses names that the site does not declare."""


class Item(Text):
    """An item in the list of a restriction. ``schema`` is its OpenAPI description."""

    def __init__(self, *, schema: Mapping[str, Any], **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.schema = schema


class Some(serializers.ListField):
    """A list with at least one item. ``lifecycle`` refuses an empty one."""


class Whole(serializers.IntegerField):
    """Accept a whole JSON number. Refuse strings and booleans instead of converting them."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():  # JSON does not distinguish 60 and 60.0
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class Seconds(Whole):
    """A number of seconds that ``lifecycle`` validates."""


class Moment(serializers.DateTimeField):
    """Accept ISO 8601. A time without an offset is in UTC. ``of_day`` converts a bare date."""

    def __init__(
        self, *, of_day: Callable[[date], datetime] = moments.end_of, **kwargs: Any
    ) -> None:
        super().__init__(default_timezone=UTC, **kwargs)
        self._of_day = of_day

    def to_internal_value(self, data: Any) -> datetime:
        day = moments.parse_day(data) if isinstance(data, str) else None
        try:
            if day is not None:
                return self._of_day(day)
            return moments.stored(super().to_internal_value(data))
        except OverflowError:
            self.fail("overflow")


class Body(serializers.Serializer[Any]):
    """Refuse unknown fields, so that a typo does not create a different key."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(self.fields)
            message = _("Unknown field. Valid fields: %(known)s.") % {"known": known}
            raise ValidationError(
                {
                    # A lone surrogate cannot be encoded as UTF-8.
                    name.encode(errors="backslashreplace").decode(): [
                        ErrorDetail(message, code="unknown_field")
                    ]
                    for name in unknown
                }
            )
        return super().to_internal_value(data)


class Untouched(serializers.Field[Any, Any, Any, Any]):
    """A value that ``lifecycle`` validates."""

    def to_internal_value(self, data: Any) -> Any:
        return data


class Metadata(Untouched):
    """The metadata of a key, a JSON object."""


class KeyBody(Body):
    """The fields of a key to create or change."""

    metadata = Metadata(
        required=False,
        help_text="A JSON object of up to 4 KB for your own code. It replaces all metadata of the "
        "key; `{}` removes it.",
    )
    scopes = Some(child=Scope())
    expires_at = Moment(
        required=False,
        allow_null=True,
        help_text="The expiry, in ISO 8601. A time without an offset is in UTC. A date means the "
        "end of that day in the site's time zone. Null means no expiry: a credential that "
        "expires cannot request it. Omit the field on a new key to get the longest lifetime "
        "that the credential and the policy allow.",
    )

    def get_fields(self) -> dict[str, Any]:
        others = super().get_fields()
        texts = {name: Note(column) for name, column in TEXTS.items()}
        common = {name: others.pop(name) for name in KeyBody._declared_fields}
        restrictions = {each.name: _asked(each) for each in RESTRICTIONS}
        return texts | common | restrictions | others


def _asked(restriction: Restriction) -> Any:
    """Return the request field of ``restriction``. ``lifecycle`` validates its value."""
    json = restriction.json
    kwargs: dict[str, Any] = {"required": False, "help_text": json.asked_about}
    if json.optional:
        kwargs["allow_null"] = True
    if json.type == list[str]:
        if json.most is not None:
            kwargs["max_length"] = json.most
        return serializers.ListField(child=Item(schema=json.item), **kwargs)
    if json.type is datetime:
        return Moment(of_day=json.of_day, **kwargs)
    return {bool: serializers.BooleanField, str: Text}[json.type](**kwargs)


class TokenBody(KeyBody):
    """The fields of a token to create or change."""

    projects = Some(
        child=Text(),
        required=False,
        allow_null=True,
        help_text="The slugs of the projects. Null for all current and future projects of the "
        "user.",
    )


class PublicKey(Untouched):
    """A public key, as PEM or as a JWK."""

    def to_internal_value(self, data: Any) -> Any:
        # As text, so that ``lifecycle`` refuses it. It would take ``false`` for "no public key".
        return data if isinstance(data, str | dict) else json.dumps(data)


class Trust(Untouched):
    """The workload that may use a key."""


class ProjectKeyBody(KeyBody):
    """The fields of a project key to create."""

    public_key = PublicKey(
        required=False,
        allow_null=True,
        help_text="Create a key that signs requests and has no secret: an Ed25519 or P-256 public "
        "key, as PEM (SubjectPublicKeyInfo) or as a JWK.",
    )
    trust = Trust(
        required=False,
        allow_null=True,
        help_text="Create a key without a secret that a workload may use, such as a CI job: the "
        "`issuer` of its identity token, and the `claims` that the token must have. `audience` is "
        "the URL of this site.",
    )


class EditProjectKeyBody(KeyBody):
    """The fields of a project key to change."""

    trust = Trust(
        required=False,
        allow_null=True,
        help_text="New rules for a key that trusts a workload.",
    )


class RotateBody(Body):
    """Options for a rotation."""

    overlap_seconds = Seconds(
        required=False,
        help_text="How long the old key keeps working, in seconds. The default is the setting "
        "`ROTATION_OVERLAP`.",
    )


class RotateProjectKeyBody(RotateBody):
    """Options for the rotation of a project key."""

    public_key = PublicKey(
        required=False,
        allow_null=True,
        help_text="A new public key, as PEM or as a JWK. It replaces the old public key or secret.",
    )
    trust = Trust(
        required=False,
        allow_null=True,
        help_text="The workload that may use the new key, which has no secret. Required if the "
        "old key trusts a workload.",
    )


class ReasonBody(Body):
    """The reason for revoking, rejecting or pausing a key."""

    reason = Reason(required=False)


class NoBody(Body):
    """An empty body."""


class AuditEventSerializer(FactsSerializer):
    """An event of the audit log."""

    facts = audit.FACTS


class LeakedBody(Body):
    token = serializers.CharField(required=False, help_text="A whole key, including its secret.")
    tokens = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="A list of whole keys."
    )


class LeakedAnswer(serializers.Serializer[dict[str, object]]):
    revoked = serializers.ListField(
        child=serializers.CharField(), help_text="The IDs of the revoked keys."
    )
    unknown = serializers.IntegerField(
        help_text="The number of texts that are not keys of this site."
    )
