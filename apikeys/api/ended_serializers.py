"""The responses about uses of a key after its end."""

from rest_framework import serializers


class EndedUseSerializer(serializers.Serializer[dict[str, object]]):
    """The uses of a key's correct secret after its end. All were refused."""

    first = serializers.DateTimeField()
    last = serializers.DateTimeField()
    count = serializers.IntegerField()
    ip = serializers.CharField(allow_null=True, help_text="The address of the last use.")


class DeniedUseSerializer(EndedUseSerializer):
    """The uses of a token in a project in which it is denied. All were refused."""

    project = serializers.CharField(help_text="The slug of the project.")
