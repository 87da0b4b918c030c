"""Models for projects, memberships, keys, usage counts, audit events and nonces.

Only ``lifecycle`` writes keys. Rules about keys live there and in ``policy``, not on the models.
"""

from .audit import AppendOnlyError, AuditEvent
from .keys import (
    KEY_MODELS,
    AbstractKey,
    AnyKey,
    PersonalAccessToken,
    ProjectKey,
    State,
    live,
    reaching_only,
)
from .legacy import LegacyKey
from .projects import AbstractProject, Membership, Project, get_project_model
from .reach import EndedUse, ProjectAccess, ProjectRules, ScopeUse
from .requests import AttemptCount, IdempotentRequest, UsedNonce
from .usage import PersonalAccessTokenUsage, ProjectKeyUsage

__all__ = [
    "KEY_MODELS",
    "AbstractKey",
    "AbstractProject",
    "AnyKey",
    "AppendOnlyError",
    "AttemptCount",
    "AuditEvent",
    "EndedUse",
    "IdempotentRequest",
    "LegacyKey",
    "Membership",
    "PersonalAccessToken",
    "PersonalAccessTokenUsage",
    "Project",
    "ProjectAccess",
    "ProjectKey",
    "ProjectKeyUsage",
    "ProjectRules",
    "ScopeUse",
    "State",
    "UsedNonce",
    "get_project_model",
    "live",
    "reaching_only",
]
