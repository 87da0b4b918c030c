"""Keys that requests refuse, and only the token endpoint accepts."""

import pytest

from apikeys.lifecycle import LifecycleError
from apikeys.refusals import Refused
from apikeys.restrictions import BY_NAME
from apikeys.restrictions.base import Terms
from apikeys.verify import verify
from tests.factories import mint_key

NARROW = False
WIDER = True

direct_use = BY_NAME["direct_use"]


def refused_key():
    return mint_key(direct_use=False)


def test_only_the_token_endpoint_accepts_a_key_for_exchange(db):
    minted = refused_key()

    with pytest.raises(Refused, match="exchange_required"):
        verify(minted.token)
    assert verify(minted.token, exchange=True).credential_id == minted.key.public_id


def test_a_key_that_signs_cannot_be_for_exchange_only():
    with pytest.raises(LifecycleError) as error:
        direct_use.check_terms(False, Terms(None, signs=True))

    assert (error.value.code, error.value.field) == ("exchange_needs_secret", "direct_use")
    direct_use.check_terms(False, Terms(None, signs=False))


@pytest.mark.parametrize("installed", [True, False])
def test_forms_offer_exchange_only_where_the_site_has_a_token_endpoint(installed, monkeypatch):
    monkeypatch.setattr("django.apps.apps.is_installed", lambda name: installed)

    assert direct_use.is_offered() is installed
