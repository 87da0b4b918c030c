"""The facts of a key are the same in JSON, in its schema and in the audit log."""

import pytest
from django.template.loader import render_to_string
from drf_spectacular.generators import SchemaGenerator

from apikeys import audit
from apikeys.api.serializers import AuditEventSerializer, KeySerializer
from apikeys.keys import facts
from apikeys.keys.facts import FACTS, record, with_facts
from apikeys.models import AuditEvent, PersonalAccessToken
from apikeys.restrictions import NAMES
from tests.factories import mint_key, mint_pat

pytestmark = pytest.mark.django_db


@pytest.fixture(scope="module")
def schemas():
    return SchemaGenerator().get_schema(request=None, public=True)["components"]["schemas"]


def test_every_fact_of_a_key_is_described_in_the_order_of_json(ada, schemas):
    facts = record(mint_pat(ada).key)

    assert list(facts) == list(schemas["Key"]["properties"])
    assert schemas["Key"]["required"] == sorted(facts)


@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_only_optional_facts_are_null(mint):
    facts = record(mint().key)

    assert {name for name, value in facts.items() if value is None} <= {
        fact.name for fact in FACTS if fact.optional
    }


def test_example_matches_the_type_of_its_field():
    example = {fact.name: fact.example for fact in FACTS}

    assert KeySerializer(data=example).is_valid(raise_exception=True)


@pytest.mark.parametrize("name", NAMES)
def test_a_restriction_is_in_json_in_its_schema_and_in_the_audit_log(ada, schemas, name):
    key = mint_pat(ada).key

    for body in ("TokenBody", "ProjectKeyBody", "PatchedTokenBody", "PatchedEditProjectKeyBody"):
        assert schemas[body]["properties"][name]["description"]
    assert schemas["Key"]["properties"][name]["description"]
    assert record(key)[name] == AuditEvent.objects.get(public_id=key.public_id).changes[name]


def test_key_without_direct_use_is_logged_as_such(ada):
    key = mint_pat(ada, direct_use=False).key

    assert AuditEvent.objects.get(public_id=key.public_id).changes["direct_use"] is False


def test_number_of_queries_does_not_grow_with_the_list(ada, django_assert_num_queries):
    for _ in range(5):
        mint_pat(ada)

    with django_assert_num_queries(3):
        assert len([record(key) for key in with_facts(PersonalAccessToken)]) == 5


@pytest.mark.parametrize(
    "names",
    [
        facts.COLUMNS_OF_COMMAND,
        facts.COLUMNS_OF_APPROVALS,
        *facts.COLUMNS_OF_ADMIN.values(),
        *facts.COLUMNS_OF_PAGES.values(),
    ],
)
def test_every_column_of_a_list_is_a_fact(names):
    assert set(names) <= {*facts.BY_NAME, "owner"}


@pytest.mark.parametrize("names", [*facts.COLUMNS_OF_PAGES.values(), facts.COLUMNS_OF_APPROVALS])
def test_the_pages_have_a_name_and_a_value_for_every_column(ada, names):
    key = mint_pat(ada).key
    row = {"key": key, "state": "live", "projects": None}
    for name in names:
        fact = facts.BY_NAME[name]
        context = {"name": name, "key": key, "row": row, "fact": fact}
        assert str(fact.label)
        assert render_to_string("apikeys/_fact.html", context).strip(), name


def test_an_exported_event_is_what_its_schema_describes(ada):
    mint_pat(ada)

    event = audit.record(AuditEvent.objects.get())

    assert tuple(event) == audit.FIELDS == tuple(AuditEventSerializer().fields)
    assert set(audit.COLUMNS) <= set(event)
