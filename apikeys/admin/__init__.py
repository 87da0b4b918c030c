"""The site admin's view of keys, projects and memberships."""

from .audit import AuditEventAdmin
from .keys import KeyAdmin, PersonalAccessTokenAdmin, ProjectKeyAdmin
from .projects import MembershipAdmin, ProjectAdmin

__all__ = [
    "AuditEventAdmin",
    "KeyAdmin",
    "MembershipAdmin",
    "PersonalAccessTokenAdmin",
    "ProjectAdmin",
    "ProjectKeyAdmin",
]
