"""The system checks, read from the calls of ``Error``, ``Warning`` and ``Info`` in the code."""

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

from apikeys.cache import checks as cache
from apikeys.conf.documentation import DOCUMENTATION
from apikeys.conf.setting import Table
from tests.docs.markdown import python
from tests.documents import ROOT

#: Checks whose message is that of an exception.
FROM_EXCEPTIONS = {
    "apikeys.E008": (
        "APIKEYS_PROJECT_MODEL is …; it must be `app_label.ModelName` of an installed model.",
        "Name a model of an app in INSTALLED_APPS.",
    )
}


class Check(NamedTuple):
    id: str
    message: str
    fix: str
    setting: str = ""


def of_settings() -> Iterator[Check]:
    for table in Table.__subclasses__():
        for each in table.declared():
            fix = each.hint or f"Omit it for the default, {python(each.default)}."
            yield Check(each.check, _wrong(f"'{each.name}'", each.rule.words), fix, each.name)
    for name, (id_, rule) in cache._RULES.items():
        fix = f"Omit it for the default, {python(cache.CACHE_DEFAULTS[name])}."
        yield Check(id_, _wrong(f"'CACHE']['{name}'", rule.words), fix, "CACHE")


def _wrong(name: str, words: str) -> str:
    return f"APIKEYS[{name}] is invalid. It must be {words}."


def in_code() -> Iterator[Check]:
    for path in sorted((ROOT / "apikeys").rglob("*.py")):
        text = path.read_text("utf-8")
        if not re.search(r"^from django\.core\.checks import ", text, re.MULTILINE):
            continue
        tree = ast.parse(text)
        name = ".".join(path.relative_to(ROOT).with_suffix("").parts)
        module = import_module(name.removesuffix(".__init__"))
        for function in (each for each in ast.walk(tree) if isinstance(each, ast.FunctionDef)):
            for call in ast.walk(function):
                if isinstance(call, ast.Call) and getattr(call.func, "id", "") in (
                    "Error",
                    "Warning",
                    "Info",
                ):
                    yield from _of_call(call, function, module)


def _of_call(call: ast.Call, function: ast.FunctionDef, module: ModuleType) -> Iterator[Check]:
    given = {each.arg: each.value for each in call.keywords}
    if (id_ := _id(given["id"], module)) is None:
        return
    fix = _text(given["hint"], function, module) if "hint" in given else ""
    message = _text(call.args[0], function, module)
    if message == "…":
        message, fix = FROM_EXCEPTIONS[id_]
    yield Check(id_, message, _linked(fix))


def _linked(fix: str) -> str:
    """Link to the pages whose URLs a text names, which the reader has beside this one."""
    url = rf"{re.escape(DOCUMENTATION)}(\S+)\.html(#\S+)?"
    return re.sub(url, lambda found: f"[{found[1]}](../{found[1]}.md{found[2] or ''}).", fix)


def _id(node: ast.expr, module: ModuleType) -> str | None:
    """A constant, or ``Settings.NAME.check``; other ids are those of the tables."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    try:
        return str(eval(ast.unparse(node), vars(module)))
    except NameError:
        return None


def _text(node: ast.expr, function: ast.FunctionDef, module: ModuleType) -> str:
    """The text of an expression, with … for what is known only at run time."""
    if isinstance(node, ast.Constant):
        return str(node.value)
    if isinstance(node, ast.JoinedStr):
        parts = (_text(each, function, module) for each in node.values)
        return "".join(parts)
    if isinstance(node, ast.FormattedValue) and _is_page(node.value):
        return str(eval(ast.unparse(node.value), vars(module)))
    if isinstance(node, ast.Name):
        for each in ast.walk(function):
            if isinstance(each, ast.Assign) and ast.unparse(each.targets[0]) == node.id:
                return _text(each.value, function, module)
        found = getattr(module, node.id, None)
        return found if isinstance(found, str) else "…"
    return "…"


def _is_page(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and getattr(node.func, "id", "") == "page"


def rendered() -> Iterator[str]:
    found: dict[str, list[Check]] = {}
    for each in [*of_settings(), *in_code()]:
        found.setdefault(each.id, []).append(each)
    for heading, letter in (("## Errors", "E"), ("## Warnings", "W"), ("## Hints", "I")):
        yield from (heading, "")
        for id_ in sorted(each for each in found if each.startswith(f"apikeys.{letter}")):
            yield from (f"### {id_.partition('.')[2]}", "", f"`{id_}`", "")
            for each in dict.fromkeys(found[id_]):
                yield from _entry(each)


def _entry(check: Check) -> Iterator[str]:
    yield f"> {check.message}"
    about = f"See [`{check.setting}`](settings.md#{check.setting.lower()})."
    fix = " ".join(filter(None, (check.fix, check.setting and about)))
    if fix:
        yield from ("", f"Fix: {fix}")
    yield ""


def link(id_: str) -> str:
    """The link to a check."""
    return f"[`{id_}`](checks.md#{id_.rpartition('.')[2].lower()})"
