"""Revoke every key that was created with a credential, directly or through other keys.

The number of queries does not depend on the length of the chain: one query fetches all keys
of a lineage, and the links between them are followed in memory.
"""

from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Any, NamedTuple

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

#: Maximum number of IDs in one statement.
_CHUNK = 5000
#: From this number of IDs on, a subquery is faster than a list of them.
_MANY = 500


class _Link(NamedTuple):
    """A key and the credentials whose end revokes it."""

    model: type[AnyKey]
    pk: int
    public_id: str
    lineage: str
    minted_with: str
    made_with_token: str
    #: The key that was rotated into this one.
    replaces: str | None
    #: Whether it had not ended when it was read.
    is_live: bool = True


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
    access_tokens: Collection[str] = (),
    reason: str,
    by: Any = None,
    using: Access | None = None,
) -> list[AnyKey]:
    """Revoke all descendants of ``keys`` and ``access_tokens``. Return those that it revoked.

    ``keys`` and their successors stay valid. The successors of a revoked descendant are
    revoked too.
    """
    ended: list[AnyKey] = []
    with transactions.atomic(PersonalAccessToken, savepoint=False):
        spared = {key.public_id for key in keys}
        lineages = {lineage_of(key) for key in keys}
        makers: Collection[str] = spared
        tokens: Collection[str] = set(access_tokens)
        successors: Collection[_Link] = ()
        known = set(spared)
        # The next round finds a key that was created while its parent was being revoked.
        while makers or tokens or lineages:
            found = _linked(makers, tokens, lineages, successors)
            doomed = _below(found, makers, tokens, known, spared)
            known.update(link.public_id for link in doomed)
            ended += _revoke(doomed, reason, by, using)
            makers, tokens, successors = {link.public_id for link in doomed}, (), doomed
            lineages = {link.lineage or link.public_id for link in doomed} - lineages
    return ended


def below(keys: Collection[AnyKey]) -> list[AnyKey]:
    """Return the unended keys that were created with ``keys``, directly or through others.

    The successors of ``keys`` are left out. The successors of created keys are included.
    Takes two queries or more for each kind of key.
    """
    links = _walk({key.public_id for key in keys}, {lineage_of(key) for key in keys})
    found: list[AnyKey] = []
    for model in KEY_MODELS.values():
        for pks in _chunks(link.pk for link in links if link.model is model):
            found += _rows(model).filter(live(), pk__in=pks).order_by("pk")
    return found


def created_with(key: AnyKey) -> list[AnyKey]:
    """Return the unended keys that revoking ``key`` revokes too."""
    older: list[Any] = key.predecessors()
    return below([key, *older])


def newest_created_with(keys: Collection[AnyKey], most: int) -> tuple[list[AnyKey], int]:
    """Return the newest unended keys that revoking ``keys`` revokes too, and their number.

    Tokens come first. Reads no more than ``most`` keys of each kind as objects. ``keys``
    themselves are left out.
    """
    links = {(key.public_id, lineage_of(key)) for key in keys}
    for model in KEY_MODELS.values():
        of_model = [key for key in keys if isinstance(key, model)]
        rows = predecessors_of(of_model, "public_id", "lineage")
        links |= {(public_id, lineage or public_id) for public_id, lineage in rows}
    makers = {public_id for public_id, _lineage in links}
    # The next round finds the lineage that a key of a long rotation chain began.
    lineages = {name for own, name in links if len(links) <= _MANY or name != own}
    unended = [link for link in _walk(makers, lineages) if link.is_live]
    found: list[AnyKey] = []
    for model in KEY_MODELS.values():
        pks = sorted((link.pk for link in unended if link.model is model), reverse=True)[:most]
        if pks:
            found += _rows(model).filter(pk__in=pks).order_by("-pk")
    return found[:most], len(unended)


def _walk(spared: Collection[str], lineages: Collection[str]) -> list[_Link]:
    """Return the descendants of the keys with the IDs ``spared``, ended or not."""
    makers, read = spared, set(lineages)
    links: list[_Link] = []
    known = set(spared)
    found = _linked(spared, (), lineages, ())
    while new := _below(found, makers, (), known, spared):
        known.update(link.public_id for link in new)
        links += new
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
    return links


def _beside(lineages: Collection[str]) -> list[_Link]:
    """Fetch the keys that a key of ``lineages`` created or was rotated into, of other lineages."""
    found: list[_Link] = []
    of_parents = [
        _rows(model).filter(lineage__in=lineages).order_by() for model in KEY_MODELS.values()
    ]
    for model in KEY_MODELS.values():
        others = _rows(model).exclude(lineage__in=lineages).order_by()
        parents = [Q(minted_with__in=rows.values("public_id")) for rows in of_parents]
        parents += [Q(replaces__in=rows.values("pk")) for rows in of_parents if rows.model is model]
        for condition in parents:
            rows = others.filter(condition).values_list(*_FIELDS, _is_live())
            found += (_Link(model, *row) for row in rows)
    return found


def check_apart(holder: AnyKey | None, key: AnyKey) -> None:
    """Raise ``LifecycleError`` (``created_with_key``) if ``holder`` was created with ``key``.

    Otherwise, a thief who created a key would undo what was done to the stolen one.
    """
    makers: list[Any] = [key, *key.predecessors()] if holder is not None else []
    if makers and holder in below(makers):
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
            links = [_Link(type(key), key.pk, key.public_id, *_UNKNOWN) for key in keys]
            _revoke(links, reason, None, None)
            end_made_with(keys=keys, reason=reason)


def _linked(
    makers: Collection[str],
    tokens: Collection[str],
    lineages: Collection[str],
    replaced: Collection[_Link],
) -> list[_Link]:
    """Fetch the keys of ``lineages`` and the keys that one of the given credentials created."""
    conditions = [Q(minted_with__in=ids) for ids in _chunks(makers)]
    conditions += [Q(made_with_token__in=ids) | Q(minted_with__in=ids) for ids in _chunks(tokens)]
    conditions += [Q(lineage__in=ids) for ids in _chunks(lineages)]
    found: dict[str, _Link] = {}
    for model in KEY_MODELS.values():
        pks = [link.pk for link in replaced if link.model is model]
        for condition in (*conditions, *(Q(replaces__in=ids) for ids in _chunks(pks))):
            rows = _rows(model).filter(condition).order_by().values_list(*_FIELDS, _is_live())
            found.update((row[1], _Link(model, *row)) for row in rows)
    return list(found.values())


def _below(
    found: Iterable[_Link],
    makers: Iterable[str],
    tokens: Iterable[str],
    known: Collection[str],
    spared: Collection[str],
) -> list[_Link]:
    """Return the members of ``found`` that the links lead to, each once."""
    by_link: dict[tuple[str, str], list[_Link]] = defaultdict(list)
    for link in found:
        by_link["key", link.minted_with].append(link)
        by_link["token", link.minted_with].append(link)
        by_link["token", link.made_with_token].append(link)
        if link.replaces is not None and link.replaces not in spared:
            by_link["key", link.replaces].append(link)
    doomed: dict[str, _Link] = {}
    ahead = [*(("key", each) for each in makers), *(("token", each) for each in tokens)]
    while ahead:
        for link in by_link[ahead.pop()]:
            if link.public_id not in doomed and link.public_id not in known:
                doomed[link.public_id] = link
                ahead.append(("key", link.public_id))
    return list(doomed.values())


def _revoke(doomed: Iterable[_Link], reason: str, by: Any, using: Access | None) -> list[AnyKey]:
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
