"""The form widget for scopes: one row of choices for each resource."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final

from django import forms
from django.utils.translation import gettext as _

from .. import scopes

#: A form with more resources than ``_MOST_SHOWN`` shows ``_SHOWN``, and the others on demand.
_MOST_SHOWN: Final = 12
_SHOWN: Final = 8


@dataclass
class Resource:
    """The scopes of one resource, as one row of the form."""

    name: str
    #: ``(scope, label)`` of radio buttons: the user may choose one.
    levels: list[tuple[str, str]] = field(default_factory=list)
    #: ``(scope, label)`` of checkboxes: the user may choose several.
    others: list[tuple[str, str]] = field(default_factory=list)


def by_resource(names: Iterable[str]) -> list[Resource]:
    """Group the scopes ``names`` by resource. Read and write become the levels of one choice."""
    levels = {"read": _("Read"), "write": _("Read and write")}
    resources: dict[str, Resource] = {}
    for name in names:
        resource, _colon, action = name.rpartition(":")
        row = resources.setdefault(resource, Resource(resource))
        if resource and action in levels:
            row.levels.append((name, levels[action]))
        else:
            row.others.append((name, action))
    for row in resources.values():
        row.levels.sort()  # read before write
        if [name for name, _label in row.levels] == [f"{row.name}:write"]:
            row.levels = [(row.levels[0][0], _("Write"))]
    return list(resources.values())


class ScopesWidget(forms.CheckboxSelectMultiple):
    """Choose none, read or write for each resource, with a checkbox for each other action."""

    template_name = "apikeys/widgets/scopes.html"

    def __init__(self) -> None:
        super().__init__()
        self.to_approve: frozenset[str] = frozenset()

    def get_context(self, name: str, value: Any, attrs: dict[str, Any] | None) -> dict[str, Any]:
        chosen = set(value or ())
        id_ = (attrs or {}).get("id", name)
        declared = scopes.declared()

        def option(number: int, scope: str, label: str) -> dict[str, Any]:
            return {
                "id": f"{id_}_{number}",
                "scope": scope,
                "label": label,
                "description": declared.get(scope, _("No longer offered by this site")),
                "checked": scope in chosen,
                "to_approve": bool(scopes.expand(scope) & self.to_approve),
            }

        def is_chosen(row: dict[str, Any]) -> bool:
            return not row["none"] or any(other["checked"] for other in row["others"])

        rows: list[dict[str, Any]] = []
        number = 0
        for resource in by_resource(str(value) for value, _label in self.choices):
            levels = [option(number + n, *level) for n, level in enumerate(resource.levels, 1)]
            number += len(levels)
            if sum(level["checked"] for level in levels) > 1:  # write includes read
                for level in levels[:-1]:
                    level["checked"] = False
            others = [option(number + n, *other) for n, other in enumerate(resource.others, 1)]
            number += len(others)
            rows.append(
                {
                    "name": resource.name,
                    "field": f"{name}:{resource.name}",
                    "levels": levels,
                    "none": not any(level["checked"] for level in levels),
                    "others": others,
                }
            )
        # Show the chosen resources first, and collapse most of a long list.
        rest = []
        if len(rows) > _MOST_SHOWN:
            rows.sort(key=lambda row: not is_chosen(row))
            number = max(_SHOWN, sum(map(is_chosen, rows)))
            rest = rows[number:]
        for row in rows:
            row["starts_rest"], row["ends_rest"] = row is next(iter(rest), None), row is rows[-1]
            row["ends_rest"] &= bool(rest)
        widget = {"name": name, "id": id_, "attrs": attrs or {}, "rows": rows, "rest": len(rest)}
        widget["autofocus"] = self.attrs.get("autofocus", False)
        return {"widget": widget}

    def value_from_datadict(self, data: Any, files: Any, name: str) -> list[str]:
        values = data.getlist(name)
        values += [data.get(key) for key in data if key.startswith(f"{name}:")]
        return sorted({value for value in values if value})

    def value_omitted_from_data(self, data: Any, files: Any, name: str) -> bool:
        return False
