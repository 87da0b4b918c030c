"""Leave out the projects in which a credential is denied, in the query for its projects.

A decision is a row of ``ProjectAccess``. Nothing of it is cached, so it takes effect at the next
request in every process. ``apikeys.reach`` writes the rows.
"""

from collections.abc import Callable, Iterator
from typing import Any, Final, NamedTuple

from django.db.models import BooleanField, Expression, F, Q, QuerySet
from django.db.models.sql.where import AND

from . import token
from .models import ProjectAccess, ProjectRules

#: The kinds of credentials in a decision.
PERSONAL_ACCESS_TOKEN: Final = token.KIND_NAMES[token.PAT]
PROJECT_KEY: Final = token.KIND_NAMES[token.KEY]
OAUTH: Final = "oauth"


class Mark(NamedTuple):
    """The ID and the kind that a decision names a credential by."""

    id: str
    kind: str


def marks_of(access: Any) -> list[Mark]:
    """Return the marks by which a user's credential may be denied.

    One mark is the personal access token itself, or the token for which it was issued. The others
    are the grants of users to the OAuth clients above it. The token comes first.
    """
    found = []
    if access.key or access.kind == PERSONAL_ACCESS_TOKEN:
        found.append(Mark(access.revoked_with, PERSONAL_ACCESS_TOKEN))
    if access.upstream:
        found += granted(access.upstream, access.user)
    return found


def granted(upstream: str, user: Any) -> Iterator[Mark]:
    """Yield the marks of what ``user``, and the users in ``upstream``, granted to its clients."""
    names = [name.partition(":") for name in upstream.split()]
    users = {str(user.pk), *(pk for what, _, pk in names if what == "user")}
    for what, _, client in names:
        if what == "client":
            for pk in sorted(users):
                yield Mark(token.grant_id(client, pk), OAUTH)


def copy(old: Any, new: Any, *, approvals: bool) -> None:
    """Give the personal access token ``new`` the denials of ``old``, and with them its approvals.

    A rotated token keeps its approvals. A token that was created with it needs its own. A
    decision about ``new`` stays.
    """
    rows = ProjectAccess.objects.filter(kind=PERSONAL_ACCESS_TOKEN, credential=old.public_id)
    if not approvals:
        rows = rows.filter(is_denied=True)
    copies = [_copied(row, new.public_id) for row in rows.order_by("pk")]
    if copies:
        ProjectAccess.objects.bulk_create(copies, ignore_conflicts=True)


def forget_approvals(key: Any) -> None:
    """Delete the approvals of a token that was extended. Projects with approvals ask again."""
    ProjectAccess.objects.filter(
        kind=PERSONAL_ACCESS_TOKEN, credential=key.public_id, is_denied=False
    ).delete()


def denials(access: Any) -> QuerySet[ProjectAccess]:
    """Return the denials of a user's credential, or of an application above it, in any project."""
    named = Q(pk__in=[])
    for mark in marks_of(access) if access.user is not None else ():
        named |= Q(credential=mark.id, kind=mark.kind)
    return ProjectAccess.objects.filter(named, is_denied=True)


def denied_to(access: Any) -> set[Any]:
    """Return the primary keys of the projects in which a user's credential is denied. One query."""
    return set(denials(access).values_list("project_id", flat=True))


def _copied(row: ProjectAccess, credential: str) -> ProjectAccess:
    facts = {
        field.attname: getattr(row, field.attname)
        for field in row._meta.concrete_fields
        if not field.primary_key
    }
    return ProjectAccess(**facts | {"credential": credential})


def undenied(projects: QuerySet[Any], access: Any, **only: Any) -> QuerySet[Any]:
    """Return the ``projects`` in which a user's credential is neither denied nor unapproved.

    ``only`` are conditions of ``filter``.
    """
    marks = marks_of(access)
    if not marks:
        return projects.filter(**only)
    if projects.query.is_sliced or projects.query.combinator:
        return projects.filter(_Undenied(F("pk"), marks), **only)  # raises what Django raises
    narrowed = projects.filter(**only) if only else projects.all()
    # Not by filter(), which takes most of the time of the whole query.
    query = narrowed.query
    query.where.add(_Undenied(query.resolve_ref("pk"), marks), AND)
    return narrowed


class _Undenied(Expression):
    """A condition on a row of projects. Its SQL is composed once, because the ORM is slow."""

    conditional = True

    def __init__(self, pk: Any, marks: list[Mark]) -> None:
        super().__init__(output_field=_BOOLEAN)
        self.marks, self.pk = marks, pk

    def get_source_expressions(self) -> list[Any]:
        return [self.pk]

    def set_source_expressions(self, exprs: Any) -> None:
        (self.pk,) = exprs

    def as_sql(self, compiler: Any, connection: Any) -> tuple[str, list[Any]]:  # type: ignore[override]
        pk, of_pk = compiler.compile(self.pk)
        awaits = self.marks[0].kind == PERSONAL_ACCESS_TOKEN
        known = connection.vendor, len(self.marks), awaits
        if (text := _composed.get(known)) is None:
            text = _composed[known] = _compose(len(self.marks), awaits, connection.ops.quote_name)
        params = [*of_pk, True, *(value for mark in self.marks for value in mark)]
        if awaits:
            params += [*of_pk, True, *of_pk, False, *self.marks[0]]
        return text.replace("{pk}", pk), params


_BOOLEAN: Final = BooleanField()
_composed: Final[dict[tuple[str, int, bool], str]] = {}


def _compose(number: int, awaits: bool, quote: Callable[[str], str]) -> str:
    def table(model: Any, *names: str) -> list[str]:
        columns = [quote(model._meta.get_field(name).column) for name in names]
        # A short alias, because Django's SQLite backend scans the whole statement at each call.
        return [f"{quote(model._meta.db_table)} kd", *(f"kd.{column}" for column in columns)]

    decisions, project, is_denied, kind, credential = table(
        ProjectAccess, "project", "is_denied", "kind", "credential"
    )
    rules, of_rules, approves = table(ProjectRules, "project", "approves_tokens")
    same = f"({credential} = %s AND {kind} = %s)"
    decided = f"SELECT 1 FROM {decisions} WHERE {project} = {{pk}} AND {is_denied} = %s AND "  # noqa: S608 - names of tables and columns
    denied = f"NOT EXISTS ({decided}({' OR '.join([same] * number)}))"
    if not awaits:
        return denied
    requires = f"SELECT 1 FROM {rules} WHERE {of_rules} = {{pk}} AND {approves} = %s"  # noqa: S608
    return f"({denied} AND (NOT EXISTS ({requires}) OR EXISTS ({decided}{same})))"
