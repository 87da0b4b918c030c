"""The shapes of the JSON API, as its schema tells them."""

import json
from datetime import UTC
from typing import Any

from django.utils.translation import gettext_lazy as _
from rest_framework import serializers
from rest_framework.exceptions import ErrorDetail, ValidationError
from rest_framework.fields import empty

from ..access import OAUTH, PERSONAL_ACCESS_TOKEN, PROJECT_KEY
from ..models import AuditEvent, State
from ..records import KINDS


class AccessSerializer(serializers.Serializer[dict[str, object]]):
    """``Access.facts()``."""

    kind = serializers.ChoiceField([PERSONAL_ACCESS_TOKEN, PROJECT_KEY, OAUTH])
    id = serializers.CharField(help_text="Public; not the secret.")
    name = serializers.CharField()
    user = serializers.CharField(allow_null=True)
    project = serializers.CharField(allow_null=True)
    client = serializers.CharField(allow_null=True)
    scopes = serializers.ListField(child=serializers.CharField())
    projects = serializers.ListField(child=serializers.CharField())
    expires_at = serializers.DateTimeField(allow_null=True)
    key = serializers.CharField(required=False, help_text="The key that a token was got with.")
    signed = serializers.BooleanField(
        required=False, help_text="The request was signed, by the instance called `name`."
    )
    authorized_by = serializers.CharField(
        required=False, allow_null=True, help_text="Who had approved its key, or made it."
    )


class KeySerializer(serializers.Serializer[dict[str, object]]):
    """``records.record()``."""

    kind = serializers.CharField(help_text=" or ".join(f"`{kind}`" for kind in KINDS) + ".")
    id = serializers.CharField(help_text="Public; not the secret.")
    name = serializers.CharField()
    user = serializers.CharField(allow_null=True, help_text="On whose behalf a token acts.")
    project = serializers.CharField(allow_null=True, help_text="To which a project key belongs.")
    scopes = serializers.ListField(child=serializers.CharField())
    projects = serializers.ListField(
        child=serializers.CharField(),
        allow_null=True,
        help_text="Slugs; null for all that the user is in, now and later.",
    )
    allowed_networks = serializers.ListField(
        child=serializers.CharField(), help_text="CIDRs; none for anywhere."
    )
    rate_limits = serializers.ListField(
        child=serializers.CharField(), help_text="Such as 1000/hour; none for no bound."
    )
    expires_at = serializers.DateTimeField(allow_null=True)
    direct_use = serializers.BooleanField(
        help_text="Whether requests take it, or only the token endpoint."
    )
    public_key = serializers.CharField(
        allow_null=True, help_text="In PEM, of a key that signs; null for one with a secret."
    )
    state = serializers.ChoiceField(State.choices)
    created_at = serializers.DateTimeField()
    created_by = serializers.CharField(allow_null=True)
    last_used_at = serializers.DateTimeField(allow_null=True)
    last_used_ip = serializers.CharField(allow_null=True)
    minted_with = serializers.CharField(
        allow_null=True, help_text="The credential that made it over the API, and that ends it."
    )
    legacy = serializers.CharField(
        allow_null=True, help_text="The scheme of a key that was imported, such as `knox`."
    )
    approved_at = serializers.DateTimeField(allow_null=True)
    approved_by = serializers.CharField(allow_null=True)
    rotated_at = serializers.DateTimeField(allow_null=True)
    replaces = serializers.CharField(allow_null=True, help_text="The key it was rotated from.")
    replaced_by = serializers.CharField(allow_null=True, help_text="The key it was rotated into.")
    revoked_at = serializers.DateTimeField(allow_null=True)
    revoked_by = serializers.CharField(allow_null=True)
    revoked_reason = serializers.CharField(allow_null=True)


class MintedSerializer(KeySerializer):
    token = serializers.CharField(
        allow_null=True,
        help_text="The secret, this once. Null where a request is repeated with its "
        "Idempotency-Key: it is stored nowhere; and of a key that signs: it has none.",
    )


class ProblemSerializer(serializers.Serializer[dict[str, object]]):
    detail = serializers.CharField(help_text="A sentence for people, in their language.")
    code = serializers.CharField(help_text="For programs.")
    field = serializers.CharField(required=False, help_text="The field at fault, if it is one.")


class InvalidSerializer(ProblemSerializer):
    errors = ProblemSerializer(  # type: ignore[assignment]
        many=True, required=False, help_text="All that is wrong."
    )


class Text(serializers.CharField):
    """A JSON string, and nothing that looks like one."""

    def to_internal_value(self, data: Any) -> str:
        if not isinstance(data, str):
            self.fail("invalid")
        return super().to_internal_value(data)


class Name(Text):
    """``lifecycle`` says what is wrong with a name."""

    def run_validation(self, data: Any = empty) -> Any:
        return "" if isinstance(data, str) and not data.strip() else super().run_validation(data)


class Reason(Name):
    """``lifecycle`` says what is wrong with a reason."""


class Scope(Text):
    """One of the site's."""


class Network(Text):
    """``lifecycle`` says what is none."""


class Rate(Text):
    """``lifecycle`` says what is none."""


class Some(serializers.ListField):
    """``lifecycle`` says what is missing where there is none."""


