"""Give a key its proof: a new secret or a public key."""

from collections.abc import Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from .. import hashing, token
from ..conf import app_settings
from ..errors import LifecycleError
from ..models import AnyKey, ProjectKey
from . import cleaning


@sensitive_variables("secret")
def seal(key: AnyKey) -> str:
    """Give ``key`` a new secret and return its whole text. Takes tens of milliseconds."""
    secret = token.generate_secret()
    key.root = hashing.make_root(secret)
    key.digest, key.pepper_id = hashing.make_digest(secret)
    return token.compose(app_settings.PREFIX, key.KIND, key.public_id, secret)


@sensitive_variables("public_key")
def sealed_successor(key: AnyKey, public_key: str | Mapping[str, Any] | None) -> tuple[Any, str]:
    """Return an unsaved successor of ``key`` with its proof, and its text."""
    successor: Any = type(key)()
    if public_key is None:
        if key.public_key:
            message = _(
                "This key has no secret. Send the public key that replaces the current one."
            )
            raise LifecycleError("public_key_required", message, "public_key")
        return successor, seal(successor)
    if not key.TAKES_PUBLIC_KEY:
        raise TypeError("A personal access token has a secret, never a public key.")
    setattr(successor, key.OWNER, key.owner)
    return successor, seal_with(successor, public_key)


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
    # No secret matches an empty digest. A known pepper skips the slow check of the root.
    key.root, key.digest, key.pepper_id = "", "", hashing.current_pepper_id()
    return ""
