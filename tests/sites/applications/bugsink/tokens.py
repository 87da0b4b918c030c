"""The tokens of Bugsink: ``create`` or ``end``. Or ``delete`` a project."""

import json
import sys

import django

django.setup()

from bsmain.models import AuthToken  # noqa: E402
from projects.models import Project, ProjectMembership, ProjectRole  # noqa: E402
from projects.tasks import delete_project_deps  # noqa: E402
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


def delete():
    """Delete a project as Bugsink's worker does."""
    delete_project_deps(str(Project.objects.get(slug="other").pk))
    return Project.objects.filter(slug="other").exists()


print(json.dumps({"create": create, "end": end, "delete": delete}[sys.argv[1]]()))
