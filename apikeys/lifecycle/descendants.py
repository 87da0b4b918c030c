"""Revoke every key that was created with a credential, directly or through other keys.

The number of queries does not depend on the length of the chain: one query fetches all keys
of a lineage, and the links between them are followed in memory.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any

from django.db import router
from django.db.models import (
    BooleanField,
    ExpressionWrapper,
    Q,
    QuerySet,
    prefetch_related_objects,
)
from django.db.models.signals import pre_delete
from django.utils import timezone
from django.utils.translation import gettext as _

from .. import audit
from ..access import Access
from ..databases import deletions, transactions
from ..errors import LifecycleError
from ..keys.facts import KINDS
from ..models import KEY_MODELS, AnyKey, PersonalAccessToken, live
from ..models.chains import predecessors_of, rotated_into
from ..signals import key_revoked
from .tracing import Link, Makers, Trace

#: Maximum number of IDs in one statement.
_CHUNK = 5000
#: From this number of IDs on, a subquery is faster than a list of them.
_MANY = 500


#: The other fields of a link whose parents do not matter.
_UNKNOWN = ("", "", "", None)

# A key that replaces an ended one without a rotation stays valid: nobody knew its secret before.
_PREDECESSOR = rotated_into("replaces__public_id")
_FIELDS = ("pk", "public_id", "lineage", "minted_with", "made_with_token", _PREDECESSOR)


def _is_live() -> Any:
    return ExpressionWrapper(live(), BooleanField())


def lineage_of(key: AnyKey) -> str:
    """Return the ID of the first key in the chain that led to ``key``."""
    return key.lineage or key.public_id


def token_of(using: Access | None) -> str:
    """Return the primary key of the OAuth access token ``using``, or an empty string for a key."""
    return "" if using is None or using.kind in KINDS else using.credential_id


def upstream_of(using: Access | None, user: Any) -> str:
    """Return the origins of a key that ``using`` creates for ``user``: users and OAuth clients."""
    if using is None:
        return ""
    names = set(using.upstream.split())
    if using.user is not None:
        names.add(f"user:{using.user.pk}")
    if user is not None:
        names.discard(f"user:{user.pk}")  # verification of the key checks this user anyway
    return " ".join(sorted(names))


def end_made_with(
    *,
    keys: Collection[AnyKey] = (),
    older: bool = False,
    access_tokens: Collection[str] = (),
    reason: str,
    by: Any = None,
    using: Access | None = None,
) -> list[AnyKey]:
    """Revoke all descendants of ``keys`` and ``access_tokens``. Return the revoked keys.

    With ``older``, the descendants of the predecessors of ``keys`` end too. ``keys`` themselves,
    their predecessors and their successors stay valid, unless they descend from another of
    ``keys``. The successors of a revoked descendant are revoked too.
    """
    ended: list[AnyKey] = []
    with transactions.atomic(PersonalAccessToken, savepoint=False):
        trace = Trace(_makers_of(keys, older=older))
        makers: Collection[str] = trace.makers.ids
        lineages = set(trace.makers.lineages)
        tokens: Collection[str] = set(access_tokens)
        successors: Collection[Link] = ()
        # The next round finds a key that was created while its parent was being revoked.
        while makers or tokens or lineages:
            found = _linked(makers, tokens, lineages, successors)
            doomed = trace.follow(found, makers, tokens)
            ended += _revoke(_besides(trace.makers, doomed), reason, by, using)
            makers, tokens, successors = {link.public_id for link in doomed}, (), doomed
            lineages = {link.lineage or link.public_id for link in doomed} - lineages
    return ended


def below(keys: Collection[AnyKey], *, older: bool = False) -> list[AnyKey]:
    """Return the unended keys that were created with ``keys``, directly or through others.

    With ``older``, add the keys that were created with the predecessors of ``keys``. The
    successors of ``keys`` are left out. The successors of created keys are included. Takes two
    queries or more for each kind of key.
    """
    links = _walk(_makers_of(keys, older=older))
    found: list[AnyKey] = []
    for model in KEY_MODELS.values():
        for pks in _chunks(link.pk for link in links if link.model is model):
            found += _rows(model).filter(live(), pk__in=pks).order_by("pk")
    return found


def created_with(key: AnyKey) -> list[AnyKey]:
    """Return the unended keys that revoking ``key`` revokes too."""
    return below([key], older=True)


def newest_created_with(keys: Collection[AnyKey], most: int) -> tuple[list[AnyKey], int]:
    """Return the newest unended keys that revoking ``keys`` revokes too, and their number.

    Tokens come first. Reads no more than ``most`` keys of each kind as objects. ``keys``
    themselves are left out.
    """
    unended = [link for link in _walk(_makers_of(keys, older=True)) if link.is_live]
    found: list[AnyKey] = []
    for model in KEY_MODELS.values():
        pks = sorted((link.pk for link in unended if link.model is model), reverse=True)[:most]
        if pks:
            found += _rows(model).filter(pk__in=pks).order_by("-pk")
    return found[:most], len(unended)


def _makers_of(keys: Collection[AnyKey], *, older: bool) -> Makers:
    """Return ``keys``, with ``older`` also their predecessors, for a ``Trace``."""
    before: dict[str, str] = {}
    lineages = {lineage_of(key) for key in keys}
    for model in KEY_MODELS.values() if older else ():
        of_model = [key for key in keys if isinstance(key, model)]
        rows = predecessors_of(of_model, "public_id", "lineage", _PREDECESSOR)
        lineages |= {lineage or public_id for public_id, lineage, _older in rows.values()}
        before |= {public_id: name for public_id, _lineage, name in rows.values() if name}
        before |= {
            key.public_id: rows[key.replaces_id][0] for key in of_model if key.replaces_id in rows
        }
    return Makers({key.public_id for key in keys}, before, lineages)


def _besides(makers: Makers, links: Iterable[Link]) -> list[Link]:
    return [link for link in links if link.public_id not in makers.keys]


def _walk(origin: Makers) -> list[Link]:
    """Return the descendants of ``origin``, ended or not, besides its keys."""
    trace, makers, read = Trace(origin), origin.ids, set(origin.lineages)
    if len(makers) > _MANY:
        read -= makers  # the next round finds the lineages that the keys of a long chain began
    found = _linked(makers, (), read, ())
    while new := trace.follow(found, makers):
        makers = {link.public_id for link in new}
        unread = {link.lineage or link.public_id for link in new} - read
        if len(new) > _MANY and len(read) <= _MANY:
            alone = [link for link in new if link.lineage not in read]
            found = [
                *_beside(read),
                *_linked({each.public_id for each in alone}, (), unread, alone),
            ]
        else:
            found = _linked(makers, (), unread, new)
        read |= unread
    return _besides(origin, trace.found.values())


def _beside(lineages: Collection[str]) -> list[Link]:
    """Fetch the keys that a key of ``lineages`` created or was rotated into, of other lineages."""
    found: list[Link] = []
    of_parents = [
        _rows(model).filter(lineage__in=lineages).order_by() for model in KEY_MODELS.values()
    ]
    for model in KEY_MODELS.values():
        others = _rows(model).exclude(lineage__in=lineages).order_by()
        parents = [Q(minted_with__in=rows.values("public_id")) for rows in of_parents]
        parents += [Q(replaces__in=rows.values("pk")) for rows in of_parents if rows.model is model]
        for condition in parents:
            rows = others.filter(condition).values_list(*_FIELDS, _is_live())
            found += (Link(model, *row) for row in rows)
    return found


def check_apart(holder: AnyKey | None, key: AnyKey) -> None:
    """Raise ``LifecycleError`` (``created_with_key``) if ``holder`` was created with ``key``.

    Otherwise, a thief who created a key would undo what was done to the stolen one.
    """
    if holder is not None and holder in created_with(key):
        message = _("Your credential was created with this key. Use another one.")
        raise LifecycleError("created_with_key", message)


def end_from(
    upstream: Collection[str],
    *,
    user: Any = None,
    only: Callable[[AnyKey], bool] = lambda key: True,
    reason: str,
) -> None:
    """Revoke all keys that originate from all users and clients in ``upstream``, and descendants.

    ``user`` limits this to the user's tokens and to the project keys that the user created, and
    ``only`` to the keys for which it returns true.
    Keys store their origins, so they are found even if their access token was deleted.
    """
    keys: list[AnyKey] = []
    with transactions.atomic(PersonalAccessToken, savepoint=False):
        for model in KEY_MODELS.values():
            rows, names = _rows(model).filter(live()), set(upstream)
            if user is not None and model is PersonalAccessToken:
                rows = rows.filter(user=user)
            elif user is not None:
                names.add(f"user:{user.pk}")
            for name in names:
                rows = rows.filter(upstream__contains=name)
            found = [key for key in rows.order_by() if names <= set(key.upstream.split())]
            keys += filter(only, found)
        if keys:
            links = [Link(type(key), key.pk, key.public_id, *_UNKNOWN) for key in keys]
            _revoke(links, reason, None, None)
            end_made_with(keys=keys, reason=reason)


def _linked(
    makers: Collection[str],
    tokens: Collection[str],
    lineages: Collection[str],
    replaced: Collection[Link],
) -> list[Link]:
    """Fetch the keys of ``lineages`` and the keys that one of the given credentials created."""
    conditions = [Q(minted_with__in=ids) for ids in _chunks(makers)]
    conditions += [Q(made_with_token__in=ids) | Q(minted_with__in=ids) for ids in _chunks(tokens)]
    conditions += [Q(lineage__in=ids) for ids in _chunks(lineages)]
    found: dict[str, Link] = {}
    for model in KEY_MODELS.values():
        pks = [link.pk for link in replaced if link.model is model]
        for condition in (*conditions, *(Q(replaces__in=ids) for ids in _chunks(pks))):
            rows = _rows(model).filter(condition).order_by().values_list(*_FIELDS, _is_live())
            found.update((row[1], Link(model, *row)) for row in rows)
    return list(found.values())


def _revoke(doomed: Iterable[Link], reason: str, by: Any, using: Access | None) -> list[AnyKey]:
    ended: list[AnyKey] = []
    by_model: dict[Any, list[int]] = defaultdict(list)
    for link in doomed:
        by_model[link.model].append(link.pk)
    for model, pks in by_model.items():
        for chunk in _chunks(pks):
            # Descendants of an expired key may still be active.
            rows = _rows(model).filter(live(), pk__in=chunk).order_by("pk")
            keys: list[Any] = list(rows.select_for_update())
            now = timezone.now()
            values = {
                "revoked_at": now,
                "revoked_by": by.pk if by is not None else None,
                "revoked_reason": reason,
            }
            _rows(model).filter(pk__in=[key.pk for key in keys]).update(**values)
            owner = model.OWNER
            prefetch_related_objects(keys, owner)
            with audit.together():
                for key in keys:
                    key.revoked_at, key.revoked_by, key.revoked_reason = now, by, reason
                    key_revoked.send(model, key=key, by=by, using=using)
            ended += keys
    return ended


def _rows(model: Any) -> Any:
    return model._default_manager.using(router.db_for_write(model))


def _chunks(values: Iterable[Any]) -> Iterator[list[Any]]:
    listed = list(values)
    for start in range(0, len(listed), _CHUNK):
        yield listed[start : start + _CHUNK]


def _deleted(sender: Any, instance: AnyKey, origin: Any = None, **kwargs: Any) -> None:
    deletions.once(instance, origin, _end_what_they_made, "descendants")


def _end_what_they_made(rows: QuerySet[Any]) -> None:
    if keys := list(rows.filter(live()).select_for_update()):
        end_made_with(keys=keys, reason=_("Created with a key that was deleted."))


def connect() -> None:
    """Revoke the descendants of a key when the key is deleted."""
    for model in KEY_MODELS.values():
        pre_delete.connect(_deleted, sender=model, dispatch_uid="apikeys.lifecycle.descendants")
