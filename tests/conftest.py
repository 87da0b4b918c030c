"""What more than one folder of tests uses."""

import pytest
from argon2 import PasswordHasher
from django.utils import translation

from apikeys import hashing, usage


@pytest.fixture(scope="session")
def real_argon2():
    """The hasher as a site has it."""
    return hashing._argon2


@pytest.fixture(scope="session", autouse=True)
def cheap_argon2(real_argon2):
    """Real Argon2id with the least of memory and time: thousands of keys are minted here."""
    hashing._argon2 = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)
    yield
    hashing._argon2 = real_argon2


@pytest.fixture(autouse=True)
def uses_of_this_test_alone():
    """Rows are rolled back after a test, and their primary keys come again."""
    usage._pending.clear()


@pytest.fixture(autouse=True)
def language():
    """The language of a response, which the thread keeps, is not the next test's."""
    with translation.override("en"):
        yield
