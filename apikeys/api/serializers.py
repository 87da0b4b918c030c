"""The shapes of the JSON API, as its schema tells them."""

from rest_framework import serializers

from ..access import OAUTH, PERSONAL_ACCESS_TOKEN, PROJECT_KEY


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
