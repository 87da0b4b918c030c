"""A site on an older django-oauth-toolkit that adds keys, in an environment of its own.

It prints its answers as JSON.
"""

# ruff: noqa: E402 - Django has to be set up first
import json
from datetime import timedelta

import django
import oauth2_provider
from django.conf import settings

SCOPES = {"payments:read": "", "payments:write": "", "reports:read": ""}

settings.configure(
    SECRET_KEY="x" * 50,
    ROOT_URLCONF=__name__,
    ALLOWED_HOSTS=["*"],
    USE_TZ=True,
    DEFAULT_AUTO_FIELD="django.db.models.BigAutoField",
    INSTALLED_APPS=[
        "django.contrib.auth",
        "django.contrib.contenttypes",
        "rest_framework",
        "oauth2_provider",
        "apikeys",
    ],
    APIKEYS={"PREFIX": "acme", "SCOPES": SCOPES, "NOTICES": ()},
    OAUTH2_PROVIDER={"SCOPES": SCOPES},
    DATABASES={"default": {"ENGINE": "django.db.backends.sqlite3", "NAME": ":memory:"}},
)
django.setup()

from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.test import Client
from django.urls import path
from django.utils import timezone
from oauth2_provider.contrib.rest_framework import OAuth2Authentication, TokenHasScope
from oauth2_provider.models import AccessToken, Application
from rest_framework.response import Response
from rest_framework.views import APIView

from apikeys import lifecycle
from apikeys.drf import BearerAuthentication, HasScope, PrefixedAuthentication


class View(APIView):
    permission_classes = [HasScope]
    required_scopes = ["payments:read"]

    def get(self, request):
        return Response({"user": str(request.user)})


ORDERS = {
    "documented": [OAuth2Authentication, BearerAuthentication],
    "prefixed-first": [PrefixedAuthentication, OAuth2Authentication],
    "prefixed-last": [OAuth2Authentication, PrefixedAuthentication],
}
PERMISSIONS = {"ours": HasScope, "theirs": TokenHasScope}

urlpatterns = [
    path(
        f"{order}/{permission}/",
        View.as_view(authentication_classes=classes, permission_classes=[cls]),
    )
    for order, classes in ORDERS.items()
    for permission, cls in PERMISSIONS.items()
]


def main():
    call_command("check", fail_level="WARNING")
    call_command("migrate", verbosity=0)
    user = get_user_model().objects.create(username="ada")
    app = Application.objects.create(client_type="public", authorization_grant_type="password")

    def theirs(text, scope, days=1):
        ends = timezone.now() + timedelta(days=days)
        AccessToken.objects.create(
            user=user, application=app, token=text, scope=scope, expires=ends
        )
        return text

    revoked = lifecycle.mint(user=user, name="x", scopes=["payments:read"])
    lifecycle.revoke(revoked.key)
    credentials = {
        "key": lifecycle.mint(user=user, name="n", scopes=["payments:read"]).token,
        "writer key": lifecycle.mint(user=user, name="w", scopes=["payments:write"]).token,
        "reports key": lifecycle.mint(user=user, name="r", scopes=["reports:read"]).token,
        "mistyped key": "acme_pat_mistyped",
        "revoked key": revoked.token,
        "token": theirs("a-token", "payments:read"),
        "token without the scope": theirs("b-token", "payments:write"),
        "expired token": theirs("c-token", "payments:read", -1),
        "unknown": "nothing-known",
        "none": None,
    }
    answers = {}
    for pattern in urlpatterns:
        where = str(pattern.pattern)
        for name, text in credentials.items():
            headers = {} if text is None else {"Authorization": f"Bearer {text}"}
            response = Client().get(f"/{where}", headers=headers)
            body = response.json()
            answer = [response.status_code, body.get("code") or body.get("user")]
            answers.setdefault(where.rstrip("/"), {})[name] = answer
    print(json.dumps({"version": oauth2_provider.__version__, "answers": answers}))


main()
