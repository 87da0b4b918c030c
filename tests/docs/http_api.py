"""The HTTP API, from its OpenAPI document."""

import re
from collections.abc import Iterator
from typing import Any

from drf_spectacular.generators import SchemaGenerator

from tests.docs.markdown import table

#: The sections, by the beginnings of their paths.
SECTIONS = {
    "/api/token/": "Current credential",
    "/api/tokens/": "Personal access tokens",
    "/api/projects/{slug}/access/": "Access to a project",
    "/api/projects/": "Project keys",
    "/api/approvals/": "Approvals",
    "/api/leaked/": "Leaks",
    "/api/bindings/": "Bindings",
}
METHODS = ("get", "post", "patch", "delete")


def document() -> dict[str, Any]:
    found: dict[str, Any] = SchemaGenerator().get_schema(request=None, public=True)
    return found


def operations(found: dict[str, Any]) -> Iterator[tuple[str, str, str, dict[str, Any]]]:
    """Yield the section, method, path and description of each operation."""
    for start, section in SECTIONS.items():
        for path, of_path in found["paths"].items():
            if path.startswith(start) and ("/keys/" in path or section != "Project keys"):
                for method in METHODS:
                    if method in of_path:
                        yield section, method, path, of_path[method]


def rendered() -> Iterator[str]:
    found = document()
    schemas = found["components"]["schemas"]
    errors: dict[str, str] = {}
    used: set[str] = set()
    lines: list[str] = []
    current = ""
    for section, method, path, operation in operations(found):
        if section != current:
            lines += [f"## {section}", ""]
            current = section
        lines += _operation(f"{method.upper()} {path}", operation, used)
        for status, answer in operation["responses"].items():
            if status >= "400":
                errors[status] = answer["description"]
    yield from ("## Errors", "")
    yield "An error has the body [Problem](#problem), or [Invalid](#invalid) with status 400."
    yield ""
    yield from table("status", "meaning", rows=sorted(errors.items()))
    yield from lines
    yield from _objects(schemas, used)


def _objects(schemas: dict[str, Any], used: set[str]) -> Iterator[str]:
    yield from ("## Objects", "")
    while new := sorted(_reached(schemas, used) - used):
        used.update(new)
    for name in sorted(used):
        schema = schemas[name]
        yield from (f"### {name}", "")
        if described := _described(schema):
            yield from (described, "")
        if schema.get("enum"):
            yield from (f"One of {', '.join(f'`{value}`' for value in schema['enum'])}.", "")
        for number, each in enumerate(schema.get("oneOf", [])):
            yield from (["", "or", ""] if number else [])
            yield from _fields(each)
        properties = schema.get("properties", {})
        if base := _base(name, properties, schemas, used):
            yield from (f"All fields of [{base}](#{base.lower()}), and:", "")
            left = set(properties) - set(schemas[base]["properties"])
            properties = {field: of for field, of in properties.items() if field in left}
        if properties:
            yield from _fields({**schema, "properties": properties})


def _base(name: str, fields: dict[str, Any], schemas: dict[str, Any], used: set[str]) -> str:
    """Return the largest smaller object whose fields are all among these."""
    others = {each: schemas[each].get("properties", {}) for each in used - {name}}
    # A smaller one, so that two equal objects do not refer to each other.
    smaller = {each: of for each, of in others.items() if 9 < len(of) < len(fields)}
    within = [each for each, of in smaller.items() if of.items() <= fields.items()]
    return max(within, key=lambda each: len(others[each]), default="")


def _fields(schema: dict[str, Any]) -> list[str]:
    required = schema.get("required", [])
    rows = (
        (f"`{name}`" + ("" if name in required else " (optional)"), _type(of), _about(of))
        for name, of in schema["properties"].items()
    )
    return table("field", "type", "description", rows=rows)


