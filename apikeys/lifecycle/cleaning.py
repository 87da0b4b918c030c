"""Validate and normalize the name, texts, scopes, projects, expiry and public key of a key.

``permitted`` checks what the caller may grant.
"""

import unicodedata
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import moments, scopes, token
from ..conf import slug_of
from ..errors import LifecycleError
from ..models import naming
from ..models.texts import TEXTS
from ..policy import get_policy
from ..workloads import rules
from ..workloads.rules import Trust

#: The last year in which a key may end.
MAX_YEAR: Final = moments.MAX_YEAR
#: Longest time that a key or a secret keeps working beside its successor.
MAX_OVERLAP: Final = timedelta(days=7)


def is_text(text: str) -> bool:
    """Return whether databases and terminals can handle every character of ``text``."""
    categories = {
        unicodedata.category(character) for character in text if character not in "\r\n\t"
    }
    return categories.isdisjoint(("Cc", "Cs"))


def max_length(key: Any, name: str) -> int:
    return int(type(key)._meta.get_field(name).max_length)


def check_no_key_in(text: str, field: str) -> None:
    if token.holds_key(text):
        message = _(
            "This text contains a key. Enter the key's ID instead: the 16 characters before "
            "the secret."
        )
        raise LifecycleError("secret_in_text", message, field)


