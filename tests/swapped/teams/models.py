import uuid

from django.db import models


class Team(models.Model):
    """As little as a project may be: no ``is_active``, no name, and no number for a key."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    slug = models.SlugField(unique=True)

    def __str__(self):
        return self.slug


class Customer(models.Model):
    """A project without a slug: ``APIKEYS_PROJECT_SLUG_FIELD`` is its ``code``."""

    id = models.BigAutoField(primary_key=True)
    code = models.CharField(max_length=20, unique=True)
    title = models.CharField(max_length=100)

    def __str__(self):
        return self.title
