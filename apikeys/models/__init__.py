"""What is stored. Only ``apikeys.lifecycle`` writes keys."""

from .keys import KEY_MODELS, AbstractKey, PersonalAccessToken, ProjectKey, State
from .projects import AbstractProject, Membership, Project, get_project_model

__all__ = [
    "KEY_MODELS",
    "AbstractKey",
    "AbstractProject",
    "Membership",
    "PersonalAccessToken",
    "Project",
    "ProjectKey",
    "State",
    "get_project_model",
]
