"""The tokens of Bugsink: ``create`` or ``end``."""

import json
import sys

import django

django.setup()

from bsmain.models import AuthToken  # noqa: E402
from projects.models import Project, ProjectMembership, ProjectRole  # noqa: E402
from teams.models import Team  # noqa: E402
from users.models import User  # noqa: E402


def create():
    ada = User.objects.create_user("ada")
    User.objects.create_user("eve")
    team = Team.objects.create(name="Team")
    for name in ("Engine", "Other"):
        project = Project.objects.create(name=name, team=team)
        ProjectMembership.objects.create(
            project=project, user=ada, role=ProjectRole.ADMIN, accepted=True
        )
    return AuthToken.create_full_access().token


def end():
    AuthToken.objects.get().revoke()


print(json.dumps({"create": create, "end": end}[sys.argv[1]]()))
