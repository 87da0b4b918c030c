"""The factories of ``apikeys.testing``, with the example's scopes; and keys that are none."""

from typing import Any

from apikeys import token
from apikeys.conf import app_settings
from apikeys.lifecycle import Minted
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.testing import (
    MembershipFactory,
    PersonalAccessTokenFactory,
    ProjectFactory,
    ProjectKeyFactory,
    UserFactory,
    bearer,
)

__all__ = [
    "PASSWORD",
    "MembershipFactory",
    "ProjectFactory",
    "UserFactory",
    "bearer",
    "mint_key",
    "mint_pat",
    "of_nobody",
    "with_wrong_secret",
]

#: The password of ``ada``.
PASSWORD = "a-note-on-bernoulli-numbers"


def mint_pat(user: Any = None, **kwargs: Any) -> Minted[PersonalAccessToken]:
    kwargs = {"name": "ci", "scopes": ["payments:read"]} | kwargs
    return PersonalAccessTokenFactory.create(**kwargs | ({"user": user} if user else {}))


def mint_key(project: Any = None, **kwargs: Any) -> Minted[ProjectKey]:
    kwargs = {"name": "server", "scopes": ["payments:read"]} | kwargs
    return ProjectKeyFactory.create(**kwargs | ({"project": project} if project else {}))


def with_wrong_secret(text: str) -> str:
    """A well-formed key of the same id, such as a forger makes who saw the id."""
    parsed = token.parse(text, app_settings.PREFIX)
    assert parsed is not None
    return token.compose(parsed.prefix, parsed.kind, parsed.public_id, token.generate_secret())


def of_nobody(kind: str = token.PAT) -> str:
    """A well-formed key that was never minted."""
    return token.compose(app_settings.PREFIX, kind, token.generate_id(), token.generate_secret())
