"""People, projects and keys for tests: what a test does not say is sensible and unique."""

from typing import Any

import factory
from django.contrib.auth import get_user_model

from apikeys import lifecycle, token
from apikeys.conf import app_settings
from apikeys.models import Membership, PersonalAccessToken, ProjectKey, get_project_model


class UserFactory(factory.django.DjangoModelFactory[Any]):
    class Meta:
        model = get_user_model()

    username = factory.Sequence(lambda n: f"person-{n}")


class ProjectFactory(factory.django.DjangoModelFactory[Any]):
    class Meta:
        model = get_project_model()

    slug = factory.Sequence(lambda n: f"project-{n}")
    name = factory.Sequence(lambda n: f"Project {n}")


class MembershipFactory(factory.django.DjangoModelFactory[Membership]):
    class Meta:
        model = Membership

    user = factory.SubFactory(UserFactory)
    project = factory.SubFactory(ProjectFactory)
    role = Membership.Role.OWNER


def mint_pat(user: Any = None, **kwargs: Any) -> lifecycle.Minted[PersonalAccessToken]:
    """A personal access token by the only road there is to one."""
    kwargs = {"name": "ci", "scopes": ["payments:read"]} | kwargs
    return lifecycle.mint(user=user or UserFactory(), **kwargs)


def mint_key(project: Any = None, **kwargs: Any) -> lifecycle.Minted[ProjectKey]:
    """A project key by the only road there is to one."""
    kwargs = {"name": "server", "scopes": ["payments:read"]} | kwargs
    return lifecycle.mint(project=project or ProjectFactory(), **kwargs)


def bearer(token: str) -> dict[str, str]:
    """``headers=`` of Django's test client."""
    return {"Authorization": f"Bearer {token}"}


def with_wrong_secret(text: str) -> str:
    """A well-formed key of the same id, such as a forger makes who saw the id."""
    parsed = token.parse(text, app_settings.PREFIX)
    assert parsed is not None
    return token.compose(parsed.prefix, parsed.kind, parsed.public_id, token.generate_secret())


def of_nobody(kind: str = token.PAT) -> str:
    """A well-formed key that was never minted."""
    return token.compose(app_settings.PREFIX, kind, token.generate_id(), token.generate_secret())
