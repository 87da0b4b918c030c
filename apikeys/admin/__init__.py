"""The site admin: lists and forms of keys, projects, memberships and audit events.

``lifecycle`` has the rules for keys. ``keys`` has their facts and filters.
"""

from .audit import AuditEventAdmin
from .keys import KeyAdmin, PersonalAccessTokenAdmin, ProjectKeyAdmin
from .projects import MembershipAdmin, ProjectAdmin
from .sites import register
from .users import KeysOfUser

__all__ = [
    "AuditEventAdmin",
    "KeyAdmin",
    "KeysOfUser",
    "MembershipAdmin",
    "PersonalAccessTokenAdmin",
    "ProjectAdmin",
    "ProjectKeyAdmin",
    "register",
]
