"""Each restriction has a test module with the name of its own module, which says as well:

- ``NARROW`` and ``WIDER``: a value for ``lifecycle.mint``, and one that allows more;
- ``refused_key()``: a key that requests are refused with, because of the restriction.
"""

from importlib import import_module

from apikeys.restrictions import RESTRICTIONS


def _module_of(restriction):
    name = type(restriction).__module__.rpartition(".")[2]
    return import_module(f"tests.restrictions.test_{name}")


MODULES = {each.name: _module_of(each) for each in RESTRICTIONS}
NARROW = {name: module.NARROW for name, module in MODULES.items()}
WIDER = {name: module.WIDER for name, module in MODULES.items()}
