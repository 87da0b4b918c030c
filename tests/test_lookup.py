"""Instances out of one row: made faster than Django makes them, and no different."""

import pytest
from django.contrib.auth import get_user_model
from django.db.models.signals import post_init, pre_init

from apikeys.lookup import Lookup, but
from apikeys.models import PersonalAccessToken
from tests.factories import mint_pat

User = get_user_model()


@pytest.fixture
def minted(db):
    return mint_pat()


@pytest.fixture
def user_of(minted):
    def find():
        lookup = Lookup(PersonalAccessToken, "public_id", ("pk",), {"user": but("password")})
        (user,) = lookup.build(lookup.find(minted.key.public_id))
        return user

    return find


def test_an_instance_is_as_djangos_own(user_of):
    found, fresh = user_of(), User.objects.defer("password").get()

    assert found == fresh
    states = [vars(each).pop("_state") for each in (found, fresh)]
    assert vars(found) == vars(fresh)
    for state in states:
        getattr(state, "fetch_mode", None)  # which Django 6.1 fills in when it is asked for
    assert vars(states[0]) == vars(states[1])


def test_what_was_left_out_loads_when_it_is_asked_for(user_of, django_assert_num_queries):
    user = user_of()

    with django_assert_num_queries(1):
        password = user.password
    assert password == User.objects.get().password


@pytest.mark.parametrize("signal", [pre_init, post_init])
def test_whoever_listens_to_instances_hears_of_it(user_of, signal):
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


def test_a_model_that_makes_its_instances_itself_does(user_of, monkeypatch):
    def from_db(cls, db, names, values):
        user = super(User, cls).from_db(db, names, values)
        user.made = "by itself"
        return user

    monkeypatch.setattr(User, "from_db", classmethod(from_db))

    assert user_of().made == "by itself"


def test_a_reference_to_nothing_is_none(minted):
    lookup = Lookup(PersonalAccessToken, "public_id", ("pk",), {"revoked_by": but("password")})

    assert lookup.build(lookup.find(minted.key.public_id)) == [None]


def test_no_row(db):
    assert Lookup(PersonalAccessToken, "public_id", ("pk",)).find("nobody") is None
