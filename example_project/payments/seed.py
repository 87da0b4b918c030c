"""Create the demo's data and credentials. Running it again changes nothing but the secrets."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from decimal import Decimal
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.contrib.auth.hashers import check_password, make_password
from django.core.management.color import no_style
from django.db import connection, transaction
from django.test import RequestFactory
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables
from oauth2_provider.models import AccessToken, Application, RefreshToken, clear_expired
from oauth2_provider.views import TokenView

from apikeys import lifecycle
from apikeys.gateway.models import ResourceBinding
from apikeys.lifecycle import Minted
from apikeys.models import (
    KEY_MODELS,
    Membership,
    PersonalAccessToken,
    ProjectKey,
    get_project_model,
    live,
)
from apikeys.oauth.models import ClientSettings

from . import past
from .demo import PASSWORD
from .models import Payment

CLIENT_ID: Final = "webapp"
PROGRAM_ID: Final = "acme-cli"  # python -m apikeys.cli --client-id acme-cli
KEY_NAME: Final = "Demo"
SCOPES: Final = ("payments:read", "payments:write")
PAT_LIFETIME: Final = timedelta(days=90)

PROJECTS: Final = {"analytical-engine": "Analytical Engine", "compiler": "Compiler"}


@dataclass(frozen=True)
class Person:
    username: str
    role: str
    project: str | None = None


PEOPLE: Final = (
    Person("ada", Membership.Role.OWNER.value, "analytical-engine"),
    Person("charles", Membership.Role.DEVELOPER.value, "analytical-engine"),
    Person("luigi", Membership.Role.VIEWER.value, "analytical-engine"),
    Person("grace", Membership.Role.OWNER.value, "compiler"),
    Person("jean", Membership.Role.DEVELOPER.value, "compiler"),
    Person("admin", "superuser"),
)

#: The subscriber of each project in the server behind the gateway.
SUBSCRIBERS: Final = {"analytical-engine": "1001", "compiler": "1002"}

#: Number: (project, amount in euros, description, age in days).
PAYMENTS: Final = {
    1: ("analytical-engine", "1200.00", "Brass gear wheels, one gross", 30),
    2: ("analytical-engine", "84.50", "Punched cards, number cards", 16),
    3: ("analytical-engine", "310.25", "Printing apparatus, second instalment", 3),
    4: ("compiler", "640.00", "Magnetic tape, twenty reels", 21),
    5: ("compiler", "19.99", "Logbook, for bugs", 8),
}


@transaction.atomic
def seed() -> None:
    """Create the demo's users, projects, payments and clients, or reset them."""
    projects = {slug: _project(slug, name) for slug, name in PROJECTS.items()}
    people = {}
    for person, user in _users():
        people[person.username] = user
        if person.project is not None:
            Membership.objects.update_or_create(
                user=user, project=projects[person.project], defaults={"role": person.role}
            )
    for number, (slug, amount, description, days) in PAYMENTS.items():
        facts = {
            "project": projects[slug],
            "amount": Decimal(amount),
            "currency": "EUR",
            "description": description,
        }
        made = {"created_at": timezone.now() - timedelta(days=days)}
        Payment.objects.update_or_create(
            number=number, defaults=facts, create_defaults=facts | made
        )
    for slug, identifier in SUBSCRIBERS.items():
        ResourceBinding.objects.get_or_create(
            project=projects[slug], user=None, kind="subscriber_id", identifier=identifier
        )
    past.seed(people, projects)
    with connection.cursor() as cursor:  # the next payment is number 6 on every database
        for statement in connection.ops.sequence_reset_sql(no_style(), [Payment]):
            cursor.execute(statement)
    Application.objects.update_or_create(
        client_id=CLIENT_ID,
        defaults={
            "name": "Web app",
            "client_type": Application.CLIENT_PUBLIC,
            "authorization_grant_type": Application.GRANT_PASSWORD,
            "client_secret": "",
        },
    )
    program, _ = Application.objects.update_or_create(
        client_id=PROGRAM_ID,
        defaults={
            "name": "Acme on the command line",
            "client_type": Application.CLIENT_PUBLIC,
            "authorization_grant_type": Application.GRANT_AUTHORIZATION_CODE,
            "redirect_uris": "http://127.0.0.1/callback",
        },
    )
    ClientSettings.objects.update_or_create(
        application=program, defaults={"grant_types": Application.GRANT_DEVICE_CODE}
    )


def _project(slug: str, name: str) -> Any:
    facts = {"name": name, "is_active": True}
    return get_project_model()._default_manager.update_or_create(slug=slug, defaults=facts)[0]


def _users() -> Iterator[tuple[Person, Any]]:
    User = get_user_model()  # noqa: N806
    encoded: dict[str, bool] = {}  # hash the one password once: it is slow
    fresh = None
    for person in PEOPLE:
        superuser = person.project is None
        facts = {"is_active": True, "is_staff": superuser, "is_superuser": superuser}
        user, _ = User._default_manager.update_or_create(username=person.username, defaults=facts)
        if user.password not in encoded:
            encoded[user.password] = check_password(PASSWORD, user.password)
        if not encoded[user.password]:
            fresh = fresh or make_password(PASSWORD)
            user.password = fresh
            user.save(update_fields=["password"])
            encoded[fresh] = True
        yield person, user


@dataclass(frozen=True)
class Credentials:
    """One credential for each kind of caller. All reach *Analytical Engine*."""

    pat: Minted[PersonalAccessToken]
    project_key: Minted[ProjectKey]
    access_token: str
    expires_in: int


@transaction.atomic
def credentials() -> Credentials:
    """Create credentials in a seeded database, and revoke the credentials of an earlier run.

    Only their hashes are stored, so each run needs new ones to show.
    """
    ada = get_user_model()._default_manager.get(username="ada")
    project = get_project_model()._default_manager.get(slug="analytical-engine")
    for model in KEY_MODELS.values():
        owner = {"user": ada} if model is PersonalAccessToken else {"project": project}
        for key in model._default_manager.filter(live(), name=KEY_NAME, **owner):
            lifecycle.revoke(key, reason="The demo was started again.")
    grant = _password_grant("ada")
    return Credentials(
        pat=lifecycle.mint(
            user=ada, name=KEY_NAME, scopes=SCOPES, expires_at=timezone.now() + PAT_LIFETIME
        ),
        project_key=lifecycle.mint(project=project, name=KEY_NAME, scopes=SCOPES, by=ada),
        access_token=grant["access_token"],
        expires_in=grant["expires_in"],
    )


@sensitive_variables("grant")
def _password_grant(username: str) -> dict[str, Any]:
    """Return the token endpoint's answer, and delete its refresh token: the demo never shows it."""
    clear_expired()
    # Tokens of the page have a refresh token. One without is left from an earlier run.
    AccessToken.objects.filter(application__client_id=CLIENT_ID, refresh_token=None).delete()
    form = {
        "grant_type": "password",
        "client_id": CLIENT_ID,
        "username": username,
        "password": PASSWORD,
        "scope": " ".join(SCOPES),
    }
    response = TokenView.as_view()(RequestFactory().post("/o/token/", form))
    grant: dict[str, Any] = json.loads(response.content)
    if response.status_code != 200:
        raise RuntimeError(f"The password grant was refused: {grant}")
    checksum = hashlib.sha256(grant["access_token"].encode()).hexdigest()
    RefreshToken.objects.filter(access_token__token_checksum=checksum).delete()
    return grant
