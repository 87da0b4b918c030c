"""What becomes of a key that somebody found where it should not be."""

from dataclasses import dataclass
from typing import Any

from django.db import router, transaction
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from . import audit, hashing, lifecycle, networks, token
from .audit import Event
from .conf import app_settings
from .models import KEY_MODELS, PersonalAccessToken, ProjectKey, State
from .pepper_loss import check_root
from .signals import key_leaked

__all__ = ["Report", "report"]

AnyKey = PersonalAccessToken | ProjectKey


@dataclass(frozen=True)
class Report:
    """What was done about a text that was reported."""

    #: ``None``: it is no key of this site, or not any more.
    key: AnyKey | None = None
    #: Whether the key was revoked because of it, rather than before.
    revoked: bool = False


@sensitive_variables("text")
def report(text: str, *, source: str, url: str = "", revoke: bool = True) -> Report:
    """Revoke the key that ``text`` is, and tell its owner where it was found.

    Whoever presents the whole key holds it, so nobody else has to be asked. With ``revoke``
    false its owner is warned only. ``source`` says who found it, ``url`` where.

    Raises ``Refused`` (``verification_busy``) for a key that cannot be checked just now.
    """
    key = _find(text)
    if key is None:
        return Report()
    with transaction.atomic(using=router.db_for_write(type(key))):
        live = key.state() in (State.LIVE, State.PENDING)
        done = revoke and lifecycle.revoke(key, reason=_("Reported as leaked."))
        if live and (done or not revoke):
            changes = {"source": source, "url": url[:500]} if url else {"source": source}
            ip = networks.current_ip()
            audit.write(Event.LEAKED, key, ip=ip, changes=changes | {"revoked": done})
            key_leaked.send(type(key), key=key, by=None, using=None, source=source, url=url)
    return Report(key, done)


@sensitive_variables("text", "parsed")
def _find(text: str) -> Any:
    parsed = token.parse(text, app_settings.PREFIX)
    if parsed is None:
        return None
    model = KEY_MODELS[parsed.kind]
    key: Any = model._default_manager.filter(public_id=parsed.public_id).first()
    if key is None:
        return None
    matches = hashing.check_digest(parsed.secret, key.digest, key.pepper_id)
    if matches is None:
        matches = check_root(model, key.pk, parsed)
    return key if matches else None
