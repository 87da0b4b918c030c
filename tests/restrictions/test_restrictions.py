"""Each restriction is declared once, and every part of the package finds it."""

import inspect
from io import StringIO

import pytest
from django.core.management import call_command
from django.test import RequestFactory

from apikeys import lifecycle, restrictions, verify
from apikeys.grants import Extent
from apikeys.lifecycle import LifecycleError
from apikeys.models import KEY_MODELS, AuditEvent, PersonalAccessToken
from apikeys.restrictions import RESTRICTIONS
from apikeys.restrictions.base import Phase
from apikeys.verify import Key
from tests.factories import UserFactory, mint_key, mint_pat
from tests.restrictions import NARROW, WIDER

each_restriction = pytest.mark.parametrize("restriction", RESTRICTIONS, ids=lambda each: each.name)


@each_restriction
@pytest.mark.parametrize("verb", [lifecycle.mint, lifecycle.edit])
def test_mint_and_edit_name_each_restriction_as_a_keyword_argument(restriction, verb):
    argument = inspect.signature(verb).parameters[restriction.name]

    assert argument.kind is inspect.Parameter.KEYWORD_ONLY
    assert argument.default is not inspect.Parameter.empty
    assert argument.annotation is not inspect.Parameter.empty


@each_restriction
@pytest.mark.parametrize("model", KEY_MODELS.values())
def test_a_new_key_has_an_empty_column_for_each_restriction(restriction, model):
    key = model()

    assert getattr(key, restriction.name) == restriction.empty
    assert issubclass(restrictions.Columns, restriction.columns)
    assert restrictions.of(key) == restrictions.EMPTY


@each_restriction
@pytest.mark.parametrize("mint", [mint_pat, mint_key])
def test_a_verified_key_has_each_restriction_as_an_attribute(restriction, mint, db):
    name, narrow = restriction.name, NARROW[restriction.name]
    restricted, free = mint(**{name: narrow}), mint()
    request = RequestFactory().get("/", REMOTE_ADDR="192.0.2.1")

    access = verify.verify(restricted.token, request, exchange=True)

    assert getattr(access, name) == restriction.parse(narrow)
    other = verify.verify(free.token, request, exchange=True)
    assert restrictions.of(other) is restrictions.EMPTY


@each_restriction
def test_an_empty_value_covers_every_value_and_a_narrow_one_does_not_cover_it(restriction):
    narrow = restriction.parse(NARROW[restriction.name])

    assert restriction.covers(restriction.empty, narrow)
    assert restriction.covers(narrow, narrow)
    assert not restriction.covers(narrow, restriction.empty)
    assert not restriction.covers(narrow, restriction.parse(WIDER[restriction.name]))


@each_restriction
def test_a_restriction_is_stored_audited_edited_and_kept_by_a_rotation(restriction, db):
    name, narrow = restriction.name, NARROW[restriction.name]
    minted = mint_pat(**{name: narrow})
    stored = restriction.parse(narrow)
    assert getattr(PersonalAccessToken.objects.get(), name) == stored

    successor = lifecycle.rotate(minted.key).key
    assert getattr(PersonalAccessToken.objects.get(pk=successor.pk), name) == stored

    changes = lifecycle.edit(successor, **{name: WIDER[name]})
    wider = restriction.parse(WIDER[name])
    assert changes == {name: (restriction.as_json(stored), restriction.as_json(wider))}
    assert getattr(PersonalAccessToken.objects.get(pk=successor.pk), name) == wider
    assert name in AuditEvent.objects.get(event="edited").changes


@each_restriction
def test_an_edit_that_widens_a_restriction_widens_the_key(restriction, db):
    key = mint_key(**{restriction.name: NARROW[restriction.name]}).key
    had = Extent.of(key)

    assert had.restricted({restriction.name: WIDER[restriction.name]}).wider(had)
    assert not had.restricted({restriction.name: NARROW[restriction.name]}).wider(had)


def _as_options(restriction):
    """The values with which the option of ``mint`` gives the narrow value."""
    narrow = NARROW[restriction.name]
    if not restriction.option.metavar:
        return [None]
    return narrow if restriction.option.repeats else [narrow.isoformat()]


@each_restriction
def test_mint_takes_each_restriction_as_an_option(restriction, db):
    option = restriction.option
    owner = UserFactory()
    command = ["mint", "--user", owner.username, "--name", "CI", "--scope", "payments:read"]
    values = _as_options(restriction)
    command += [text for value in values for text in (option.flag, value) if text]

    call_command("apikeys", *command, stdout=StringIO(), stderr=StringIO())

    stored = getattr(PersonalAccessToken.objects.get(), restriction.name)
    assert stored == restriction.parse(NARROW[restriction.name])
    if option.clear:
        public_id = PersonalAccessToken.objects.get().public_id
        lift = ["edit", public_id, option.flag, option.clear]
        call_command("apikeys", *lift, stdout=StringIO(), stderr=StringIO())
        assert getattr(PersonalAccessToken.objects.get(), restriction.name) == restriction.empty


@pytest.mark.parametrize("restriction", restrictions.CARRIED, ids=lambda each: each.name)
def test_a_restriction_that_an_access_carries_has_an_error_of_its_own(restriction):
    assert restriction.phase is not Phase.VERIFY

    error = restriction.not_grantable(restriction.parse(NARROW[restriction.name]))

    assert isinstance(error, LifecycleError)
    assert error.field == restriction.name


@pytest.mark.parametrize("kind", KEY_MODELS)
def test_keys_without_restrictions_share_one_tuple_in_memory(kind, db):
    minted = mint_pat() if kind == "pat" else mint_key()

    row = verify._LOOKUPS[kind].find(minted.key.public_id)

    assert Key(*row[: len(verify._LOOKUPS[kind].fields)]).restrictions is restrictions.EMPTY
