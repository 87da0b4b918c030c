"""The hasher that a test of ``CLIENT_SECRET_HASHER`` names."""

from django.contrib.auth.hashers import PBKDF2PasswordHasher


class Quick(PBKDF2PasswordHasher):
    algorithm = "fast_pbkdf2"
    iterations = 1000
