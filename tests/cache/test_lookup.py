"""Instances built from one row are the same as Django's."""

import pytest
from django.contrib.auth import get_user_model
from django.db.models.signals import post_init, pre_init

from apikeys.cache.lookup import Group, Lookup, all_except
from apikeys.models import PersonalAccessToken
from tests.factories import mint_pat

User = get_user_model()


@pytest.fixture
def minted(db):
    return mint_pat()


@pytest.fixture
def user_of(minted):
    def find():
        lookup = Lookup(PersonalAccessToken, "public_id", ("pk",), {"user": all_except("password")})
        (user,) = lookup.build(lookup.find(minted.key.public_id))
        return user

    return find


def test_an_instance_equals_djangos(user_of):
    found, fresh = user_of(), User.objects.defer("password").get()

    assert found == fresh
    states = [vars(each).pop("_state") for each in (found, fresh)]
    assert vars(found) == vars(fresh)
    for state in states:
        getattr(state, "fetch_mode", None)  # Django 6.1 sets it at the first access
    assert vars(states[0]) == vars(states[1])


def test_other_fields_are_deferred(user_of, django_assert_num_queries):
    user = user_of()

    with django_assert_num_queries(1):
        password = user.password
    assert password == User.objects.get().password


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_init_signals_are_sent(user_of, signal):
    user_of()
    heard = []

    def listen(sender, **kwargs):
        heard.append(sender)

    signal.connect(listen, sender=User)
    try:
        user_of()
    finally:
        signal.disconnect(listen, sender=User)

    assert heard == [User]


def test_a_custom_from_db_is_called(user_of, monkeypatch):
    def from_db(cls, db, names, values):
        user = super(User, cls).from_db(db, names, values)
        user.made = "by itself"
        return user

    monkeypatch.setattr(User, "from_db", classmethod(from_db))

    assert user_of().made == "by itself"


def test_a_reference_to_nothing_is_none(minted):
    lookup = Lookup(
        PersonalAccessToken, "public_id", ("pk",), {"revoked_by": all_except("password")}
    )

    assert lookup.build(lookup.find(minted.key.public_id)) == [None]


def test_a_missing_row_is_none(db):
    assert Lookup(PersonalAccessToken, "public_id", ("pk",)).find("nobody") is None


def test_the_fields_of_a_group_are_one_tuple_that_rows_share(minted):
    usual = ("", "", True)
    group = Group(("allowed_networks", "rate_limits", "direct_use"), usual)
    lookup = Lookup(PersonalAccessToken, "public_id", ("pk", group, "name"))
    first = lookup.find(minted.key.public_id)

    assert list(first) == [minted.key.pk, usual, minted.key.name]
    assert first[1] is usual

    PersonalAccessToken.objects.update(rate_limits="5/hour")
    assert lookup.find(minted.key.public_id)[1] == ("", "5/hour", True)
