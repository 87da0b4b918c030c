"""Print the errors of commands."""

from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar

import click
import httpx

from .errors import LoginError

F = TypeVar("F", bound=Callable[..., Any])


def exits_with_a_line(function: F) -> F:
    """Print a ``LoginError`` as one line on standard error and exit with status 1."""

    @wraps(function)
    def told(*args: Any, **kwargs: Any) -> Any:
        try:
            return function(*args, **kwargs)
        except (LoginError, OSError, httpx.HTTPError, httpx.InvalidURL) as error:
            if isinstance(error, BrokenPipeError):  # handled by click
                raise
            raise click.ClickException(str(error) or type(error).__name__) from None

    return told  # type: ignore[return-value]
