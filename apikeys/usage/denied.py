"""Recognise that a request was refused only because its credential is denied in the project.

Only refusals come here, so a request that is allowed pays nothing.
"""

from collections.abc import Collection
from datetime import datetime
from typing import Any, Final, NamedTuple

from .. import decisions, refusals
from ..access import PERSONAL_ACCESS_TOKEN, Access, credential_of
from ..databases.primary import from_primary, reading_primary
from ..models import EndedUse, PersonalAccessToken
from ..policy import get_policy
from . import note_ended

_LONGEST: Final = EndedUse._meta.get_field("project_pk").max_length or 0


class Denial(NamedTuple):
    """A denial that refused a request."""

    #: The primary key of the project, as text.
    project: str
    at: datetime
    #: The primary key of the personal access token; ``None`` for another credential.
    token_pk: int | None


@reading_primary()
def find(access: Access, required: Collection[str], projects: Collection[Any]) -> Denial | None:
    """Return the denial without which ``access`` has ``required`` in one of ``projects``.

    ``projects`` are primary keys. Return ``None`` too if the user does not have the scopes in the
    project, or the credential was not given the project: then the denial is not to be known.
    """
    if access.user is None or access.project is not None or not access.allows(*required):
        return None
    denials = {
        row.project_id: row for row in decisions.denials(access).filter(project__in=projects)
    }
    if not denials:
        return None
    only: dict[str, Any] = {"pk__in": list(denials)}
    reached = get_policy().projects(access.user, tuple(required)).filter(**only)
    if access.selected is not None:
        reached = reached.filter(pk__in=access.selected())
    project = from_primary(reached).first()
    if project is None:
        return None
    text = str(project.pk)
    return Denial(
        text, denials[project.pk].at, _token_pk(access) if len(text) <= _LONGEST else None
    )


def note(denial: Denial, ip: str | None) -> None:
    """Count the use of a personal access token that was denied. Makes no query."""
    if denial.token_pk is not None:
        code = refusals.DENIED_IN_PROJECT.code
        note_ended(PersonalAccessToken, denial.token_pk, ip, code, denial.project, denial.at)


def _token_pk(access: Access) -> int | None:
    kind, public_id = credential_of(access)
    if kind != PERSONAL_ACCESS_TOKEN:
        return None
    rows = PersonalAccessToken._default_manager.filter(public_id=public_id)
    return rows.values_list("pk", flat=True).first()
