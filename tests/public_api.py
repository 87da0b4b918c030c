"""The public names: every module's ``__all__``, with the first sentence that is said of each.

``python -m tests.public_api`` writes them into docs/reference/public-api.md.
"""

import ast
import importlib
import inspect
import pkgutil
import re
from collections.abc import Iterator
from types import ModuleType
from typing import Any

from django.contrib.admin import ModelAdmin

import apikeys
from tests.documents import ROOT

PAGE = "docs/reference/public-api.md"
MARK = "<!-- The rest is written by `python -m tests.public_api`. -->\n"


def modules() -> Iterator[ModuleType]:
    """Those that have public names; whatever else there is, is private."""
    yield apikeys
    for found in pkgutil.walk_packages(apikeys.__path__, "apikeys."):
        source = ROOT.joinpath(*found.name.split("."))
        source = source / "__init__.py" if found.ispkg else source.with_suffix(".py")
        if re.search("^__all__ =", source.read_text(encoding="utf-8"), re.MULTILINE):
            yield importlib.import_module(found.name)


def said(module: ModuleType, name: str) -> str:
    """The docstring of a public name, or the ``#:`` comment above it; empty if there is none."""
    thing = getattr(module, name)
    if inspect.isclass(thing) or inspect.isroutine(inspect.unwrap(thing)):
        # Dataclasses and models are given one; it says nothing.
        text = thing.__doc__ or ""
        return "" if text.startswith(f"{thing.__name__}(") else inspect.cleandoc(text)
    parts = [m for m in vars(module).values() if isinstance(m, ModuleType)]
    within = [m for m in parts if m.__name__.startswith(f"{module.__name__}.")]
    return next(filter(None, (_comment(inspect.getsource(m), name) for m in (module, *within))), "")


def _comment(source: str, name: str) -> str:
    found = re.search(rf"^((?:#:.*\n)+)(?:\w+\b.* = .*\n)*?{name}\b", source, re.MULTILINE)
    return " ".join(line[2:].strip() for line in found[1].splitlines()) if found else ""


def members(module: ModuleType, name: str) -> Iterator[tuple[str, Any]]:
    """The public methods and properties that a public class has of itself, not of a base."""
    thing = getattr(module, name)
    if inspect.isclass(thing) and not issubclass(thing, ModelAdmin):
        defined = {
            node.name
            for node in ast.walk(ast.parse(inspect.cleandoc("\n" + inspect.getsource(thing))))
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        }
        inherited = {member for base in thing.__mro__[1:] for member in vars(base)}
        for member, value in vars(thing).items():
            if member in defined - inherited and not member.startswith("_"):
                yield member, value


def first_sentence(text: str) -> str:
    sentence = re.split(r"(?<=\.)\s", " ".join(text.split("\n\n")[0].split()), maxsplit=1)[0]
    return re.sub(r"`+", "`", sentence).replace("|", r"\|")


def rendered() -> str:
    parts = []
    for module in modules():
        parts += [f"\n## {module.__name__}\n", f"{first_sentence(module.__doc__ or '')}\n"]
        parts += ["| name | what it is |", "| --- | --- |"]
        parts += [f"| `{n}` | {first_sentence(said(module, n))} |" for n in sorted(module.__all__)]
    return "\n".join(parts) + "\n"


def main() -> None:
    page = ROOT / PAGE
    intro, mark, _ = page.read_text(encoding="utf-8").partition(MARK)
    page.write_text(intro + mark + rendered(), encoding="utf-8")


if __name__ == "__main__":
    import os

    import django

    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tests.settings")
    django.setup()
    main()
