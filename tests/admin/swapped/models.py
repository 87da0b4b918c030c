"""A site with custom user and project models."""

import uuid

from django.contrib.auth.models import AbstractUser, UserManager
from django.db import models


class Manager(UserManager):
    def create_superuser(self, email, password=None, **fields):
        return self.create(email=email, is_staff=True, is_superuser=True, **fields)


class Person(AbstractUser):
    username = None
    email = models.EmailField(unique=True)
    USERNAME_FIELD = "email"
    REQUIRED_FIELDS = []
    objects = Manager()


class Team(models.Model):
    id = models.UUIDField(primary_key=True, default=uuid.uuid4)
    slug = models.SlugField(unique=True)

    def __str__(self):
        return f"Team {self.slug}"
