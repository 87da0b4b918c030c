from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import date, datetime
from enum import Enum
from typing import Any, ClassVar, NamedTuple, Protocol

from django import forms
from django.db import models
from django.http import HttpRequest
from django.utils.functional import Promise

from .. import moments
from ..errors import LifecycleError
from ..refusals import Refusal, Refused


class Phase(Enum):
    """When a restriction is checked, and so what it can read."""

    #: With the key's row and the time only. A credential that passed is not asked again.
    VERIFY = "verify"
    #: With the address and the headers of the request.
    REQUEST = "request"
    #: After authorization, where each request is counted.
    SPEND = "spend"


class Circumstances(NamedTuple):
    """The request and time that a restriction is checked against."""

    now: datetime
    #: Whether the key is presented to the token endpoint, in exchange for an access token.
    exchange: bool = False
    #: The address of the client; ``None`` if it is unknown, and in the phase ``VERIFY``.
    ip: str | None = None
    #: ``None`` in the phase ``VERIFY``, and where a key is checked without a request.
    request: HttpRequest | None = None


class Terms(NamedTuple):
    """The other terms of a key, for a restriction that excludes some of them."""

    expires_at: datetime | None
    #: Whether the key signs its requests, and so has no secret.
    signs: bool


class Fields(Protocol):
    """The form fields of the settings pages, or of the admin. The rest is as for a ``Field``."""

    def words(self, *, lines: int = 1, **kwargs: Any) -> forms.Field:
        """Return a field whose value is a list of words."""

    def tick(self, **kwargs: Any) -> forms.Field:
        """Return a field whose value is ``True`` or ``False``."""

    def moment(self, of_day: Callable[[date], datetime], **kwargs: Any) -> forms.Field:
        """Return a field whose value is a moment or ``None``.

        ``of_day`` returns the moment that a date without a time means.
        """


@dataclass(frozen=True)
class Option:
    """How ``manage.py apikeys mint`` and ``edit`` take a restriction."""

    flag: str
    mint_help: str
    #: Empty: ``edit`` has no such option.
    edit_help: str = ""
    #: ``None``: the option takes no value.
    metavar: str | None = None
    #: Whether the option may be given several times, for a list of values.
    repeats: bool = True
    #: The value with which ``edit`` lifts the restriction.
    clear: str = ""
    #: The text that commands show for an empty list.
    absent: str = "none"

    @property
    def dest(self) -> str:
        """The name under which the parser stores what is given."""
        return self.flag.removeprefix("--").replace("-", "_")


@dataclass(frozen=True)
class Json:
    """The JSON form of a restriction and its OpenAPI schema."""

    #: The type of the value in Python: ``bool``, ``str``, ``datetime`` or ``list[str]``.
    type: Any
    #: What the schema says of the value that a key has, and of a value that is asked for.
    about: str
    asked_about: str
    #: Whether a key may have no value; JSON then has null.
    optional: bool = False
    #: Of a moment: what a date without a time means.
    of_day: Callable[[date], datetime] = moments.end_of
    #: The schema of one item of a list, and the most items that a request may have.
    item: Mapping[str, Any] = field(default_factory=dict)
    most: int | None = None


class Restriction(ABC):
    """One way to restrict a key: its column, its input, and whether one value covers another."""

    #: The column, the argument of ``mint`` and ``edit``, and the field in JSON.
    name: ClassVar[str]
    #: Whether the form shows it at once, rather than among *More options*.
    is_common: ClassVar[bool] = False
    phase: ClassVar[Phase]
    #: The stored value of a key that is not restricted.
    empty: ClassVar[Any]
    #: An abstract model with the column.
    columns: ClassVar[type[models.Model]]
    option: ClassVar[Option]
    #: What a request is refused with that the restriction does not allow.
    refusal: ClassVar[Refusal]
    json: ClassVar[Json]
    #: What pages call it.
    label: ClassVar[str | Promise]
    #: Whether pages show it beside the expiry, rather than below the scopes.
    is_about_time: ClassVar[bool] = False
    #: Whether pages show a value in the type of code.
    is_code: ClassVar[bool] = False

    @abstractmethod
    def parse(self, given: Any) -> Any:
        """Return what a key stores for ``given``. Raises ``LifecycleError``."""

    def clean(self, given: Any, owner: Any) -> Any:
        """Return what a key of ``owner`` stores for ``given``. Raises ``LifecycleError``."""
        return self.parse(given)

    @abstractmethod
    def covers(self, bound: Any, value: Any) -> bool:
        """Return whether ``value`` allows no more than ``bound``; both as stored."""

    def both(self, one: Any, other: Any) -> Any:
        """Return a value that allows no more than either. Raises ``Refused`` without one."""
        if self.covers(one, other):
            return other
        if self.covers(other, one):
            return one
        raise Refused(self.refusal)

    def check(self, value: Any, circumstances: Circumstances) -> None:
        """Raise ``Refused`` if ``value``, which is not empty, does not allow this use.

        A restriction of the phase ``SPEND`` has ``rates`` instead.
        """
        raise NotImplementedError(self.name)

    def rates(self, value: Any) -> str:
        """Return the rate limits that requests are counted against, separated by spaces.

        Only of a restriction of the phase ``SPEND``.
        """
        raise NotImplementedError(self.name)

    def check_terms(self, value: Any, terms: Terms) -> None:  # noqa: B027 - most go with all
        """Raise ``LifecycleError`` if a key with ``terms`` cannot have ``value``."""

    def claims(self, value: Any) -> Mapping[str, Any]:
        """Return the members of an introspection response for ``value`` (RFC 7662 section 2.2)."""
        return {}

    def not_grantable(self, bound: Any) -> LifecycleError:
        """Return the error for a value that the credential with ``bound`` cannot grant.

        Not called for restrictions of phase ``VERIFY``, which do not limit what a credential may
        grant.
        """
        raise NotImplementedError(self.name)

    @abstractmethod
    def as_json(self, value: Any) -> Any:
        """Return ``value`` as JSON and audit entries show it."""

    def from_option(self, given: Any) -> Any:
        """Return what the command line option gives, as ``parse`` takes it."""
        return given

    @property
    def field_name(self) -> str:
        """The name of the field on the settings pages."""
        return self.name

    def is_offered(self) -> bool:
        """Return whether forms have the field. A key may have the restriction anyway."""
        return True

    @abstractmethod
    def field(self, fields: Fields) -> forms.Field:
        """Return the form field."""

    def to_form(self, value: Any) -> Any:
        """Return a stored value as the form field takes it."""
        return self.as_json(value)

    def from_form(self, given: Any) -> Any:
        """Return the value of the form field, as ``parse`` takes it."""
        return given

    @abstractmethod
    def sentence(self, value: Any) -> str:
        """Return what ``value``, which is not empty, means for the key, as a sentence."""

    def display(self, value: Any) -> str:
        """Return ``value``, which is not empty, as the page of a key shows it."""
        return self.sentence(value)

    def pause(self, value: Any, now: datetime) -> str:
        """Return why a key with ``value`` does not work yet, in a few words; empty if it does."""
        return ""
