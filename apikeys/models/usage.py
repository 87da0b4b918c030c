"""Count the requests of each key by day."""

from django.db import models

from ..databases.primary import PrimaryManager
from .keys import PersonalAccessToken, ProjectKey


class AbstractUsage(models.Model):
    """Number of requests that a key made on one day in UTC."""

    day = models.DateField()
    count = models.PositiveBigIntegerField(default=0)

    objects = PrimaryManager()

    class Meta:
        abstract = True

    def __str__(self) -> str:
        return f"{self.count} on {self.day}"


class PersonalAccessTokenUsage(AbstractUsage):
    """Number of requests that a personal access token made on one day."""

    # No constraint: a count may be written just after its key was deleted.
    key = models.ForeignKey(
        PersonalAccessToken, models.CASCADE, related_name="usage", db_constraint=False
    )

    class Meta(AbstractUsage.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["key", "day"], name="apikeys_token_usage_once")
        ]


class ProjectKeyUsage(AbstractUsage):
    """Number of requests that a project key made on one day."""

    key = models.ForeignKey(ProjectKey, models.CASCADE, related_name="usage", db_constraint=False)

    class Meta(AbstractUsage.Meta):
        abstract = False
        constraints = [
            models.UniqueConstraint(fields=["key", "day"], name="apikeys_key_usage_once")
        ]
