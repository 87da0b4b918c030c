"""The size of the modules, and one place for the fixtures that most tests use."""

import re

from tests.documents import ROOT

MOST_LINES = 400


def test_no_module_is_longer_than_400_lines():
    lengths = {
        str(path.relative_to(ROOT)): len(path.read_text(encoding="utf-8").splitlines())
        for path in ROOT.glob("apikeys/**/*.py")
    }
    too_long = {path: n for path, n in lengths.items() if n > MOST_LINES}
    assert too_long == {}


def test_ada_and_her_project_are_defined_once():
    defined = [
        (str(path.relative_to(ROOT)), name)
        for path in ROOT.glob("tests/**/*.py")
        for name in re.findall(
            r"^@pytest\.fixture.*\ndef (ada|engine)\(",
            path.read_text(encoding="utf-8"),
            re.MULTILINE,
        )
        if "own_user" not in path.parts  # a site with models of its own
    ]
    assert sorted(defined) == [("tests/conftest.py", "ada"), ("tests/conftest.py", "engine")]
