"""The tokens of teams in pretix: ``create`` or ``end``."""

import json
import sys

import django

django.setup()

from django.utils.timezone import now  # noqa: E402
from django_scopes import scopes_disabled  # noqa: E402
from pretix.base.models import Event, Organizer, Team, TeamAPIToken, User  # noqa: E402


def create():
    ada = User.objects.create_user("ada@example.com")
    User.objects.create_user("eve@example.com")
    organizer = Organizer.objects.create(name="Engine", slug="engine")
    Event.objects.create(organizer=organizer, name="Fair", slug="fair", date_from=now())
    team = Team.objects.create(
        organizer=organizer,
        name="Staff",
        all_events=True,
        all_event_permissions=True,
        all_organizer_permissions=True,
    )
    team.members.add(ada)
    return team.tokens.create(name="old").token


def end():
    return TeamAPIToken.objects.update(active=False)


with scopes_disabled():
    print(json.dumps({"create": create, "end": end}[sys.argv[1]]()))
