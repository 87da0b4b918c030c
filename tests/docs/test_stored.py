"""The page on what is stored names every column, and its ways to export and delete work."""

import re

import pytest
from django.apps import apps
from django.core.management import call_command
from django.db import connection

from apikeys import lifecycle
from apikeys.models import AuditEvent
from tests.documents import blocks, read

PAGE = "docs/reference/what-is-stored.md"
MODELS = [
    model
    for label in ("apikeys", "apikeys_oauth", "apikeys_gateway", "apikeys_issuers")
    for model in apps.get_app_config(label).get_models()
]


def sections() -> dict[str, set[str]]:
    """The columns that are named under each heading of a model, by the model's name."""
    found = {}
    for part in read(PAGE).split("\n### ")[1:]:
        heading, _, text = part.partition("\n")
        first_cells = re.findall(r"^\| (`.*?) \|", text.partition("\n## ")[0], re.MULTILINE)
        named = {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}
        found |= dict.fromkeys(heading.split(", "), named)
    return found


@pytest.mark.parametrize("model", MODELS, ids=lambda model: model.__name__)
def test_every_column_is_named(model):
    fields = {field.name for field in (*model._meta.fields, *model._meta.many_to_many)}

    assert fields <= sections()[model.__name__]


@pytest.mark.slow
def test_no_column_is_named_that_there_is_not():
    names = {model.__name__: model for model in MODELS}
    for heading, columns in sections().items():
        together = [names[name] for name in names if sections()[name] == columns]
        if heading in names:
            there = {
                field.name
                for model in together
                for field in (*model._meta.fields, *model._meta.many_to_many)
            }
            assert columns <= there, heading


def test_what_is_about_a_person_is_exported(ada, capsys):
    engine = ada.project_memberships.get().project
    asked = {"scopes": ["payments:read"], "by": ada}
    mine = lifecycle.mint(user=ada, name="laptop", **asked)
    ours = lifecycle.mint(project=engine, name="server", **asked)
    lifecycle.revoke(mine.key, by=ada)

    (commands,) = blocks(PAGE, "console")
    for line in commands.splitlines():
        call_command(*line.removeprefix("python manage.py ").split())
        assert mine.key.public_id in capsys.readouterr().out
    (code,) = blocks(PAGE, "python")
    exec(code, {"ada": ada})
    assert ours.key.public_id in capsys.readouterr().out


def test_a_person_is_forgotten(ada):
    engine = ada.project_memberships.get().project
    asked = {"scopes": ["payments:read"], "by": ada}
    lifecycle.mint(user=ada, name="adas laptop", **asked)
    server = lifecycle.mint(project=engine, name="server", **asked).key
    pk = str(ada.pk)
    ada.delete()

    told = AuditEvent.objects.values_list("event", "owner", "by")
    assert ("deleted", "ada", "") in told
    assert ("minted", "analytical-engine", "ada") in told

    forget, prune = blocks(PAGE, "sql")
    with connection.cursor() as cursor:
        for statement in forget.replace("'7'", f"'{pk}'").split(";"):
            if connection.vendor == "mysql":
                statement = statement.replace('"by"', "`by`")
            if statement.strip():
                cursor.execute(statement)

    assert AuditEvent.objects.count() == 3
    for event in AuditEvent.objects.all():
        assert "ada" not in repr(vars(event))
    server.refresh_from_db()
    assert server.created_by is None

    with connection.cursor() as cursor:
        cursor.execute(prune.strip().rstrip(";"))
    assert not AuditEvent.objects.exists()
