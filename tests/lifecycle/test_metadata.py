"""Metadata of a key: what is stored, who reads it, and what is refused."""

import json

import pytest

from apikeys import lifecycle
from apikeys.access import Access
from apikeys.lifecycle import LifecycleError
from apikeys.lifecycle.metadata import DEPTH, MOST
from apikeys.models import AuditEvent, PersonalAccessToken
from apikeys.verify import verify
from tests.factories import mint_key, mint_pat

pytestmark = pytest.mark.django_db

GIVEN = {"team": "billing", "nested": {"list": [1, 2.5, None, True, "ä"]}, "empty": {}}


@pytest.fixture(params=[mint_pat, mint_key], ids=["token", "key"])
def make(request):
    return request.param


def nested(levels):
    found: dict = {}
    for _ in range(levels - 1):
        found = {"a": found}
    return found


def refused(code, call, *args, **kwargs):
    with pytest.raises(LifecycleError) as error:
        call(*args, **kwargs)
    assert (error.value.code, error.value.field) == (code, "metadata")
    return error.value.message


def test_metadata_is_stored_and_read_with_each_request(make):
    minted = make(metadata=GIVEN)
    assert verify(minted.token).metadata == GIVEN
    minted.key.refresh_from_db()
    assert minted.key.metadata == GIVEN
    assert verify(make().token).metadata == {}


def test_an_edit_replaces_all_metadata_and_an_empty_object_removes_it(make):
    minted = make(metadata=GIVEN)
    lifecycle.edit(minted.key, name="other")
    assert verify(minted.token).metadata == GIVEN
    changed = lifecycle.edit(minted.key, metadata={"team": "sales"})
    assert changed == {"metadata": (GIVEN, {"team": "sales"})}
    assert verify(minted.token).metadata == {"team": "sales"}
    lifecycle.edit(minted.key, metadata={})
    assert verify(minted.token).metadata == {}
    assert verify(minted.token).stored_metadata is None
    assert lifecycle.edit(minted.key, metadata={}) == {}


def test_a_successor_keeps_the_metadata(make):
    minted = make(metadata=GIVEN)
    assert verify(lifecycle.rotate(minted.key).token).metadata == GIVEN


def test_the_audit_log_has_the_metadata_before_and_after(make):
    minted = make(metadata={"team": "billing"})
    lifecycle.edit(minted.key, metadata={"team": "sales"})
    edited, created = AuditEvent.objects.filter(public_id=minted.key.public_id)[:2]
    assert created.changes["metadata"] == {"team": "billing"}
    assert edited.changes == {
        "metadata": {"before": {"team": "billing"}, "after": {"team": "sales"}}
    }


@pytest.mark.parametrize(
    "given",
    [
        [], "text", 5, True, [{"a": 1}],
        {1: "a"}, {None: 1}, {"a": {2: 3}},
        {"a": float("nan")}, {"a": float("inf")}, {"a": [-float("inf")]},
        {"a": 2**53}, {"a": -(2**53)},
        {"a": "b\0"}, {"a\0": 1}, {"a": "\ud800"}, {"a": "\x1b[31m"}, {"a\x7f": 1},
        {"a": object()}, {"a": {1, 2}}, {"a": b"bytes"},
        nested(DEPTH + 1), {"a": [[[[[[[["deep"]]]]]]]]},
    ],
)  # fmt: skip
def test_what_is_no_plain_json_object_is_refused(make, given):
    refused("invalid_metadata", make, metadata=given)
    minted = make()
    refused("invalid_metadata", lifecycle.edit, minted.key, metadata=given)
    assert verify(minted.token).metadata == {}


def test_a_structure_that_contains_itself_is_refused(make):
    loop: dict = {}
    loop["loop"] = loop
    refused("invalid_metadata", make, metadata=loop)


def test_the_limits_are_exact(make):
    text = "x" * (MOST - len('{"a":""}'))
    assert verify(make(metadata={"a": text}).token).metadata == {"a": text}
    message = refused("metadata_too_large", make, metadata={"a": text + "x"})
    assert "4097" in message
    # Bytes count, not characters.
    refused("metadata_too_large", make, metadata={"a": "ä" * (MOST // 2)})
    refused("metadata_too_large", make, metadata={"a": [0] * 5000})
    assert verify(make(metadata=nested(DEPTH)).token).metadata == nested(DEPTH)
    assert verify(make(metadata={"a": 2**53 - 1}).token).metadata == {"a": 2**53 - 1}


def test_a_secret_is_refused_and_not_repeated(make):
    secret = make().token
    for given in ({"a": f"see {secret}"}, {secret: 1}, {"a": [{"b": secret}]}):
        assert secret not in refused("secret_in_text", make, metadata=given)


def test_a_copy_is_stored_and_read(make):
    given = {"list": [1]}
    minted = make(metadata=given)
    given["list"].append(2)
    access = verify(minted.token)
    access.metadata["list"].append(3)
    assert access.metadata == {"list": [1]}


def test_a_task_carries_the_metadata(make):
    minted = make(metadata=GIVEN)
    carried = json.loads(json.dumps(verify(minted.token).to_dict()))
    assert Access.from_dict(carried).metadata == GIVEN
    lifecycle.edit(minted.key, metadata={"team": "sales"})
    assert Access.from_dict(carried).metadata == GIVEN
    assert Access.from_dict(carried, verify=True).metadata == {"team": "sales"}
    # An older release did not carry any.
    carried.pop("metadata")
    assert Access.from_dict(carried).metadata == {}


def test_metadata_is_parsed_only_when_it_is_read(make, mocker):
    minted = make(metadata=GIVEN)
    loads = mocker.spy(json, "loads")
    access = verify(minted.token)
    assert loads.call_count == 0
    assert access.metadata == GIVEN
    assert loads.call_count == 1


def test_an_empty_object_is_no_value_in_the_database():
    mint_pat()
    assert PersonalAccessToken.objects.filter(metadata__isnull=True).count() == 1
