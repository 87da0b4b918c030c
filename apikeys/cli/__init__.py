"""Log in to a site from a program: ``pip install "apikeys[cli]"``. Needs no Django project.

``App`` is the site's command under its own name; ``Session`` and ``BearerAuth`` are for
programs of one's own, and so is ``apikeys.cli.signing.SignatureAuth``.
"""

from .auth import BearerAuth
from .commands import App
from .errors import LoginError, NotLoggedIn
from .session import Session, Site

__all__ = ["App", "BearerAuth", "LoginError", "NotLoggedIn", "Session", "Site"]
