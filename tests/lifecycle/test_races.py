"""A credential that is changed by one request, while another makes something of it."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.db import connection, connections, transaction
from django.utils import timezone
from oauth2_provider.models import get_access_token_model, get_application_model

from apikeys import grants, lifecycle
from apikeys.lifecycle import LifecycleError, locking
from apikeys.models import PersonalAccessToken
from apikeys.oauth.models import TokenOrigin
from apikeys.refusals import Refused
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat

pytestmark = pytest.mark.django_db(transaction=True)

_WAITING = {
    "postgresql": "SELECT COUNT(*) FROM pg_locks WHERE NOT granted",
    "mysql": "SELECT CAST(variable_value AS SIGNED) FROM information_schema.global_status "
    "WHERE variable_name = 'INNODB_ROW_LOCK_CURRENT_WAITS'",
}


@dataclass
class Held:
    """A credential, the key that it is or came of, and keys of its owner, older and younger."""

    row: Any
    key: Any
    within: Any
    older: Any
    younger: Any
    mint: Callable[..., Any]


def until_it_waits(done: Any) -> None:
    """Until a connection waits for a row, or none did. SQLite tells nobody."""
    patience = time.monotonic() + 30
    while connection.vendor in _WAITING and not done.done():
        with connection.cursor() as cursor:
            cursor.execute(_WAITING[connection.vendor])
            if cursor.fetchone()[0]:
                return
        assert time.monotonic() < patience


def meanwhile(change: Callable[[], Any], act: Callable[[], Any], *more: Callable[[], Any]) -> Any:
    """What ``act`` comes to, that began while ``change`` was made and not yet committed.

    ``more`` is changed when ``act`` waits already.
    """
    began = threading.Event()

    def run() -> Any:
        try:
            began.set()
            return act()
        except LifecycleError as error:
            return error.code
        finally:
            connections.close_all()

    with ThreadPoolExecutor(1) as pool:
        with transaction.atomic():
            change()
            done = pool.submit(run)
            began.wait(timeout=30)
            until_it_waits(done)
            for each in more:
                each()
        return done.result(timeout=60)


@pytest.fixture
def project(ada):
    return ada.project_memberships.get().project


def hold(kind: str, ada: Any, project: Any) -> Held:
    def mint(**options: Any) -> Any:
        if kind.endswith("key"):
            return mint_key(project, **options)
        return mint_pat(ada, **options)

    older = mint().key
    minted = None if kind == "oauth" else mint()
    if kind.startswith("oauth"):
        row = _oauth_token(None if kind.endswith("key") else ada, minted and minted.key)
        text = row.token
    else:
        row, text = minted.key, minted.token
    access = verify(text)
    if access.user is None:
        within = grants.for_project(project, using=access)
    else:
        within = grants.for_tokens(ada, access)
    return Held(row, minted and minted.key, within, older, mint().key, mint)


def _oauth_token(user: Any, key: Any) -> Any:
    token = get_access_token_model().objects.create(
        user=user,
        scope="payments:read",
        token="0123456789" * 3,
        expires=timezone.now() + timedelta(hours=1),
        application=None if key else _client(),
    )
    if key is not None:
        of = "personal_access_token" if isinstance(key, PersonalAccessToken) else "project_key"
        TokenOrigin.objects.create(access_token=token, **{of: key})
    return token


def _client() -> Any:
    return get_application_model().objects.create(
        name="script", client_type="public", authorization_grant_type="authorization-code"
    )


def _update(row: Any, **fields: Any) -> None:
    type(row).objects.filter(pk=row.pk).update(**fields)


_OF_KEYS = {
    "revoked": lambda held: lifecycle.revoke(held.key),
    "rotated": lambda held: lifecycle.rotate(held.key, overlap=timedelta(0)),
    "deleted": lambda held: type(held.key).objects.filter(pk=held.key.pk).delete(),
    "narrowed": lambda held: lifecycle.edit(held.key, scopes=["reports:read"]),
    "kept to networks": lambda held: lifecycle.edit(held.key, allowed_networks=["192.0.2.0/24"]),
    "kept for exchange": lambda held: lifecycle.edit(held.key, direct_use=False),
}
_OF_TOKENS = {
    "token deleted": lambda held: held.row.delete(),
    "token expired": lambda held: _update(held.row, expires=timezone.now()),
    "token narrowed": lambda held: _update(held.row, scope="reports:read"),
}
_CHANGES = _OF_KEYS | _OF_TOKENS
_EXCHANGED = [*_OF_TOKENS, *(name for name in _OF_KEYS if name != "kept for exchange")]
_CASES = {
    "token": _OF_KEYS,
    "key": _OF_KEYS,
    "oauth": _OF_TOKENS,
    "oauth of a token": _EXCHANGED,
    "oauth of a key": _EXCHANGED,
}


def _mint(held: Held) -> Any:
    return held.mint(within=held.within, expires_at=held.within.latest_expiry)


_ACTS = {
    "mint": _mint,
    "edit": lambda held: lifecycle.edit(held.older, name="mine", within=held.within),
    "rotate": lambda held: lifecycle.rotate(held.younger, within=held.within),
    "approve": lambda held: lifecycle.approve(held.older, within=held.within),
}


@pytest.mark.parametrize("act", _ACTS)
@pytest.mark.parametrize(
    ("kind", "change"), [(kind, change) for kind, changes in _CASES.items() for change in changes]
)
def test_it_gives_nothing_any_more(ada, project, kind, change, act):
    held = hold(kind, ada, project)
    if act == "approve":
        _update(held.older, is_pending=True)

    done = meanwhile(lambda: _CHANGES[change](held), lambda: _ACTS[act](held))

    assert done == "credential_changed"


def test_a_revocation_waits_for_a_change_and_does_not_stop_it(ada):
    """Whatever index a database finds the key by: it holds nothing that the change needs."""
    key, same = mint_pat(ada).key, PersonalAccessToken.objects.get()
    end = timezone.now() + timedelta(days=1)

    done = meanwhile(
        lambda: locking.lock(key),
        lambda: lifecycle.revoke(same),
        lambda: _update(key, expires_at=end),
    )

    assert done is True
    key.refresh_from_db()
    assert key.revoked_at is not None
    assert key.expires_at == end


def test_what_is_deleted_meanwhile_does_not_keep_a_revocation_from_the_rest(ada):
    parent = mint_pat(ada)
    within = grants.for_tokens(ada, verify(parent.token))
    child, sibling = (mint_pat(ada, within=within) for _ in range(2))

    done = meanwhile(
        lambda: PersonalAccessToken.objects.filter(pk=child.key.pk).delete(),
        lambda: lifecycle.revoke(parent.key),
    )

    assert done is True
    with pytest.raises(Refused, match="revoked_key"):
        verify(sibling.token)
