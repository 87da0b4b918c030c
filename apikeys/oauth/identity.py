"""Describe to users who an application is, and where its page leads them.

Only facts that this site knows are stated. The name of an application is whatever the person or
program who registered it chose, so it proves nothing.
"""

from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import urlsplit

from django.utils.translation import gettext as _

from .conf import oauth_settings
from .targets import LOOPBACK

_LONGEST_URI: Final = 500  # the time to parse a host grows with the square of its length


@dataclass(frozen=True, slots=True)
class Destination:
    """The destination of the browser after the user's answer."""

    uri: str
    #: The host; for an app on the same device the scheme of its links; empty if unreadable.
    host: str
    #: Whether a program on the user's own computer gets the answer.
    is_loopback: bool


@dataclass(frozen=True, slots=True)
class Identity:
    """The facts about an application that its consent page shows."""

    #: ``site``, ``user``, ``program``, ``anonymous`` or ``document``: who registered it.
    registered_by: str
    name: str
    #: The user who owns the client, or ``None``.
    owner: Any
    #: The host of the document that identifies the client; empty for other clients.
    host: str
    homepage: str
    description: str
    #: Whether it is a page of this site (``FIRST_PARTY_CLIENTS``).
    is_own_page: bool = False

    @property
    def title(self) -> str:
        """The text that identifies it: the host of its document, or else its name."""
        return self.host or self.name

    @property
    def is_verified(self) -> bool:
        """Whether the operators of this site registered it."""
        return self.registered_by == "site"

    @property
    def is_self_named(self) -> bool:
        """Whether the document gives the application a name besides its host."""
        return bool(self.host) and self.name not in ("", self.host)

    def sentence(self, user: Any = None) -> str:
        """Return who registered it, as a sentence to ``user``."""
        words = {"owner": self.owner, "host": self.host}
        if self.registered_by == "document":
            text = _(
                "It is identified by a document on %(host)s. This site has not verified who runs "
                "%(host)s."
            )
        elif self.registered_by == "anonymous":
            text = _("This application registered itself. This site has not verified who runs it.")
        elif self.registered_by == "site":
            text = _("This application is registered by the operators of this site.")
        elif self.owner == user and self.registered_by == "program":
            text = _("A program that you allowed to register applications registered it.")
        elif self.owner == user:
            text = _("You registered this application.")
        elif self.registered_by == "program":
            text = _(
                "This application was registered by a program of %(owner)s, a user of this site. "
                "This site has not verified it."
            )
        else:
            text = _(
                "This application was registered by %(owner)s, a user of this site. This site has "
                "not verified it."
            )
        return text % words


def of(application: Any) -> Identity:
    """Return the identity of ``application``. Takes at most two queries."""
    sources, source = application.RegistrationSource, application.registration_source
    host, owner = "", application.user if application.user_id is not None else None
    if source == sources.CIMD:
        registered_by, host = "document", destination(application.client_id).host
    elif source == sources.DCR:
        registered_by = "anonymous" if owner is None else "program"
    else:
        registered_by = "site" if owner is None else "user"
    settings = getattr(application, "apikeys_settings", None)
    return Identity(
        registered_by=registered_by,
        name=str(application),
        owner=owner,
        host=host,
        homepage=settings.homepage if settings else "",
        description=settings.description if settings else "",
        is_own_page=application.client_id in oauth_settings.FIRST_PARTY_CLIENTS,
    )


def destination(uri: str) -> Destination:
    """Return where ``uri``, a redirect URI, leads."""
    if len(uri) > _LONGEST_URI:
        return Destination("", "", False)
    try:
        parts = urlsplit(uri)
        host = parts.hostname or ""
    except ValueError:
        return Destination("", "", False)
    if parts.scheme not in ("http", "https"):
        return Destination(uri, f"{parts.scheme}:" if parts.scheme else "", False)
    return Destination(uri, host, host in (*LOOPBACK, "localhost"))
