"""The credentials that reach a project: list them, and deny or allow each of them there.

``apikeys.decisions`` reads the decisions at each request. ``apikeys.oauth`` adds the grants of
applications with ``sources.register``.
"""

from .deciding import allow, deny, require_approval
from .entries import Entry
from .listing import denials_of, find, listed

__all__ = ["Entry", "allow", "denials_of", "deny", "find", "listed", "require_approval"]
