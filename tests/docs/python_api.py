"""The page on the Python API: every public name with its signature and its docstring."""

import inspect
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from tests.docs import markdown as markdown_of
from tests.public_api import members, modules, said


def rendered() -> Iterator[str]:
    for module in modules():
        yield from (f"## {module.__name__}", "", markdown(module.__doc__ or ""), "")
        for name in sorted(module.__all__):
            yield from _name(module, name)


def _name(module: ModuleType, name: str) -> Iterator[str]:
    thing = getattr(module, name)
    yield from (f"### {name}", "")
    if (written := signature(name, thing)) is not None:
        yield from ("```python", written, "```", "")
    yield from (markdown(said(module, name)), "")
    described = [
        (f"`{_member(member, value)}`", first(inspect.getdoc(value) or ""))
        for member, value in members(module, name)
    ]
    for member, text in described:
        yield f"- {member}: {text}"
    if described:
        yield ""


def signature(name: str, thing: Any) -> str | None:
    """Return the call that a name takes, as a line of a stub; ``None`` if it takes none."""
    if inspect.isclass(thing):
        # A model or an admin is created by Django, with what its fields are.
        is_own = getattr(thing.__init__, "__module__", "").startswith("apikeys")
        return _wrapped(f"class {name}{_parameters(thing)}: ...") if is_own else None
    if inspect.isroutine(inspect.unwrap(thing)):
        start = "async def" if inspect.iscoroutinefunction(thing) else "def"
        return _wrapped(f"{start} {name}{_parameters(thing) or '()'}: ...")
    return None


def _wrapped(line: str) -> str:
    """Put each parameter of a long signature into a line."""
    if len(line) <= 100:
        return line
    start, _, rest = line.partition("(")
    inside, _, end = rest.rpartition(")")
    parameters = re.split(r", (?=[*\w/]+(?:=|,|$))", inside)
    return "\n".join([f"{start}(", *(f"    {each}," for each in parameters), f"){end}"])


def _member(name: str, value: Any) -> str:
    return name if isinstance(value, property) else f"{name}{_parameters(value, skip=1)}"


def _parameters(thing: Any, skip: int = 0) -> str:
    """Return the names of the parameters and their defaults, without types."""
    try:
        found = inspect.signature(thing)
    except (TypeError, ValueError):
        return "()" if skip else ""
    given = [
        each.replace(
            annotation=inspect.Parameter.empty,
            default=each.default if each.default is each.empty else _Default(each.default),
        )
        for each in list(found.parameters.values())[skip:]
    ]
    text = str(found.replace(parameters=given, return_annotation=inspect.Signature.empty))
    return "" if not given and inspect.isclass(thing) else text


class _Default:
    """A default as it is written, or ``...`` if its representation is no expression."""

    def __init__(self, value: Any) -> None:
        self._text = markdown_of.python(value) if isinstance(value, str) else repr(value)

    def __repr__(self) -> str:
        return self._text if re.fullmatch(r"[\w.'\"()\[\]{}, -]*", self._text) else "..."


def markdown(text: str) -> str:
    """Return a docstring as Markdown: its code spans have one backtick there."""
    return re.sub(r"`{2}([^`]+)`{2}", r"`\1`", inspect.cleandoc(text))


def first(text: str) -> str:
    return markdown(" ".join(text.split("\n\n")[0].split()))
