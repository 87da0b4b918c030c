"""A command line for users of your API: ``pip install "apikeys[cli]"``. Runs without Django.

``App`` builds the command under your own name. Other programs can use ``Session``,
``BearerAuth``, ``WorkloadAuth`` and ``apikeys.cli.signing.SignatureAuth``. The commands of
``manage.py`` are in ``apikeys.management``.
"""

from .auth import BearerAuth
from .commands import App
from .errors import LoginError, NotLoggedIn
from .session import Session, Site
from .workload import Workload, WorkloadAuth

__all__ = [
    "App",
    "BearerAuth",
    "LoginError",
    "NotLoggedIn",
    "Session",
    "Site",
    "Workload",
    "WorkloadAuth",
]
