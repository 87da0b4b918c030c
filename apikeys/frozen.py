"""Make JSON read-only, so that no view changes what other requests see."""

from collections.abc import Mapping
from typing import Any, Final, NoReturn


class FrozenDict(dict[str, Any]):
    """A dictionary that cannot be changed. It still converts to JSON like any dictionary."""

    def _refuse(self, *args: Any, **kwargs: Any) -> NoReturn:
        raise TypeError("This dictionary is read-only.")

    __setitem__ = __delitem__ = __ior__ = _refuse
    clear = pop = popitem = setdefault = update = _refuse

    def __copy__(self) -> "FrozenDict":
        return self

    def __deepcopy__(self, memo: Any) -> "FrozenDict":
        return self

    def __reduce__(self) -> tuple[Any, ...]:
        return FrozenDict, (dict(self),)


class Frozen:
    """Base class of objects that cannot be changed, and need no copy."""

    __slots__ = ()


EMPTY: Final[Mapping[str, Any]] = FrozenDict()


def frozen(value: Any) -> Any:
    """Return ``value``, which came from JSON, with tuples for lists and read-only dictionaries."""
    if isinstance(value, Mapping):
        return FrozenDict({name: frozen(each) for name, each in value.items()})
    if isinstance(value, list | tuple):
        return tuple(map(frozen, value))
    return value
