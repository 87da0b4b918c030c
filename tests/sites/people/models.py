"""The user and project models of the sites. ``SITE`` says which of them exist."""

import os
import uuid

from django.contrib.auth.base_user import AbstractBaseUser, BaseUserManager
from django.contrib.auth.models import AbstractUser, PermissionsMixin
from django.db import models

SITE = os.environ.get("SITE", "base")


class _Manager(BaseUserManager):
    def create_user(self, name, password=None, **fields):
        user = self.model(**{self.model.USERNAME_FIELD: name}, **fields)
        user.set_password(password)
        user.save(using=self._db)
        return user

    def create_superuser(self, name, password=None, **fields):
        return self.create_user(name, password, is_staff=True, is_superuser=True, **fields)


if SITE == "uuid-user":

    class User(AbstractUser):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)


if SITE == "email-login":

    class User(AbstractUser):
        username = None
        email = models.EmailField(unique=True)
        USERNAME_FIELD = "email"
        REQUIRED_FIELDS = []
        objects = _Manager()


if SITE == "active-property":

    class User(AbstractBaseUser, PermissionsMixin):
        handle = models.CharField(max_length=50, unique=True)
        is_staff = models.BooleanField(default=False)
        left = models.BooleanField(default=False)
        USERNAME_FIELD = "handle"
        objects = _Manager()

        @property
        def is_active(self):
            return not self.left


if SITE == "inherited-user":

    class Person(AbstractUser):
        pass

    class User(Person):
        desk = models.CharField(max_length=20, blank=True)


if SITE == "own-project":

    class Shown(models.Manager):
        def get_queryset(self):
            return super().get_queryset().filter(hidden=False)

    class Team(models.Model):
        id = models.UUIDField(primary_key=True, default=uuid.uuid4)
        slug = models.SlugField(unique=True)
        hidden = models.BooleanField(default=False)
        objects = Shown()

        def __str__(self):
            return self.slug
