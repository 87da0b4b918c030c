"""A router that sends reads to a replica, and refuses those that may not come from there.

``TEST_REPLICA=1`` runs the whole suite with it. Tests read where they like.
"""

import sys
from pathlib import Path

import apikeys

_PACKAGE = str(Path(apikeys.__file__).parent)
#: Who is logged in is Django's to read, wherever it does; so is what it keeps for itself.
_DJANGOS = ("sessions", "contenttypes", "admin", "sites", "auth.permission", "auth.group")


#: They run the views of others.
_AROUND = ("/middleware.py", "/http.py", "/ninja.py")


class ReadFromReplicaError(AssertionError):
    pass


class Router:
    def db_for_read(self, model, **hints):
        if model._meta.label_lower.startswith(_DJANGOS):
            return
        frame, found = sys._getframe(1), None
        while frame is not None:
            name = frame.f_code.co_filename
            if "/django/contrib/auth/" in name and found is None:
                return
            if name.startswith(_PACKAGE) and not name.endswith(_AROUND) and found is None:
                found = f"{name}:{frame.f_lineno}"
            frame = frame.f_back
        if found is not None:
            raise ReadFromReplicaError(f"{model._meta.label} is read from the replica at {found}")
        return

    def db_for_write(self, model, **hints):
        return "default"
