"""Whose keys a page is about: a person's own, or a project's. One set of pages for both."""

from functools import cached_property
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from .. import grants, lifecycle
from ..conf import app_settings
from ..models import PersonalAccessToken, ProjectKey
from ..records import with_successors

AnyKey = PersonalAccessToken | ProjectKey


class Tokens:
    """The personal access tokens of ``user``."""

    model: type[AnyKey] = PersonalAccessToken
    project: Any = None
    #: What the pages read of a key besides. Not its successor, which few keys have: joining
    #: the table to itself by a column that is mostly NULL leads planners astray.
    related: tuple[str, ...] = ("replaces", "legacy")

    def __init__(self, user: Any) -> None:
        self.user = user

    @property
    def owner(self) -> Any:
        return self.user

    @property
    def label(self) -> str:
        """Tells the owner from all others, in what is signed."""
        return "tokens"

    @cached_property
    def may_manage(self) -> bool:
        return True

    def keys(self) -> QuerySet[Any]:
        keys = PersonalAccessToken._default_manager.filter(user=self.user)
        return with_successors(keys.select_related(*self.related))

    def grant(self) -> grants.Grant:
        return grants.for_tokens(self.user)

    def within_of_rotation(self) -> grants.Grant | None:
        # A token acts within its user's rights anyway, so renewing the secret gives nothing.
        return None

    def mint(self, **asked: Any) -> lifecycle.Minted[Any]:
        return lifecycle.mint(user=self.user, by=self.user, within=self.grant(), **asked)

    def url(self, name: str, key: Any = None) -> str:
        return reverse(f"apikeys:{name}", kwargs={"key_id": key.public_id} if key else {})


class ProjectKeys(Tokens):
    """The keys of ``project``, as ``user`` gets to see them."""

    model = ProjectKey
    related = (*Tokens.related, "created_by")

    def __init__(self, user: Any, project: Any) -> None:
        super().__init__(user)
        self.project = project

    @property
    def owner(self) -> Any:
        return self.project

    @property
    def label(self) -> str:
        return f"project:{self.project.pk}"

    @cached_property
    def may_manage(self) -> bool:
        return app_settings.POLICY.may_manage_keys(self.user, self.project)

    def keys(self) -> QuerySet[Any]:
        keys = ProjectKey._default_manager.filter(project=self.project)
        return with_successors(keys.select_related(*self.related))

    def grant(self) -> grants.Grant:
        return grants.for_project(self.project, user=self.user)

    def within_of_rotation(self) -> grants.Grant | None:
        return self.grant()

    def mint(self, **asked: Any) -> lifecycle.Minted[Any]:
        return lifecycle.mint(project=self.project, by=self.user, within=self.grant(), **asked)

    def url(self, name: str, key: Any = None) -> str:
        kwargs = {"slug": self.project.slug} | ({"key_id": key.public_id} if key else {})
        return reverse(f"apikeys:{name}", kwargs=kwargs)


def owner_of(user: Any, key: AnyKey) -> Tokens:
    return ProjectKeys(user, key.project) if isinstance(key, ProjectKey) else Tokens(user)
