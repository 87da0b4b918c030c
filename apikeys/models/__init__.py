"""What is stored. Only ``apikeys.lifecycle`` writes keys."""

from .audit import AppendOnlyError, AuditEvent
from .keys import (
    KEY_MODELS,
    AbstractKey,
    PersonalAccessToken,
    PersonalAccessTokenUsage,
    ProjectKey,
    ProjectKeyUsage,
    State,
    live,
    reaching_only,
)
from .legacy import LegacyKey
from .projects import AbstractProject, Membership, Project, get_project_model
from .requests import IdempotentRequest, UsedNonce

__all__ = [
    "KEY_MODELS",
    "AbstractKey",
    "AbstractProject",
    "AppendOnlyError",
    "AuditEvent",
    "IdempotentRequest",
    "LegacyKey",
    "Membership",
    "PersonalAccessToken",
    "PersonalAccessTokenUsage",
    "Project",
    "ProjectKey",
    "ProjectKeyUsage",
    "State",
    "UsedNonce",
    "get_project_model",
    "live",
    "reaching_only",
]
