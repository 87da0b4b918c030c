from django.conf import settings
from django.db import models


class Note(models.Model):
    text = models.CharField(max_length=50)
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, models.CASCADE)

    def __str__(self):
        return self.text
