"""The tokens of Django REST framework in a site of Wagtail: ``create`` or ``end``."""

import json
import sys

import django

django.setup()

from django.contrib.auth import get_user_model  # noqa: E402
from rest_framework.authtoken.models import Token  # noqa: E402

User = get_user_model()


def create():
    User.objects.create_user("eve")
    return Token.objects.create(user=User.objects.create_superuser("ada")).key


def end():
    return Token.objects.all().delete()[0]


print(json.dumps({"create": create, "end": end}[sys.argv[1]]()))
