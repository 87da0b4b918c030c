from base64 import b64encode
from functools import wraps
from unittest.mock import MagicMock


def get_basic_auth_header(user, password):
    text = b64encode(f"{user}:{password}".encode()).decode()
    return {"HTTP_AUTHORIZATION": f"Basic {text}"}


def spy_on(method):
    """Return ``method`` with a ``spy`` that keeps its calls and what it ``returned``."""
    spy = MagicMock()

    @wraps(method)
    def spied(*args, **kwargs):
        spy(*args, **kwargs)
        spy.returned = method(*args, **kwargs)
        return spy.returned

    spied.spy = spy
    return spied