def clean_texts(given: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts about a key by column, each joined into one line.

    Raises ``LifecycleError`` as ``mint`` does, and ``TypeError`` for an unknown column.
    """
    if unknown := set(given) - set(TEXTS):
        raise TypeError(f"Unexpected keyword arguments: {', '.join(sorted(unknown))}.")
    return {name: _clean_text(TEXTS[name], text) for name, text in given.items()}


def _clean_text(column: Any, given: str) -> str:
    text, name = " ".join(given.split()), column.name
    check_no_key_in(text, name)
    if not text and not column.blank:
        raise LifecycleError("name_required", _("Enter a name."), name)
    words = {"text": column.verbose_name, "limit": column.max_length}
    if len(text) > column.max_length:
        code = "text_too_long"
        if name == "name":
            code = "name_too_long"
        message = _("Enter a %(text)s of at most %(limit)d characters.")
        raise LifecycleError(code, message % words, name)
    if not is_text(text):
        message = _("The %(text)s contains a character that cannot be displayed.")
    elif text and not naming.is_visible(text):
        message = _("The %(text)s has no visible characters.")
    elif naming.turns_direction(text):
        message = _("The %(text)s contains a character that changes the text direction.")
    else:
        return text
    code = "invalid_text"
    if name == "name":
        code = "invalid_name"
    raise LifecycleError(code, message % words, name)


def clean_scopes(names: Iterable[str], known: str = "") -> str:
    names = list(names)
    if not names:
        raise LifecycleError("scope_required", _("Choose at least one scope."), "scopes")
    if unknown := sorted(set(scopes.unknown(names)) - set(known.split())):
        message = _("Unknown scope: %(unknown)s. Valid scopes: %(known)s.") % {
            "unknown": ", ".join(unknown),
            "known": ", ".join(scopes.declared()),
        }
        raise LifecycleError("unknown_scope", message, "scopes")
    return scopes.join(names)


def clean_projects(user: Any, projects: Iterable[Any], known: Iterable[Any] = ()) -> list[Any]:
    projects = list(dict.fromkeys(projects))
    if not projects:
        message = _("Select at least one project, or allow all projects.")
        raise LifecycleError("project_required", message, "projects")
    own = set(get_policy().projects(user).filter(pk__in=[p.pk for p in projects]))
    if strangers := [p for p in projects if p not in own and p not in known]:
        message = _("%(user)s is not a member of the project %(slugs)s.") % {
            "user": user.get_username(),
            "slugs": ", ".join(slug_of(project) for project in strangers),
        }
        raise LifecycleError("unknown_project", message, "projects")
    return projects


@sensitive_variables("given")
def clean_public_key(given: str | Mapping[str, Any]) -> str:
    """Return a public key in PEM. No error repeats the input, which may be a private key.

    Raises ``LifecycleError`` as ``mint`` does.
    """
    try:
        from ..signatures import public_keys
    except ImportError:
        message = _("This site does not accept signed requests. Install apikeys[signatures].")
        raise LifecycleError("signatures_unavailable", message, "public_key") from None
    try:
        return public_keys.to_pem(public_keys.parse(given))
    except public_keys.PrivateKeyGiven:
        code = "private_key_given"
        message = _(
            "This is a private key. It was not stored, but it is no longer secret. Generate "
            "a new key pair and send only the public key."
        )
    except public_keys.UnsupportedPublicKey:
        code = "unsupported_public_key"
        message = _("This type of public key is not supported. Use Ed25519 or ECDSA P-256.")
    except public_keys.NotAPublicKey:
        code = "invalid_public_key"
        message = _(
            "This is not a public key. Send a public key in PEM format (BEGIN PUBLIC KEY) or "
            "as a JWK."
        )
    raise LifecycleError(code, message, "public_key")


def clean_trust(given: Any, *, direct_use: bool) -> Trust:
    """Return the trust that a caller asks for. Raises ``LifecycleError`` as ``mint`` does."""
    trust = rules.clean(given)
    if direct_use:
        check_direct_use(trust)
    return trust


def check_direct_use(trust: Trust) -> None:
    """Check that requests may carry tokens of the issuer of ``trust`` themselves."""
    if not rules.find_issuer(trust.issuer).direct_use:
        message = _(
            "This site does not accept tokens of this issuer as bearer tokens. Exchange them at "
            "the token endpoint."
        )
        raise LifecycleError("direct_use_not_allowed", message, "direct_use")


def check_overlap(overlap: timedelta) -> None:
    """Raise ``LifecycleError`` (``overlap_out_of_range``)."""
    if not timedelta(0) <= overlap <= MAX_OVERLAP:
        raise LifecycleError(
            "overlap_out_of_range", _("The overlap must be from 0 to 7 days."), "overlap"
        )


def check_expiry(expires_at: datetime | None) -> None:
    """Check that an expiry lies in the future and no later than ``MAX_YEAR``.

    Raises ``LifecycleError`` (``expiry_in_the_past``, ``expiry_too_late``).
    """
    if expires_at is not None and expires_at <= timezone.now():
        message = _("The expiry must be in the future.")
        raise LifecycleError("expiry_in_the_past", message, "expires_at")
    if expires_at is not None and expires_at.year > MAX_YEAR:
        raise _beyond_the_calendar()


def _beyond_the_calendar() -> LifecycleError:
    message = _("The expiry must be no later than the year %(year)d.")
    return LifecycleError("expiry_too_late", message % {"year": MAX_YEAR}, "expires_at")


def as_stored(expires_at: datetime | None) -> datetime | None:
    try:
        return None if expires_at is None else moments.stored(expires_at)
    except OverflowError:
        raise _beyond_the_calendar() from None


def clean_expiry(expires_at: datetime | None, owner: Any, start: datetime) -> datetime | None:
    expires_at = as_stored(expires_at)
    check_expiry(expires_at)
    allowed = within_lifetime(expires_at, owner, start)
    if expires_at is None and allowed is not None:
        raise _expiry_required()
    if allowed != expires_at:
        message = _("The expiry must be no later than %(days)d days after creation.")
        longest = get_policy().longest_lifetime(owner)
        days = {"days": longest.days if longest else 0}
        raise LifecycleError("expiry_too_late", message % days, "expires_at")
    return expires_at


def within_lifetime(expires_at: datetime | None, owner: Any, start: datetime) -> datetime | None:
    """Return ``expires_at`` or the latest expiry that the policy allows, whichever is earlier."""
    policy = get_policy()
    if (longest := policy.longest_lifetime(owner)) is not None:
        latest = start + longest
        return latest if expires_at is None or expires_at > latest else expires_at
    if expires_at is None and not policy.allows_no_expiry(owner):
        raise _expiry_required()
    return expires_at


def _expiry_required() -> LifecycleError:
    return LifecycleError("expiry_required", _("An expiry is required."), "expires_at")
