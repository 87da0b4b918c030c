"""People, projects and keys: what a test does not say is sensible and unique.

A site that has users or projects of its own makes them with its own factories, and passes them
in or subclasses these: ``user = factory.SubFactory(MyUserFactory)``. For a type checker, say
``PersonalAccessTokenFactory.create(…)``.
"""

from typing import Any

from django.conf import settings
from factory.base import Factory
from factory.declarations import Sequence, SubFactory
from factory.django import DjangoModelFactory

from .. import lifecycle
from ..conf import project_model
from ..lifecycle import K, Minted
from ..models import Membership, PersonalAccessToken, ProjectKey, State


class UserFactory(DjangoModelFactory[Any]):
    """Makes a user, for user models that have a ``username``."""

    class Meta:
        model = settings.AUTH_USER_MODEL

    username = Sequence(lambda n: f"person-{n}")


class ProjectFactory(DjangoModelFactory[Any]):
    """Makes a project, for project models that have a ``slug`` and a ``name``."""

    class Meta:
        model = project_model()

    slug = Sequence(lambda n: f"project-{n}")
    name = Sequence(lambda n: f"Project {n}")


class MembershipFactory(DjangoModelFactory[Membership]):
    """Makes a membership: by default of an owner."""

    class Meta:
        model = Membership

    user = SubFactory(UserFactory)
    project = SubFactory(ProjectFactory)
    role = Membership.Role.OWNER


class _KeyFactory(Factory[Minted[K]]):
    """By the only road there is to a key, so with every rule that holds for one."""

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
        raise TypeError("A key is in the database or nowhere: create() it, or force_access().")


class PersonalAccessTokenFactory(_KeyFactory[PersonalAccessToken]):
    """Mints a personal access token: ``key`` is its row, ``token`` its text.

    Takes the arguments of ``lifecycle.mint``, of which ``scopes`` has to be given, and
    ``state``: ``live`` (approved, if need be), ``pending``, ``expired`` or ``revoked``.
    """

    class Meta:
        model = Minted[PersonalAccessToken]

    user = SubFactory(UserFactory)


class ProjectKeyFactory(_KeyFactory[ProjectKey]):
    """Mints a project key, as ``PersonalAccessTokenFactory`` mints a token."""

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
    else:
        key.is_pending = True
        key.save(update_fields=["is_pending"])
