"""What is stored. Only ``apikeys.lifecycle`` writes keys."""

from .keys import (
    KEY_MODELS,
    AbstractKey,
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    ProjectKeyUsage,
    State,
    live,
)
from .projects import AbstractProject, Membership, Project, get_project_model

__all__ = [
    "KEY_MODELS",
    "AbstractKey",
    "AbstractProject",
    "Membership",
    "PersonalAccessToken",
    "PersonalAccessTokenUsage",
    "Project",
    "ProjectKey",
    "ProjectKeyUsage",
    "State",
    "get_project_model",
    "live",
]
