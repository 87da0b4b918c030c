"""What 1.x keeps: the page lists it, and each of it says what it is."""

import inspect

import pytest

from tests.documents import read
from tests.public_api import MARK, PAGE, members, modules, rendered, said

PUBLIC = [(module, name) for module in modules() for name in module.__all__]
NAMES = [f"{module.__name__}.{name}" for module, name in PUBLIC]


def test_the_page_lists_every_public_name_and_no_other():
    assert read(PAGE).partition(MARK)[2] == rendered(), "run python -m tests.public_api"


@pytest.mark.parametrize(("module", "name"), PUBLIC, ids=NAMES)
def test_a_public_name_says_what_it_is(module, name):
    assert said(module, name), f"{module.__name__}.{name} has neither a docstring nor a #: comment"
    silent = [member for member, value in members(module, name) if not inspect.getdoc(value)]
    assert not silent, f"{module.__name__}.{name} has members without a docstring"


def test_a_public_module_says_what_it_is():
    assert not [module.__name__ for module in modules() if not module.__doc__]
