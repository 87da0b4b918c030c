"""Mail the owner of a credential that was denied or allowed in a project."""

import logging
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from django.contrib.auth import get_user_model
from django.db import router, transaction

from .. import mail
from ..conf import app_settings
from ..databases.primary import reading_primary
from ..limits import attempts
from ..models import ProjectAccess
from ..models.owners import is_active
from ..policy import get_policy
from .entries import Entry

logger = logging.getLogger("apikeys")

#: Seconds in which each mail about a credential in a project is sent once.
_WINDOW: Final = 3600


def owner_of(project: Any, entry: Entry) -> Any:
    """Return the user of a credential, or the project of a key."""
    if entry.user_pk is None:
        return project
    users: Any = get_user_model()._default_manager
    return users.filter(pk=entry.user_pk).first()


def later(
    name: str, project: Any, entry: Entry, *, by: Any, instead: str = "", facts: dict[str, Any]
) -> None:
    """Send the mail when the transaction is committed. A failure to send changes nothing else.

    Send nothing if the site sends the mail ``instead``, which has the same recipients.
    """
    if instead in app_settings.NOTICES:
        return
    deliver = partial(_deliver, name, project, entry, by, facts)
    transaction.on_commit(deliver, using=router.db_for_write(ProjectAccess), robust=True)


@reading_primary()
def _deliver(name: str, project: Any, entry: Entry, by: Any, facts: dict[str, Any]) -> None:
    owner = owner_of(project, entry)
    people = get_policy().key_managers(project) if entry.user_pk is None else [owner]
    to = mail.addresses(each for each in people if each and is_active(each) and each != by)
    if not to:
        return
    number, counter = attempts.count(f"mail:{name}:{project.pk}:{entry.id}", _WINDOW)
    if number > 1:  # someone denies and allows it in turn
        return
    about: Any = SimpleNamespace(owner=owner, public_id=entry.id, name=entry.name)
    who = by.get_username() if by is not None else ""
    context = {"project": project, "by": who, "kind": entry.kind_label, **facts}
    try:
        mail.send(name, about, to, **context)
    except Exception:  # whatever the mail backend raises
        attempts.give_back(counter)
        logger.exception("Could not send the mail that %s was %s.", entry.id, name)
