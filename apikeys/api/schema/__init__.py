"""Extensions for drf-spectacular that describe the JSON API. Import the package to register them.

``apikeys.api.serializers`` defines the bodies.
"""

from . import fields, views  # noqa: F401
