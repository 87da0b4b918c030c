"""The site admin's view of keys, projects and memberships."""

from .keys import KeyAdmin, PersonalAccessTokenAdmin, ProjectKeyAdmin
from .projects import MembershipAdmin, ProjectAdmin

__all__ = [
    "KeyAdmin",
    "MembershipAdmin",
    "PersonalAccessTokenAdmin",
    "ProjectAdmin",
    "ProjectKeyAdmin",
]
