"""The owner whose keys a page shows: a user or a project. Both have the same pages."""

from functools import cached_property
from itertools import islice
from typing import Any

from django.db.models import QuerySet
from django.urls import reverse

from .. import grants, lifecycle
from ..conf import slug_of
from ..keys.facts import with_successors
from ..models import AnyKey, PersonalAccessToken, ProjectKey
from ..policy import get_policy


class Tokens:
    """The personal access tokens of ``user``."""

    model: type[AnyKey] = PersonalAccessToken
    project: Any = None
    #: The relations that the pages read, fetched by a join. The successor is not among them:
    #: its column is mostly null, so planners misjudge a join of the table with itself.
    related: tuple[str, ...] = ("replaces", "legacy", "paused_by")

    def __init__(self, user: Any) -> None:
        self.user = user

    @property
    def owner(self) -> Any:
        return self.user

    @property
    def label(self) -> str:
        """A unique name of the owner, for signed values."""
        return "tokens"

    @cached_property
    def may_manage(self) -> bool:
        return True

    def keys(self) -> QuerySet[Any]:
        keys = PersonalAccessToken._default_manager.filter(user=self.user)
        return with_successors(keys.select_related(*self.related))

    def reach(self, key: AnyKey) -> list[Any] | None:
        """Return the projects that ``key`` reaches; ``None`` for all projects of the user."""
        return key.reach()

    def grant(self) -> grants.Grant:
        return grants.for_tokens(self.user)

    def within_of_rotation(self) -> grants.Grant | None:
        # A token never exceeds the rights of its user, so a new secret grants nothing more.
        return None

    def mint(self, **asked: Any) -> lifecycle.Minted[Any]:
        return lifecycle.mint(user=self.user, by=self.user, within=self.grant(), **asked)

    def url(self, name: str, key: Any = None) -> str:
        return reverse(f"apikeys:{name}", kwargs={"key_id": key.public_id} if key else {})


class ProjectKeys(Tokens):
    """The keys of ``project``, shown to ``user``."""

    model = ProjectKey
    related = (*Tokens.related, "created_by")

    def __init__(self, user: Any, project: Any) -> None:
        super().__init__(user)
        self.project = project

    @property
    def owner(self) -> Any:
        return self.project

    @property
    def slug(self) -> str:
        return slug_of(self.project)

    @property
    def label(self) -> str:
        return f"project:{self.project.pk}"

    @cached_property
    def may_manage(self) -> bool:
        return get_policy().may_manage_keys(self.user, self.project)

    @cached_property
    def managers(self) -> list[str]:
        """The names of up to five users who manage the keys, for those who may not."""
        people = islice(get_policy().key_managers(self.project), 5)
        return [person.get_username() for person in people]

    def keys(self) -> QuerySet[Any]:
        keys = ProjectKey._default_manager.filter(project=self.project)
        return with_successors(keys.select_related(*self.related))

    def reach(self, key: AnyKey) -> list[Any] | None:
        return [self.project]  # loaded once for all keys

    def grant(self) -> grants.Grant:
        return grants.for_project(self.project, user=self.user)

    def within_of_rotation(self) -> grants.Grant | None:
        return self.grant()

    def mint(self, **asked: Any) -> lifecycle.Minted[Any]:
        return lifecycle.mint(project=self.project, by=self.user, within=self.grant(), **asked)

    def url(self, name: str, key: Any = None) -> str:
        kwargs = {"slug": slug_of(self.project)} | ({"key_id": key.public_id} if key else {})
        return reverse(f"apikeys:{name}", kwargs=kwargs)


def owner_of(user: Any, key: AnyKey) -> Tokens:
    return ProjectKeys(user, key.project) if isinstance(key, ProjectKey) else Tokens(user)