def _operation(title: str, operation: dict[str, Any], used: set[str]) -> Iterator[str]:
    yield from (f"### {operation['summary']}", "", f"`{title}`", "")
    if described := " ".join(operation.get("description", "").split()):
        yield from (described, "")
    yield from (f"Requires {_callers(operation.get('security', []))}.", "")
    if parameters := operation.get("parameters"):
        rows = (
            (
                f"`{each['name']}`" + ("" if each.get("required") else " (optional)"),
                each["in"],
                _type(each["schema"]),
                _described(each),
            )
            for each in parameters
        )
        yield from table("parameter", "in", "type", "description", rows=rows)
    if body := operation.get("requestBody"):
        yield f"- Body: {_content(body, used)}."
    errors = []
    for status, answer in operation["responses"].items():
        content = _content(answer, used)
        if status >= "400":
            errors.append(status)
        else:
            about = ": ".join(filter(None, (content, answer.get("description", "").rstrip("."))))
            yield f"- Response {status}{': ' if about else ''}{about}."
    yield from (f"- [Errors](#errors): {', '.join(errors)}.", "")


def _callers(security: list[dict[str, list[str]]]) -> str:
    callers = []
    for each in security or [{}]:
        for scheme, scopes in each.items():
            names = ", ".join(f"`{scope}`" for scope in scopes)
            credential = f"a credential with the scope {names}" if names else "a credential"
            callers.append({"bearerAuth": credential}.get(scheme, "a session"))
        if not each:
            callers.append("no credential")
    return ", or ".join(dict.fromkeys(callers))


def _content(body: dict[str, Any], used: set[str]) -> str:
    types = [_type(content["schema"]) for content in body.get("content", {}).values()]
    for content in body.get("content", {}).values():
        used |= _names(content["schema"])
    return ", or ".join(dict.fromkeys(types))


def _names(schema: Any) -> set[str]:
    """Return the objects that a schema refers to."""
    if isinstance(schema, dict):
        named = {schema["$ref"].rpartition("/")[2]} if "$ref" in schema else set()
        return named.union(*map(_names, schema.values()))
    return set().union(*map(_names, schema)) if isinstance(schema, list) else set()


def _reached(schemas: dict[str, Any], used: set[str]) -> set[str]:
    return set().union(*(_names(schemas[name]) for name in used))


def _type(schema: dict[str, Any]) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return f"[{name}](#{name.lower()})"
    for several in ("oneOf", "anyOf", "allOf"):
        if several in schema:
            return " or ".join(dict.fromkeys(map(_type, schema[several])))
    if schema.get("type") == "array":
        return f"array of {_type(schema['items'])}"
    if schema.get("enum"):
        return ", ".join(f"`{value}`" for value in schema["enum"] if value is not None)
    kinds = schema.get("type", "any")
    kind = " or ".join(kinds) if isinstance(kinds, list) else kinds
    kind += f" ({schema['format']})" if schema.get("format") else ""
    return f"{kind} or null" if schema.get("nullable") else kind


def _described(schema: dict[str, Any]) -> str:
    """Return the description, without the list of values that drf-spectacular adds."""
    text = re.sub(r"^\* `.*$", "", schema.get("description", ""), flags=re.MULTILINE)
    return " ".join(text.split())


def _about(schema: dict[str, Any]) -> str:
    text = _described(schema)
    bounds = [
        f"{words} {schema[key]}"
        for key, words in [
            ("minimum", "at least"),
            ("maximum", "at most"),
            ("maxLength", "up to"),
            ("maxItems", "up to"),
            ("default", "by default"),
        ]
        if schema.get(key) not in (None, "", [])
    ]
    units = {"maxLength": "characters", "maxItems": "items"}
    bounds = [
        f"{bound} {units[key]}"
        if (key := next((k for k in units if k in schema), "")) and bound.startswith("up to")
        else bound
        for bound in bounds
    ]
    return f"{text} {'; '.join(bounds).capitalize()}." if bounds else text
