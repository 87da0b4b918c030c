import uuid

from django.contrib.auth.base_user import AbstractBaseUser
from django.db import models


class Person(AbstractBaseUser):
    """As little as a user may be: no permissions, mail address, or field ``is_active``."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    handle = models.CharField(max_length=50, unique=True)
    left = models.BooleanField(default=False)

    USERNAME_FIELD = "handle"

    objects = models.Manager()

    @property
    def is_active(self):
        return not self.left
