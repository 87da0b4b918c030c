"""The example's settings with a quick password hasher: each login takes 0.3 s otherwise."""

from example_project.settings import *  # noqa: F403

PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