class Seconds(serializers.IntegerField):
    """A JSON number, and nothing that looks like one."""

    def to_internal_value(self, data: Any) -> int:
        if isinstance(data, float) and data.is_integer():  # JSON has one kind of number
            data = int(data)
        if not isinstance(data, int) or isinstance(data, bool):
            self.fail("invalid")
        return data


class Moment(serializers.DateTimeField):
    """ISO 8601; without an offset, UTC."""

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(default_timezone=UTC, **kwargs)


class Body(serializers.Serializer[Any]):
    """What it does not know is an error: a typo must not make something else."""

    def to_internal_value(self, data: Any) -> Any:
        if isinstance(data, dict) and (unknown := sorted(set(data) - set(self.fields))):
            known = ", ".join(self.fields)
            message = _("There is no such field here. There are: %(known)s.") % {"known": known}
            raise ValidationError(
                {
                    # Half a surrogate pair is in no answer.
                    name.encode(errors="backslashreplace").decode(): [
                        ErrorDetail(message, code="unknown_field")
                    ]
                    for name in unknown
                }
            )
        return super().to_internal_value(data)


class KeyBody(Body):
    """A key to make, or what to change of one."""

    name = Name()
    scopes = Some(child=Scope())
    expires_at = Moment(
        required=False, allow_null=True, help_text="ISO 8601; null for none, if the site allows."
    )
    allowed_networks = serializers.ListField(
        child=Network(),
        required=False,
        help_text="CIDRs or addresses from which alone it may be used; none for anywhere.",
    )
    rate_limits = serializers.ListField(
        child=Rate(),
        required=False,
        max_length=5,
        help_text="How often it may be used, such as 1000/hour.",
    )
    direct_use = serializers.BooleanField(
        required=False,
        help_text="False keeps it for the token endpoint: requests with it are refused.",
    )


class TokenBody(KeyBody):
    """A token to make, or what to change of one."""

    projects = Some(
        child=Text(),
        required=False,
        allow_null=True,
        help_text="Slugs; null for all that the user is in, now and later.",
    )


class PublicKey(serializers.Field[Any, Any, Any, Any]):
    """``lifecycle`` says what is none."""

    def to_internal_value(self, data: Any) -> Any:
        # As text, which nobody takes for less than it is.
        return data if isinstance(data, str | dict) else json.dumps(data)

    def to_representation(self, value: Any) -> Any:
        return value


class ProjectKeyBody(KeyBody):
    """A project key to make."""

    public_key = PublicKey(
        required=False,
        allow_null=True,
        help_text="In place of a secret, for a key that signs requests: Ed25519 or P-256, in PEM "
        "(SubjectPublicKeyInfo) or as a JWK.",
    )


class RotateBody(Body):
    """How to rotate."""

    overlap_seconds = Seconds(
        required=False,
        help_text="How long the old key stays valid: 0 to 604800. "
        "By default the site's ROTATION_OVERLAP.",
    )


class RotateProjectKeyBody(RotateBody):
    """How to rotate a project key."""

    public_key = PublicKey(
        required=False,
        allow_null=True,
        help_text="That is to replace the public key, or the secret: in PEM or as a JWK.",
    )


class ReasonBody(Body):
    """Why."""

    reason = Reason(required=False)


class NoBody(Body):
    """Nothing to say."""


class PageParameters(serializers.Serializer[Any]):
    cursor = serializers.CharField(required=False, help_text="From `next` and `previous`.")
    page_size = serializers.IntegerField(required=False, min_value=1, max_value=100)


class ListParameters(PageParameters):
    state = serializers.ChoiceField(State.choices, required=False)


class AuditParameters(PageParameters):
    key = serializers.RegexField(
        r"\A[0-9a-z]{16}\Z", required=False, help_text="The id of one key."
    )
    event = serializers.ChoiceField(AuditEvent.Event.choices, required=False)


class AuditEventSerializer(serializers.Serializer[dict[str, object]]):
    """``audit.record()``."""

    id = serializers.IntegerField()
    at = serializers.DateTimeField()
    event = serializers.ChoiceField(AuditEvent.Event.choices)
    kind = serializers.CharField()
    key = serializers.CharField(help_text="The id of the key.")
    name = serializers.CharField()
    owner = serializers.CharField(help_text="A username, or the slug of a project.")
    by = serializers.CharField(allow_null=True)
    using = serializers.CharField(allow_null=True, help_text="The id of the credential it took.")
    instance = serializers.CharField(  # type: ignore[assignment]
        allow_null=True, help_text="The name of the key that the request was signed with."
    )
    authorized_by = serializers.CharField(
        allow_null=True, help_text="Who had approved that key, or made it."
    )
    ip = serializers.CharField(allow_null=True)
    changes = serializers.JSONField()


class LeakedBody(Body):
    token = serializers.CharField(required=False, help_text="A whole key, or")
    tokens = serializers.ListField(
        child=serializers.CharField(), required=False, help_text="a list of them; not both."
    )


class LeakedAnswer(serializers.Serializer[dict[str, object]]):
    revoked = serializers.ListField(
        child=serializers.CharField(), help_text="The ids of the keys, which are over."
    )
    unknown = serializers.IntegerField(help_text="How many are no keys of this site.")
