from django.conf import settings
from django.db import models

from apikeys.models import AbstractProject


class Shop(AbstractProject):
    account = models.ForeignKey(
        settings.AUTH_USER_MODEL, models.SET_NULL, null=True, related_name="shops"
    )


class Order(models.Model):
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)
    name = models.CharField(max_length=20)

    def __str__(self):
        return self.name
