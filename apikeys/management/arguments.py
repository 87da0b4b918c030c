"""What people type -> what it means. Each function raises ``LifecycleError`` with a sentence."""

import re
from collections.abc import Iterable
from datetime import date, datetime, time, timedelta
from difflib import get_close_matches
from typing import Any

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import CommandParser
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import token
from ..lifecycle import LifecycleError
from ..models import get_project_model
from ..records import KINDS, AnyKey, with_facts
from ..tables import in_time_zone

_DURATION = re.compile(r"(\d{1,6})([mhdwy])", re.ASCII)
_UNITS = {
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
    "w": timedelta(weeks=1),
    "y": timedelta(days=365),
}
_ID = re.compile(rf"[0-9a-z]{{{token.ID_LENGTH}}}", re.ASCII)
_KEY = re.compile(rf"_({'|'.join(token.KINDS)})_[0-9a-z]{{{token.ID_LENGTH}}}_.")  # or its start
_SECRET = re.compile(rf"[0-9A-Za-z]{{{token.SECRET_LENGTH},}}")
_MAX_FILE = 65536  # characters
_MOST = 2**31 - 1  # rows, of which every database can count one more
_CANDIDATES = 1000  # names to look for a similar one among


def add_id(parser: CommandParser) -> None:
    parser.add_argument("public_id", metavar="ID", help="The 16 characters that `list` shows.")


def add_limit(parser: CommandParser, text: str) -> None:
    parser.add_argument("--limit", type=int, default=100, help=text)


def check_limit(limit: int) -> None:
    if not 1 <= limit <= _MOST:
        message = f"--limit takes a number from 1 to {_MOST}."
        raise LifecycleError("invalid_limit", message, "limit")


def words(given: Iterable[str] | None) -> list[str]:
    """Of an option that may be given several times, and each time several words."""
    return [word for text in given or () for word in text.split()]


def refuse_secrets(values: Iterable[object]) -> None:
    """Arguments are for every user of the machine to see, and names are stored as they are."""
    if any(_KEY.search(str(value)) for value in values):
        raise secret_in_arguments()


def secret_in_arguments() -> LifecycleError:
    return LifecycleError(
        "secret_in_arguments",
        "A whole key, or its secret, was given as an argument, and now it is in your shell's "
        "history: rotate that key. `verify` takes a credential on standard input; the other "
        "commands take an id, the 16 characters after the second underscore.",
    )


def expiry(text: str) -> datetime | None:
    """A moment from a duration, a date (its end) or a date and time; ``None``: never."""
    if text == "never":
        return None
    try:
        if (span := _duration(text)) is not None:
            return timezone.now() + span
        return in_time_zone(_moment(text))
    except (ValueError, OverflowError):
        raise LifecycleError(
            "invalid_expiry",
            f"--expires does not understand {text!r}. It takes a duration such as 30m, 12h, 90d, "
            "4w or 1y, an ISO 8601 date such as 2030-01-31 (until its end) or date and time such "
            "as 2030-01-31T12:00Z, or never.",
            "expires_at",
        ) from None


def moment(text: str, name: str) -> datetime:
    """A moment from a date (its start) or a date and time."""
    try:
        return in_time_zone(datetime.fromisoformat(text))
    except (ValueError, OverflowError):
        raise LifecycleError(
            "invalid_moment",
            f"--{name} does not understand {text!r}. It takes an ISO 8601 date such as "
            "2030-01-31, or a date and time such as 2030-01-31T12:00Z.",
            name,
        ) from None


def overlap(text: str) -> timedelta:
    """How long a rotated key stays valid."""
    span = timedelta(0) if text == "0" else _duration(text)
    if span is None:
        raise LifecycleError(
            "invalid_overlap",
            f"--overlap does not understand {text!r}. It takes a duration from 0 to 7d, such as "
            "30m, 12h or 1d.",
            "overlap",
        )
    return span


def duration(text: str, option: str) -> timedelta:
    """A span of time."""
    span = _duration(text)
    if span is None:
        raise LifecycleError(
            "invalid_duration",
            f"--{option} does not understand {text!r}. It takes a duration such as 90d, 12w or 1y.",
            option,
        )
    return span


def _duration(text: str) -> timedelta | None:
    match = _DURATION.fullmatch(text)
    return int(match[1]) * _UNITS[match[2]] if match else None


def _moment(text: str) -> datetime:
    try:
        return datetime.combine(date.fromisoformat(text), time(23, 59, 59))
    except ValueError:
        return datetime.fromisoformat(text)


def find_user(username: str) -> Any:
    model = get_user_model()
    try:
        return model._default_manager.get_by_natural_key(username)
    except (ObjectDoesNotExist, UnicodeEncodeError):  # of bytes that are no text
        hint = _similar(model, model.USERNAME_FIELD, username)
        message = f"There is no user {username!r}.{hint}"
        raise LifecycleError("unknown_user", message, "user") from None


def find_project(slug: str) -> Any:
    model = get_project_model()
    try:
        return model._default_manager.get(slug=slug)
    except (ObjectDoesNotExist, UnicodeEncodeError):  # of bytes that are no text
        message = f"There is no project {slug!r}.{_similar(model, 'slug', slug)}"
        raise LifecycleError("unknown_project", message, "project") from None


def find_key(public_id: str) -> AnyKey:
    """Never repeats what is not an id: it may be a secret."""
    public_id = clean_id(public_id)
    for model in KINDS.values():
        if (key := with_facts(model).filter(public_id=public_id).first()) is not None:
            return key  # type: ignore[no-any-return]
    raise LifecycleError("unknown_key", f"There is no key with the id {public_id}.", "id")


def clean_id(public_id: str) -> str:
    if _SECRET.search(public_id):
        raise secret_in_arguments()
    if not _ID.fullmatch(public_id):
        message = f"An id is {token.ID_LENGTH} characters of a to z and 0 to 9; `list` shows them."
        raise LifecycleError("invalid_id", message, "id")
    return public_id


def _similar(model: Any, field: str, name: str) -> str:
    start = name[:1].encode(errors="ignore").decode()
    names = model._default_manager.filter(**{f"{field}__istartswith": start})
    candidates = names.values_list(field, flat=True).order_by(field)[:_CANDIDATES]
    close = get_close_matches(name, candidates, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def add_public_key(parser: CommandParser, text: str) -> None:
    parser.add_argument("--public-key", metavar="FILE", help=text)


@sensitive_variables()
def public_key(path: str | None) -> str | None:
    """What is in a file, or comes on standard input where the path is ``-``."""
    if path is None:
        return None
    try:
        with open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-") as file:
            return file.read(_MAX_FILE)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is no text"
        message = f"{path} cannot be read: {why}."
        raise LifecycleError("unreadable_file", message, "public_key") from None
