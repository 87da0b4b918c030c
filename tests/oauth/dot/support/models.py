"""Models that the tests put in the place of django-oauth-toolkit's."""

import uuid

from django.db import models
from oauth2_provider import models as dot
from oauth2_provider.settings import oauth2_settings


class BaseTestApplication(dot.AbstractApplication):
    allowed_schemes = models.TextField(blank=True)

    def get_allowed_schemes(self):
        return self.allowed_schemes.split() or super().get_allowed_schemes()


class SampleApplication(dot.AbstractApplication):
    custom_field = models.CharField(max_length=255)


def one_to_one(model, name, on_delete=models.SET_NULL):
    return models.OneToOneField(model, on_delete, blank=True, null=True, related_name=name)


class SampleAccessToken(dot.AbstractAccessToken):
    custom_field = models.CharField(max_length=255)
    source_refresh_token = one_to_one(oauth2_settings.REFRESH_TOKEN_MODEL, "sample_refreshed")
    id_token = one_to_one(oauth2_settings.ID_TOKEN_MODEL, "sample_access", models.CASCADE)


class SampleRefreshToken(dot.AbstractRefreshToken):
    custom_field = models.CharField(max_length=255)
    access_token = one_to_one(oauth2_settings.ACCESS_TOKEN_MODEL, "sample_refresh")


class SampleGrant(dot.AbstractGrant):
    custom_field = models.CharField(max_length=255)


class CustomPkAccessToken(dot.AbstractAccessToken):
    id = source_refresh_token = id_token = None
    custom_pk = models.UUIDField(primary_key=True, default=uuid.uuid4)


class CustomPkRefreshToken(dot.AbstractRefreshToken):
    id = None
    custom_pk = models.UUIDField(primary_key=True, default=uuid.uuid4)
    access_token = one_to_one(CustomPkAccessToken, "refresh_token")


class SampleDeviceGrant(dot.AbstractDeviceGrant):
    custom_field = models.CharField(max_length=255, blank=True, default="")

    class Meta(dot.AbstractDeviceGrant.Meta):
        swappable = "OAUTH2_PROVIDER_DEVICE_GRANT_MODEL"
