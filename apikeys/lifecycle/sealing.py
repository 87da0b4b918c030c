"""Give a key its proof: a new secret, a public key, or a workload that it trusts."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import hashing, token
from ..conf import app_settings
from ..errors import LifecycleError
from ..models import AnyKey, ProjectKey
from ..workloads.rules import Trust
from . import cleaning


@sensitive_variables("public_key")
def sealed(key: Any, public_key: str | Mapping[str, Any] | None, trust: Trust | None) -> str:
    """Give a new ``key`` its proof and return its text, which is empty without a secret."""
    if trust is not None:
        return seal_for(key, trust)
    return seal(key) if public_key is None else seal_with(key, public_key)


@sensitive_variables("secret")
def seal(key: AnyKey) -> str:
    """Give ``key`` a new secret and return its whole text. Takes tens of milliseconds."""
    secret = token.generate_secret()
    key.root = hashing.make_root(secret)
    key.digest, key.pepper_id = hashing.make_digest(secret)
    return token.compose(app_settings.PREFIX, key.KIND, key.public_id, secret)


@sensitive_variables("public_key")
def sealed_successor(
    key: AnyKey, public_key: str | Mapping[str, Any] | None, trust: Trust | None
) -> tuple[Any, str]:
    """Return an unsaved successor of ``key`` with its proof, and its text."""
    successor: Any = type(key)()
    check_proof(key, public_key, trust)
    if trust is not None:
        return successor, seal_for(successor, trust)
    if key.trust:
        message = _("This key has no secret. Send the rules that replace the current ones.")
        raise LifecycleError("trust_required", message, "trust")
    if public_key is None:
        if key.public_key:
            message = _(
                "This key has no secret. Send the public key that replaces the current one."
            )
            raise LifecycleError("public_key_required", message, "public_key")
        return successor, seal(successor)
    setattr(successor, key.OWNER, key.owner)
    return successor, seal_with(successor, public_key)


def check_proof(key: Any, public_key: object, trust: object) -> None:
    """Check that a key, or a model of keys, can have this proof in place of a secret."""
    if public_key is None and trust is None:
        return
    if not key.TAKES_PUBLIC_KEY:
        raise TypeError("A personal access token has a secret, and nothing in its place.")
    if public_key is not None and trust is not None:
        message = _("A key has a public key or trusts a workload, not both.")
        raise LifecycleError("contradictory_proofs", message, "trust")


def seal_for(key: ProjectKey, trust: Trust) -> str:
    """Make ``key`` trust a workload and give it no secret. Return an empty text."""
    put_trust(key, trust)
    without_secret(key)
    return ""


def put_trust(key: Any, trust: Trust) -> None:
    key.trust, key.trust_anchor = trust.as_text(), trust.anchor


def without_secret(key: ProjectKey) -> None:
    # No secret matches an empty digest. A known pepper skips the slow check of the root.
    key.root, key.digest, key.pepper_id = "", "", hashing.current_pepper_id()


@sensitive_variables("given")
def seal_with(key: ProjectKey, given: str | Mapping[str, Any]) -> str:
    """Give ``key`` a public key and no secret. Return an empty text."""
    key.public_key = cleaning.clean_public_key(given)
    keys = ProjectKey._default_manager.filter(project=key.project, public_key=key.public_key)
    if keys.exists():
        message = _(
            "Another key of this project uses or used this public key. Generate a new key pair."
        )
        raise LifecycleError("public_key_reused", message, "public_key")
    without_secret(key)
    return ""
