"""Follow the links between keys in memory: created with a key, and rotated into a key."""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from typing import NamedTuple

from ..models import AnyKey


class Link(NamedTuple):
    """A key and the credentials whose end revokes it."""

    model: type[AnyKey]
    pk: int
    public_id: str
    lineage: str
    minted_with: str
    made_with_token: str
    #: The key that was rotated into this one.
    replaces: str | None
    #: Whether it had not ended when it was read.
    is_live: bool = True


class Makers(NamedTuple):
    """Keys whose descendants are sought, with their predecessors, by their IDs."""

    keys: Collection[str]
    #: The predecessor of each of ``keys``, and of each predecessor.
    before: Mapping[str, str]
    #: The lineages of the keys and of their predecessors.
    lineages: Collection[str]

    @property
    def ids(self) -> set[str]:
        return {*self.keys, *self.before.values()}

    def spares(self, link: Link) -> bool:
        """Return whether ``link`` is in the chain of one of ``keys``, and its maker is older there.

        If the maker or a key between them is one of ``keys``, ``link`` is a successor that this
        key created. So it is not spared.
        """
        older = self.before.get(link.public_id)
        while older is not None and older not in self.keys:
            if older == link.minted_with:
                return True
            older = self.before.get(older)
        return False


class Trace:
    """The descendants of ``makers`` and of access tokens among the links read so far.

    Each of the keys in ``makers`` counts by itself: what the end of one revokes is found, even if
    it is another of them, or a predecessor of another. The successors of the keys are not found,
    and the successors of found keys are.
    """

    def __init__(self, makers: Makers) -> None:
        self.makers = makers
        self.found: dict[str, Link] = {}
        self._read: set[Link] = set()
        self._by_step: dict[tuple[str, str], list[Link]] = defaultdict(list)

    def follow(
        self, read: Iterable[Link], keys: Iterable[str], tokens: Iterable[str] = ()
    ) -> list[Link]:
        """Add the links ``read``. Return the new descendants of ``keys`` and ``tokens``."""
        self._add(read)
        new: list[Link] = []
        ahead = [("token", each) for each in tokens]
        for each in keys:
            ahead += self._steps(each)
        while ahead:
            step = kind, name = ahead.pop()
            may_spare = kind == "key" and name not in self.found
            for link in self._by_step.get(step, ()):
                if link.public_id in self.found or (may_spare and self.makers.spares(link)):
                    continue
                self.found[link.public_id] = link
                new.append(link)
                ahead += self._steps(link.public_id)
        return new

    def _steps(self, key: str) -> list[tuple[str, str]]:
        return [("key", key), ("rotated", key)] if key in self.found else [("key", key)]

    def _add(self, read: Iterable[Link]) -> None:
        for link in read:
            if link in self._read:
                continue
            self._read.add(link)
            self._by_step["key", link.minted_with].append(link)
            self._by_step["token", link.minted_with].append(link)
            self._by_step["token", link.made_with_token].append(link)
            if link.replaces is not None:
                self._by_step["rotated", link.replaces].append(link)
