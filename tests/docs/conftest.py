import sys
from pathlib import Path

import pytest

from tests.docs.reader import Reader


@pytest.fixture
def reader(tmp_path):
    """Somebody with an empty folder, and the packages of the suite."""
    reader = Reader(tmp_path, Path(sys.executable).parent)
    # The suite's own environment has them; the test of the wheel does these too.
    reader.skip = ("python3 -m venv", ". venv/bin/activate", "pip install")
    yield reader
    reader.close()
