"""End all tokens and keys that descend from an access token when the token ends."""

from collections import defaultdict
from collections.abc import Collection, Iterable
from functools import partial
from typing import Any, Final

from django.db import router, transaction
from django.db.models import F, Q, QuerySet
from django.db.models.signals import pre_delete
from django.utils import timezone
from django.utils.translation import gettext as _
from oauth2_provider.models import get_access_token_model, get_refresh_token_model

from .. import cache
from ..databases import deletions, transactions
from ..lifecycle import descendants
from .models import Consent, TokenOrigin

#: The name of the receivers of this module, for ``deletions``.
NAME: Final = "chains"

#: Maximum number of primary keys in one statement.
_CHUNK = 5000


def end(access_tokens: Collection[Any]) -> None:
    """End ``access_tokens`` (primary keys) and all their descendants."""
    if access_tokens:
        with transactions.atomic(get_access_token_model(), savepoint=False):
            _end(access_tokens)
            end_below(access_tokens)


def end_below(access_tokens: Collection[Any]) -> None:
    """End all tokens and keys that descend from ``access_tokens`` (primary keys).

    The caller ends the access tokens themselves.
    """
    if not access_tokens:
        return
    model = get_access_token_model()
    with transactions.atomic(model, savepoint=False):
        ended, parents = set(access_tokens), set(access_tokens)
        firsts = parents | _firsts_of(parents)
        # The next round finds a token that was issued while its parent ended.
        while parents:
            below = _below(parents, firsts) - ended
            _end(below)
            ended |= below
            parents, firsts = below, below
        descendants.end_made_with(
            access_tokens=[str(pk) for pk in ended],
            reason=_("Created with an access token that was revoked."),
        )


def _firsts_of(access_tokens: Collection[Any]) -> set[Any]:
    rows = [
        row
        for chunk in _chunks(access_tokens)
        for row in _origins().filter(pk__in=chunk).values_list("first", "parent")
    ]
    return {first or parent for first, parent in rows} - {None}


def _below(parents: Collection[Any], firsts: Collection[Any]) -> set[Any]:
    """Return all descendants of ``parents`` in the chains that began with ``firsts``."""
    children: dict[Any, set[Any]] = defaultdict(set)
    conditions = [Q(parent__in=chunk) for chunk in _chunks(parents)]
    conditions += [Q(first__in=chunk) for chunk in _chunks(firsts)]
    for condition in conditions:
        for pk, parent in _origins().filter(condition).values_list("pk", "parent"):
            children[parent].add(pk)
    below: set[Any] = set()
    ahead = list(parents)
    while ahead:
        new = children[ahead.pop()] - below
        below |= new
        ahead += new
    return below


def _end(access_tokens: Collection[Any]) -> None:
    """Expire the tokens, so that code outside this app refuses them as well."""
    model = get_access_token_model()
    for chunk in _chunks(access_tokens):
        rows = model._default_manager.using(router.db_for_write(model)).filter(pk__in=chunk)
        rows.update(expires=F("created"))
        refresh: Any = get_refresh_token_model()._default_manager
        refresh.filter(access_token__in=chunk, revoked=None).update(revoked=timezone.now())
        forget = partial(cache.forget, *(model(pk=pk) for pk in chunk))
        transaction.on_commit(forget, using=rows.db, robust=True)


def _origins() -> Any:
    return TokenOrigin.objects.using(router.db_for_write(TokenOrigin)).order_by()


def _chunks(values: Iterable[Any]) -> Iterable[list[Any]]:
    listed = list(values)
    return (listed[start : start + _CHUNK] for start in range(0, len(listed), _CHUNK))


def _token_deleted(sender: Any, instance: Any, origin: Any = None, **kwargs: Any) -> None:
    deletions.once(instance, origin, _end_below_live, NAME)


def _end_below_live(rows: QuerySet[Any]) -> None:
    # Lock the tokens, so that a key that is being created with one is found. The descendants
    # of an expired token have expired too.
    live = rows.filter(expires__gt=timezone.now()).order_by("pk")
    end(list(live.select_for_update().values_list("pk", flat=True)))


def _consent_deleted(sender: Any, instance: Any, origin: Any = None, **kwargs: Any) -> None:
    deletions.once(instance, origin, _end_tokens_of, NAME)


def _end_tokens_of(consents: QuerySet[Any]) -> None:
    pks = list(consents.order_by().values_list("pk", flat=True))
    tokens = [
        pk
        for chunk in _chunks(pks)
        for pk in _origins()
        .filter(consent__in=chunk, access_token__expires__gt=timezone.now())
        .values_list("pk", flat=True)
    ]
    end(tokens)


def connect() -> None:
    """End the descendants of an access token or a consent when its row is deleted."""
    for model, receiver in (
        (get_access_token_model(), _token_deleted),
        (Consent, _consent_deleted),
    ):
        pre_delete.connect(receiver, sender=model, dispatch_uid="apikeys.oauth.chains")
