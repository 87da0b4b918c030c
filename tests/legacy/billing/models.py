"""A site's own models of the predecessors' keys, as their documentations tell to write them."""

from django.conf import settings
from django.db import models
from rest_framework_api_key.models import AbstractAPIKey

from apikeys.models import get_project_model


class Organization(models.Model):
    """Not the project model, but of the same slugs."""

    slug = models.SlugField(primary_key=True)

    def __str__(self):
        return self.slug


class OrganizationKey(AbstractAPIKey):
    organization = models.ForeignKey(Organization, models.CASCADE)
    project = models.ForeignKey(get_project_model(), models.CASCADE, null=True)


class Token(models.Model):
    """Several of a user, where authtoken has one."""

    key = models.CharField(max_length=40, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    created = models.DateTimeField(auto_now_add=True)

    def __str__(self):
        return f"of {self.user}"


class ScopedToken(models.Model):
    """Has its own scopes."""

    key = models.CharField(max_length=40, primary_key=True)
    user = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    created = models.DateTimeField(auto_now_add=True)
    scopes = models.CharField(max_length=200, blank=True)

    def __str__(self):
        return f"of {self.user}"
