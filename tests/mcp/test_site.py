"""What a credential may do at an MCP server in the process of the site."""

import asyncio
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest
from asgiref.sync import sync_to_async
from django.db import connection

from apikeys.mcp import TokenVerifier
from tests.factories import mint_key
from tests.issuers.conftest import _forget, identity, trust  # noqa: F401 - fixtures
from tests.issuers.provider import AUDIENCE, sign

pytestmark = pytest.mark.django_db(transaction=True)

RESOURCE = f"{AUDIENCE}/mcp"


def resource_of(token):
    return asyncio.run(TokenVerifier(RESOURCE).verify(token)).resource


@pytest.mark.usefixtures("identity")
def test_token_of_an_issuer_is_for_the_audience_that_it_names(trust):  # noqa: F811
    assert resource_of(sign(scope="payments:read")) is None  # for the whole site

    trust(AUDIENCES=[AUDIENCE, RESOURCE, f"{RESOURCE}/other"])
    for audience, named in [
        (RESOURCE, RESOURCE),
        ([RESOURCE, AUDIENCE], RESOURCE),
        (f"{RESOURCE}/other", None),
    ]:
        assert resource_of(sign(scope="payments:read", aud=audience)) == named


def test_key_is_for_every_server_of_the_site():
    assert resource_of(mint_key(scopes=["payments:read"]).token) == RESOURCE


in_thread = partial(sync_to_async, thread_sensitive=False)


def test_connection_that_is_too_old_is_replaced():
    verifier = TokenVerifier(RESOURCE)

    async def run():
        asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor(1))
        assert await verifier.verify_token("made-up") is None
        await in_thread(setattr)(connection, "close_at", 0)
        assert await verifier.verify_token("made-up") is None
        try:
            assert await in_thread(getattr)(connection, "close_at") != 0
        finally:
            await in_thread(lambda: connection.close())()

    asyncio.run(run())
