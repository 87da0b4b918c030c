"""Factories for users, projects and keys, with unique defaults.

With a custom user or project model, pass your own instances, or subclass these factories:
``user = factory.SubFactory(MyUserFactory)``. For a type checker, call
``PersonalAccessTokenFactory.create(…)``.
"""

from typing import Any

from django.conf import settings
from factory.base import Factory
from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory

from .. import lifecycle
from ..conf import project_model
from ..lifecycle import Minted
from ..models import Membership, PersonalAccessToken, ProjectKey, State
from ..models.keys import K


class UserFactory(DjangoModelFactory[Any]):
    """Create a user, for user models with a ``username``."""

    class Meta:
        model = settings.AUTH_USER_MODEL

    username = Sequence(lambda n: f"person-{n}")


class ProjectFactory(DjangoModelFactory[Any]):
    """Create a project, for project models with a ``slug`` and a ``name``."""

    class Meta:
        model = project_model()

    slug = Sequence(lambda n: f"project-{n}")
    name = Sequence(lambda n: f"Project {n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    """Create a membership, by default with the role owner."""

    class Meta:
        model = Membership

    user = SubFactory(UserFactory)
    project = SubFactory(ProjectFactory)
    role = Membership.Role.OWNER


class _KeyFactory(Factory[Minted[K]]):
    """Create keys with ``lifecycle.mint``, so that all rules apply."""

    class Meta:
        abstract = True

    name = Sequence(lambda n: f"test {n}")

    @classmethod
    def _create(cls, model_class: Any, *, state: str | None = None, **kwargs: Any) -> Minted[K]:
        minted: Minted[K] = lifecycle.mint(**kwargs)
        if state is not None and minted.key.state() != state:
            _bring(minted.key, State(state))
        return minted

    @classmethod
    def _build(cls, model_class: Any, *args: Any, **kwargs: Any) -> Minted[K]:
        raise TypeError("A key cannot be built without saving. Use create() or force_access().")


class PersonalAccessTokenFactory(_KeyFactory[PersonalAccessToken]):
    """Create a personal access token: ``key`` is its row, ``token`` its text.

    Takes the arguments of ``lifecycle.mint``; ``scopes`` is required. ``state`` is ``live``
    (approved if necessary), ``pending``, ``expired`` or ``revoked``.
    """

    class Meta:
        model = Minted[PersonalAccessToken]

    user = SubFactory(UserFactory)


class ProjectKeyFactory(_KeyFactory[ProjectKey]):
    """Create a project key, like ``PersonalAccessTokenFactory`` creates a token."""

    class Meta:
        model = Minted[ProjectKey]

    project = SubFactory(ProjectFactory)


def _bring(key: PersonalAccessToken | ProjectKey, state: State) -> None:
    if state is State.LIVE:
        lifecycle.approve(key)
    elif state is State.REVOKED:
        lifecycle.revoke(key)
    elif state is State.EXPIRED:
        key.expires_at = key.created_at
        key.save(update_fields=["expires_at"])
    elif state is State.PAUSED:
        lifecycle.pause(key)
    else:
        key.is_pending = True
        key.save(update_fields=["is_pending"])
