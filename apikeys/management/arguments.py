"""Read the arguments of commands. Functions raise ``LifecycleError`` if a value is wrong."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from difflib import get_close_matches
from typing import Any, Final, Literal

from django.contrib.auth import get_user_model
from django.core.exceptions import ObjectDoesNotExist
from django.core.management.base import CommandParser
from django.utils import timezone
from django.views.decorators.debug import sensitive_variables

from .. import moments, token
from ..conf import slug_field
from ..errors import LifecycleError
from ..keys import forms
from ..keys.facts import KINDS, with_facts
from ..models import AnyKey, PersonalAccessToken, ProjectKey, get_project_model
from ..models.texts import OPTIONAL, TEXTS, about
from ..restrictions import RESTRICTIONS

#: Characters.
MAX_NAME: Final = TEXTS["name"].max_length
MAX_REASON: Final = PersonalAccessToken._meta.get_field("revoked_reason").max_length

_MAX_FILE = 65536  # characters
_MOST = 2**31 - 1  # rows; every database can count one more
_CANDIDATES = 1000  # names to compare with a mistyped one


def add_id(parser: CommandParser, *, optional: bool = False) -> None:
    parser.add_argument(
        "public_id",
        metavar="ID",
        nargs="?" if optional else None,
        help="The key's ID: 16 characters, which `list` shows.",
    )


def add_by(parser: CommandParser) -> None:
    parser.add_argument(
        "--by", metavar="USERNAME", help="The user that the audit log names as the actor."
    )


def add_reason(parser: CommandParser) -> None:
    parser.add_argument(
        "--reason",
        help=f"Why, for the audit log: up to {MAX_REASON} characters. Required. On a terminal, "
        "the command asks for it.",
    )


def add_limit(parser: CommandParser, noun: str) -> None:
    text = f"The maximum number of {noun} to show, 1 or more (default: %(default)s)."
    parser.add_argument("--limit", type=int, default=100, help=text)


def check_limit(limit: int) -> None:
    if not 1 <= limit <= _MOST:
        message = f"--limit takes a number from 1 to {_MOST}."
        raise LifecycleError("invalid_limit", message, "limit")


def words(given: Iterable[str] | None) -> list[str]:
    """Return the words of an option that may be repeated, and may have several words."""
    return [word for text in given or () for word in text.split()]


def refuse_secrets(values: Iterable[object]) -> None:
    """Raise ``LifecycleError`` (``secret_in_arguments``) if a value contains a key.

    Every user of the machine can see arguments, and names are stored unchanged.
    """
    if any(token.holds_start(str(value)) for value in values):
        raise secret_in_arguments()


def secret_in_arguments() -> LifecycleError:
    return LifecycleError(
        "secret_in_arguments",
        "An argument contains a key or its secret, which is now in your shell's history. Rotate "
        "that key. `verify` reads a credential from standard input; the other commands take an ID, "
        "the 16 characters after the second underscore.",
    )


def expiry(text: str) -> datetime | None:
    """Return the time of an expiry, or ``None`` for ``never``.

    ``text`` is a duration from now, a date (its last second) or a date and time. Raises
    ``LifecycleError`` (``invalid_expiry``) for anything else.
    """
    if text == "never":
        return None
    try:
        if (span := moments.parse_span(text)) is not None:
            return timezone.now() + span
        return moments.parse(text)
    except (ValueError, OverflowError):
        raise LifecycleError(
            "invalid_expiry",
            f"--expires does not understand {text!r}. {moments.FORMS}, or never.",
            "expires_at",
        ) from None


def moment(text: str, name: str) -> datetime:
    """Return a past time, for the option ``--name``.

    ``text`` is a duration before now, a date or a date and time. A date means its start for
    ``since``, and all of that day for ``until``. Raises ``LifecycleError`` (``invalid_moment``)
    for anything else.
    """
    try:
        if (span := moments.parse_span(text)) is not None:
            return timezone.now() - span
        return moments.parse_bound(text) if name == "until" else moments.parse_start(text)
    except (ValueError, OverflowError):
        raise LifecycleError(
            "invalid_moment", f"--{name} does not understand {text!r}. {moments.FORMS}.", name
        ) from None


def overlap(text: str) -> timedelta:
    """Return how long a rotated key stays valid."""
    span = timedelta(0) if text == "0" else moments.parse_span(text)
    if span is None:
        raise LifecycleError(
            "invalid_overlap",
            f"--overlap does not understand {text!r}. It takes a duration from 0 to 7d, such as "
            "30m, 12h or 1d.",
            "overlap",
        )
    return span


def duration(text: str, option: str) -> timedelta:
    """Return a duration, for the option ``--option``."""
    span = moments.parse_span(text)
    if span is None:
        raise LifecycleError(
            "invalid_duration",
            f"--{option} does not understand {text!r}. It takes a duration such as 90d, 12w or 1y.",
            option,
        )
    return span


def ago(text: str, option: str) -> datetime:
    """Return the moment that a duration ago was, for the option ``--option``."""
    with suppress(OverflowError):
        moment = timezone.now() - duration(text, option)
        if moment > moments.long_ago():
            return moment
    message = f"--{option} is too long ago: {text!r}."
    raise LifecycleError("invalid_duration", message, option)


def find_user(username: str) -> Any:
    model = get_user_model()
    try:
        users = model._default_manager
        if hasattr(users, "get_by_natural_key"):
            return users.get_by_natural_key(username)
        return users.get(**{model.USERNAME_FIELD: username})
    except (ObjectDoesNotExist, UnicodeEncodeError):  # bytes that are not text
        hint = _similar(model, model.USERNAME_FIELD, username)
        message = f"Unknown user {username!r}.{hint}"
        raise LifecycleError("unknown_user", message, "user") from None


def find_project(slug: str) -> Any:
    model = get_project_model()
    try:
        return model._default_manager.get(**{slug_field(): slug})
    except (ObjectDoesNotExist, UnicodeEncodeError):  # bytes that are not text
        message = f"Unknown project {slug!r}.{_similar(model, slug_field(), slug)}"
        raise LifecycleError("unknown_project", message, "project") from None


def find_key(public_id: str) -> AnyKey:
    """Return the key with this ID.

    Raises ``LifecycleError`` (``unknown_key``, ``invalid_id``, ``secret_in_arguments``). Its
    message never repeats text that is not an ID, because that may be a secret.
    """
    public_id = clean_id(public_id)
    for model in KINDS.values():
        if (key := with_facts(model).filter(public_id=public_id).first()) is not None:
            return key  # type: ignore[no-any-return]
    raise LifecycleError("unknown_key", f"No key has the ID {public_id}.", "id")


def clean_id(public_id: str) -> str:
    if token.holds_secret(public_id):
        raise secret_in_arguments()
    public_id = token.without_prefix(public_id)
    if not token.is_id(public_id):
        message = f"An ID is {token.ID_LENGTH} characters of a to z and 0 to 9. `list` shows it."
        raise LifecycleError("invalid_id", message, "id")
    return public_id


def _similar(model: Any, field: str, name: str) -> str:
    start = name[:1].encode(errors="ignore").decode()
    names = model._default_manager.filter(**{f"{field}__istartswith": start})
    candidates = names.values_list(field, flat=True).order_by(field)[:_CANDIDATES]
    close = get_close_matches(name, candidates, n=1)
    return f" Did you mean {close[0]!r}?" if close else ""


def add_texts(parser: CommandParser, verb: Literal["mint", "edit"]) -> None:
    """Add the option of each text that is optional for a key."""
    for name, column in OPTIONAL.items():
        limit = f"up to {column.max_length} characters."
        text = f"{about(column).removesuffix('.')}, {limit}"
        if verb == "edit":
            text = f"The new {name}, {limit} An empty one removes it."
        parser.add_argument(_flag(name), help=text)


def texts(options: Mapping[str, Any]) -> dict[str, str]:
    """Return the texts that were given, as arguments of ``lifecycle``."""
    return {name: options[name] for name in OPTIONAL if options[name] is not None}


def flags_of_texts() -> list[str]:
    return [_flag(name) for name in OPTIONAL]


def _flag(name: str) -> str:
    return f"--{name.replace('_', '-')}"


def add_restrictions(parser: CommandParser, verb: Literal["mint", "edit"]) -> None:
    """Add the option of each restriction that ``verb`` takes."""
    for each in RESTRICTIONS:
        option = each.option
        text = option.mint_help if verb == "mint" else option.edit_help
        if text and option.metavar is None:
            parser.add_argument(option.flag, action="store_true", help=text)
        elif text:
            how = "append" if option.repeats else "store"
            parser.add_argument(option.flag, metavar=option.metavar, action=how, help=text)


def restrictions(options: Mapping[str, Any], verb: Literal["mint", "edit"]) -> dict[str, Any]:
    """Return the restrictions that were given, as arguments of ``lifecycle``."""
    given: dict[str, Any] = {}
    for each in RESTRICTIONS:
        value = options.get(each.option.dest)
        if value is None or value is False:
            continue
        cleared = [each.option.clear] if each.option.repeats else each.option.clear
        lifts = verb == "edit" and value == cleared
        given[each.name] = each.as_json(each.empty) if lifts else each.from_option(value)
    return given


def add_trust(parser: CommandParser, text: str, *, required: bool = False) -> None:
    """Add the options about the workload that may use a key."""
    parser.add_argument("--issuer", metavar="ISSUER", required=required, help=text)
    parser.add_argument(
        "--claim",
        metavar="NAME=VALUE",
        action="append",
        help="A claim that the workload's identity token must have, such as "
        "repository_id=123456789. Repeat the option for several.",
    )
    parser.add_argument(
        "--audience",
        metavar="URL",
        help="The audience that the workload's identity token must have (default: the URL of this "
        "site).",
    )


def trust(
    issuer: str | None,
    claims: Iterable[str] | None,
    audience: str | None,
    *,
    model: Any = ProjectKey,
) -> dict[str, Any] | None:
    """Return what ``--issuer``, ``--claim`` and ``--audience`` say, as JSON has it.

    ``model`` is the kind of the key, or the key.
    """
    if issuer is None:
        if claims or audience:
            message = "Give --issuer with --claim and --audience."
            raise LifecycleError("missing_argument", message, "trust")
        return None
    if not model.TAKES_PUBLIC_KEY:
        message = "--issuer is for project keys. A personal access token has a secret."
        raise LifecycleError("contradictory_arguments", message, "trust")
    pairs = [claim.partition("=") for claim in claims or ()]
    names = [name for name, _, _ in pairs]
    if not all(equals for _, equals, _ in pairs) or len(set(names)) < len(names):
        message = "--claim takes NAME=VALUE, each name once."
        raise LifecycleError("invalid_trust", message, "trust")
    given = {"issuer": issuer, "claims": {name: value for name, _, value in pairs}}
    return given | ({"audience": audience} if audience else {})


def add_metadata(parser: CommandParser, text: str) -> None:
    parser.add_argument("--metadata", metavar="JSON|@FILE", help=text)


def metadata(given: str | None) -> dict[str, Any]:
    """Return the argument ``metadata`` of ``lifecycle``, if the option is given.

    ``given`` is a JSON object, or ``@`` and a file (``-`` for standard input). Raises
    ``LifecycleError`` (``invalid_metadata``, ``unreadable_file``).
    """
    if given is None:
        return {}
    text = read_file(given[1:], "metadata") if given.startswith("@") else given
    try:
        return {"metadata": forms.read_metadata(text)}
    except ValueError as error:
        raise LifecycleError("invalid_metadata", f"--metadata: {error}", "metadata") from None


def add_public_key(parser: CommandParser, text: str) -> None:
    parser.add_argument("--public-key", metavar="FILE", help=text)


@sensitive_variables()
def public_key(path: str | None) -> str | None:
    """Return the contents of a file, or of standard input if the path is ``-``."""
    return None if path is None else read_file(path, "public_key")


@sensitive_variables()
def read_file(path: str, field: str) -> str:
    """Return the contents of a file, or of standard input if the path is ``-``."""
    try:
        with open(0 if path == "-" else path, encoding="utf-8", closefd=path != "-") as file:
            return file.read(_MAX_FILE)
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        message = f"{path} cannot be read: {why}."
        raise LifecycleError("unreadable_file", message, field) from None
