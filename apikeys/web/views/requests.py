"""Template data of the requests on the page *Approvals*: pending keys, and tokens in a project."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from django.urls import reverse

from ... import mail
from ...conf import slug_of
from ...keys import facts
from ...lifecycle import permitted
from ...models import AnyKey, PersonalAccessToken, State
from ...reach import affected
from ...reach.requests import Request, effective_scopes
from ...reach.shown import facts_of
from ...templatetags.apikeys_pages import quoted
from ..access import names_of
from ..owners import owner_of
from .rows import creators_of, labelled, rows_of

#: The first part of the value of a request of a token for a project.
ACCESS = "access"

#: A pending key, or a token that is pending approval in a project.
Asked = AnyKey | Request


def key_of(asked: Asked) -> AnyKey:
    return asked.key if isinstance(asked, Request) else asked


def name_of(asked: Asked) -> str:
    """Return the kind, ID and project of a request in one word."""
    if isinstance(asked, Request):
        return f"{ACCESS}:{asked.key.public_id}:{quote(slug_of(asked.project), safe='')}"
    return f"{asked.KIND}:{asked.public_id}"


def value_of(asked: Asked) -> str:
    """Return the value of a request in forms: its name, and a digest of what the page shows.

    It has no spaces. A pending key needs no digest, because it cannot be extended.
    """
    name = name_of(asked)
    if isinstance(asked, Request):
        return f"{name}:{facts_of(asked.key, asked.key.scope)}"
    return name


def label_of(asked: Asked) -> str:
    """Return the name of a request in a sentence."""
    name = quoted(key_of(asked).name)
    return f"{name} ({asked.project})" if isinstance(asked, Request) else name


def is_working(asked: Asked) -> bool:
    """Return whether the key of a request is neither pending nor paused."""
    return key_of(asked).state() == State.LIVE


def rows_of_requests(user: Any, found: Iterable[Asked]) -> list[dict[str, Any]]:
    """Return the template data of requests, oldest first.

    Makes four queries at most, and some for each token that created keys or was rotated.
    A policy that overrides how scopes are found finds them for each project.
    """
    ordered = sorted(found, key=lambda each: (key_of(each).created_at, key_of(each).pk))
    tokens = [each for each in ordered if isinstance(each, Request)]
    stopped = dict(zip(map(name_of, tokens), affected.denied_with_each(tokens), strict=True))
    creators = creators_of([each for each in ordered if not isinstance(each, Request)])
    allowed = effective_scopes(tokens)
    return [
        _row(user, each, creators, allowed) | {"affected": names_of(stopped.get(name_of(each), []))}
        for each in ordered
    ]


def _row(
    user: Any,
    asked: Asked,
    creators: dict[str, Any],
    allowed: dict[tuple[Any, Any], list[str]],
) -> dict[str, Any]:
    key = key_of(asked)
    owner, columns = owner_of(user, key), facts.COLUMNS_OF_APPROVALS
    (row,) = rows_of([key], owner, columns=columns, with_usage=False, creators=creators)
    row |= {"value": value_of(asked), "is_own": is_own(user, key), "access_to": None}
    row |= {"is_mailed": is_mailed(user, asked)}
    # The pages of a user's token are the user's alone.
    is_seen = owner.project is not None or owner.user.pk == key.owner.pk
    row |= {"page": row["url"] if is_seen else ""}
    if not isinstance(asked, Request):
        kwargs = {"kind": key.KIND, "key_id": key.public_id}
        return row | {"decide": reverse("apikeys:decide", kwargs=kwargs), "why": why(key)}
    # Managers of the project learn no more of the token than on the page *Access*.
    hidden: dict[str, Any] = {"texts": [], "metadata": ""}
    return row | hidden | {
        "access_to": asked.project,
        "projects": [asked.project],
        "scopes": labelled(tuple(allowed[asked.project.pk, key.pk])),
        "decide": reverse("apikeys:decide_many"),
        "is_rotated": key.rotated_at is not None,
    }  # fmt: skip


def why(key: AnyKey) -> list[tuple[str, str]]:
    """Return the scopes of a pending key that need approval today, with their descriptions."""
    return labelled(tuple(permitted.to_approve(key.owner, key.scope)))


def is_own(user: Any, key: AnyKey) -> bool:
    """Return whether ``user`` created the request."""
    creator = key.user if isinstance(key, PersonalAccessToken) else key.created_by
    return creator is not None and creator.pk == user.pk


def is_mailed(user: Any, asked: Asked) -> bool:
    """Return whether a mail tells the owner that ``user`` has rejected the request."""
    name, key = ("denied", asked.key) if isinstance(asked, Request) else ("revoked", asked)
    if not mail.is_sent(name):
        return False
    # The managers of a project's keys would take a query for each request.
    return not isinstance(key, PersonalAccessToken) or bool(mail.recipients(key, but=user))
