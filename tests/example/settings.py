"""The example's settings, but a password is checked in no time: each login takes 0.3 s otherwise."""

from example_project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
