"""What is stored beside django-oauth-toolkit's own rows."""

from django.db import models
from oauth2_provider.settings import oauth2_settings

from ..models import PersonalAccessToken, ProjectKey


class TokenOrigin(models.Model):
    """What an access token came of, and may never reach beyond.

    The references have no constraint, and nothing happens to them on deletion: a token
    whose origin is gone must be found without one and refused, not set free.
    """

    access_token = models.OneToOneField(
        oauth2_settings.ACCESS_TOKEN_MODEL,
        models.CASCADE,
        primary_key=True,
        related_name="apikeys_origin",
    )
    personal_access_token = models.ForeignKey(
        PersonalAccessToken, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    project_key = models.ForeignKey(
        ProjectKey, models.DO_NOTHING, null=True, db_constraint=False, related_name="+"
    )
    #: The access token that was exchanged for this one; of a chain, the first.
    parent = models.ForeignKey(
        oauth2_settings.ACCESS_TOKEN_MODEL,
        models.DO_NOTHING,
        null=True,
        db_constraint=False,
        related_name="+",
    )

    def __str__(self) -> str:
        return f"of access token {self.pk}"
