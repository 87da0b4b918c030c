"""Create a key."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, Unpack, overload

from django.db import IntegrityError
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import decisions, restrictions, token
from ..access import Access
from ..databases import transactions
from ..databases.primary import reading_primary
from ..errors import LifecycleError
from ..grants import Extent, Grant
from ..models import AnyKey, PersonalAccessToken, ProjectKey
from ..models.keys import K
from ..models.owners import is_active
from ..models.texts import OptionalTexts
from ..restrictions import EMPTY, NAMES, RESTRICTIONS
from ..restrictions.base import Terms
from ..signals import key_minted
from . import cleaning, descendants, locking, permitted, sealing
from . import metadata as metadata_of


@dataclass(frozen=True)
class Minted(Generic[K]):
    """A new key and its text. The text is stored nowhere, so show it once."""

    key: K
    token: str = field(repr=False)


class _Terms(OptionalTexts, total=False):
    """The arguments that every new key takes. ``mint`` has the defaults."""

    expires_at: datetime | None
    not_before: datetime | None
    allowed_networks: Iterable[str]
    rate_limits: Iterable[str]
    direct_use: bool | None
    public_id: str | None
    metadata: Mapping[str, Any] | None
    replaces: AnyKey | None
    by: Any
    within: Grant | None


@overload
def mint(
    *,
    user: Any,
    name: str,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    **terms: Unpack[_Terms],
) -> Minted[PersonalAccessToken]: ...


@overload
def mint(
    *,
    project: Any,
    name: str,
    scopes: Iterable[str],
    public_key: str | Mapping[str, Any] | None = None,
    trust: Mapping[str, Any] | None = None,
    **terms: Unpack[_Terms],
) -> Minted[ProjectKey]: ...


@transactions.retried
@reading_primary()
@sensitive_variables("text", "public_key")
def mint(
    *,
    user: Any = None,
    project: Any = None,
    name: str,
    scopes: Iterable[str],
    projects: Iterable[Any] | None = None,
    expires_at: datetime | None = None,
    not_before: datetime | None = None,
    allowed_networks: Iterable[str] = (),
    rate_limits: Iterable[str] = (),
    direct_use: bool | None = None,
    public_id: str | None = None,
    public_key: str | Mapping[str, Any] | None = None,
    trust: Mapping[str, Any] | None = None,
    metadata: Mapping[str, Any] | None = None,
    replaces: AnyKey | None = None,
    by: Any = None,
    within: Grant | None = None,
    **texts: Unpack[OptionalTexts],
) -> Minted[PersonalAccessToken] | Minted[ProjectKey]:
    """Create a personal access token (of ``user``) or a project key (of ``project``).

    ``projects`` limits a token to some of its user's projects. ``None`` means all current and
    future projects of the user. ``expires_at=None`` means no expiry. ``not_before=None`` means
    that the key works at once. ``allowed_networks`` lists CIDR ranges or addresses that may use
    the key, and ``rate_limits`` lists limits such as ``1000/hour``. If they are empty, the key
    inherits the restrictions of the credential in ``within``. With ``direct_use=False`` the key
    can only be exchanged at the token endpoint. That is the default with ``trust``.

    ``texts`` sets the other texts about the key, by column. ``metadata`` is a JSON object of up to
    4 KB, for your own code.

    ``public_key``, in PEM or as a JWK, creates a project key without a secret. Its requests are
    signed with the private key (see ``apikeys.signatures``), and ``token`` is empty.

    ``trust`` creates a project key without a secret that a workload may use: ``{"issuer": …,
    "claims": {…}}``, with an issuer of the setting ``WORKLOAD_ISSUERS``. ``token`` is empty.

    ``replaces`` links the key with an expired or revoked key of the same owner, so that the pages
    and the audit log name it. The link changes nothing else. It is left out if the old key is
    active, was rotated or already has a successor.

    ``by`` is the user who creates the key. ``within`` limits what they may grant. Pass ``None``
    in your own code and for operators: only the policy's rules for the owner apply then.
    ``public_id`` is an ID of ``token.generate_id()``. Pass the same ID again to make a repeated
    call fail instead of creating a second key.

    Raises ``LifecycleError`` with one of these codes: ``name_required``, ``name_too_long``,
    ``invalid_name``, ``text_too_long``, ``invalid_text``, ``secret_in_text``,
    ``scope_required``, ``unknown_scope``, ``scope_not_grantable``, ``expiry_in_the_past``,
    ``expiry_required``, ``expiry_too_late``, ``outlives_credential``, ``invalid_start``,
    ``starts_after_expiry``, ``inactive_user``, ``inactive_project``,
    ``project_keys_disabled``, ``project_required``, ``unknown_project``,
    ``project_not_grantable``, ``invalid_network``, ``network_not_allowed``,
    ``network_not_grantable``, ``resource_not_grantable``,
    ``too_many_networks``, ``invalid_rate_limit``, ``too_many_rate_limits``,
    ``rate_limit_not_grantable``, ``too_many_keys``, ``credential_changed``, ``made_already``
    (the ``public_id`` exists), ``invalid_metadata``, ``metadata_too_large``. For a public key:
    ``invalid_public_key``, ``unsupported_public_key``, ``private_key_given``,
    ``public_key_reused``, ``exchange_needs_secret`` and ``signatures_unavailable``. For a trust:
    ``invalid_trust``, ``workloads_disabled``, ``issuer_not_trusted``, ``audience_required``,
    ``audience_not_allowed``, ``claim_not_allowed``, ``invalid_claim``, ``glob_not_allowed``,
    ``trust_too_broad``, ``direct_use_not_allowed`` and ``contradictory_proofs``.
    """
    if (user is None) == (project is None):
        raise TypeError("mint() takes a user or a project, not both.")
    model = ProjectKey if user is None else PersonalAccessToken
    permitted.check_kind(model)
    sealing.check_proof(model, public_key, trust)
    owner, now = project if user is None else user, timezone.now()
    scope, ends = cleaning.clean_scopes(scopes), cleaning.clean_expiry(expires_at, owner, now)
    using = locking.credential_of(within)
    trusted = None if trust is None else cleaning.clean_trust(trust, direct_use=bool(direct_use))
    if direct_use is None:
        direct_use = trusted is None
    restricted = _restrictions(
        owner,
        using,
        not_before=not_before,
        allowed_networks=allowed_networks,
        rate_limits=rate_limits,
        direct_use=direct_use,
    )
    restrictions.check_terms(restricted, Terms(ends, public_key is not None))
    common = {
        **cleaning.clean_texts({"name": name, **texts}),
        "scope": scope,
        "created_at": now,
        "expires_at": ends,
        **dict(zip(NAMES, restricted, strict=True)),
        "is_pending": bool(permitted.to_approve(owner, scope)),
        "minted_with": using.revoked_with if using else "",
        "made_with_token": descendants.token_of(using),
        "upstream": descendants.upstream_of(using, user),
        "metadata": metadata_of.clean(metadata),
        "public_id": public_id or token.generate_id(),
    }
    if user is None:
        if projects is not None:
            raise TypeError("mint() takes projects only for a user.")
        if not is_active(project):
            raise LifecycleError("inactive_project", _("This project is deactivated."), "project")
        selected = [project]
        key: Any = ProjectKey(project=project, created_by=by, **common)
    else:
        if not is_active(user):
            raise LifecycleError("inactive_user", _("This user is deactivated."), "user")
        selected = [] if projects is None else cleaning.clean_projects(user, projects)
        key = PersonalAccessToken(user=user, all_projects=projects is None, **common)
    reached = None if projects is None and user else frozenset(selected)
    extent = Extent(scope, reached, ends, restricted, trusted)
    permitted.check_within(within, extent)
    text = sealing.sealed(key, public_key, trusted)
    try:
        with transactions.atomic(type(key)):
            holder = None
            if using is not None:
                if (holder := locking.lock_all(None, within)) is not None:
                    key.lineage = descendants.lineage_of(holder)
                permitted.check_within(within, extent)
            permitted.check_number(key)
            key.replaces = _replaceable(replaces, key)
            _save_linked(key, selected)
            if using is not None and user is not None and isinstance(holder, PersonalAccessToken):
                decisions.copy(holder, key, approvals=False)
            key_minted.send(type(key), key=key, by=by, using=using)
    except IntegrityError:
        if type(key)._default_manager.filter(public_id=key.public_id).exists():
            message = _("The key %(id)s already exists.") % {"id": key.public_id}
            raise LifecycleError("made_already", message) from None
        raise
    return Minted(key, text)


def _restrictions(owner: Any, using: Access | None, **given: Any) -> tuple[Any, ...]:
    """Return the restrictions to store: given, or else inherited from the credential."""
    bounds = EMPTY if using is None else restrictions.bounds(using)
    values = []
    for each, bound in zip(RESTRICTIONS, bounds, strict=True):
        value = each.clean(given[each.name], owner)
        values.append(bound if value == each.empty else value)
    return tuple(values)


def _replaceable(old: AnyKey | None, key: Any) -> Any:
    """Return ``old`` if ``key`` may replace it, or else ``None``."""
    if old is None:
        return None
    rows = type(key)._default_manager.filter(public_id=old.public_id, rotated_at=None)
    found = rows.filter(**{key.OWNER: key.owner, "replaced_by": None}).first()
    return found if found is not None and found.state() in locking.ENDED else None


def _save_linked(key: Any, selected: Iterable[Any]) -> None:
    """Save ``key``, without the link if another key has replaced the same one meanwhile."""
    if key.replaces is not None:
        try:
            with transactions.atomic(type(key)):
                save(key, selected)
            return
        except IntegrityError:
            key.replaces = None
    save(key, selected)


def save(key: Any, selected: Iterable[Any]) -> None:
    key.save(force_insert=True)
    if not key.all_projects:
        key.projects.set(selected)
