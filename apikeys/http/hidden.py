"""Keep secrets out of error reports with any reporter.

Django's reports show the form of a request and the variables of each frame. A decorator for
sensitive variables protects the frames below it, up to the next such decorator. The last decorator
that names parameters wins, so a decorator of another app may undo ours.
"""

from collections.abc import Callable
from functools import wraps
from traceback import clear_frames
from typing import Any, TypeVar, cast

V = TypeVar("V", bound=Callable[..., Any])


def hidden(view: V) -> V:
    """Hide the form and all variables below ``view`` from error reports."""

    @wraps(view)
    def wrapper(request: Any, *args: Any, **kwargs: Any) -> Any:
        request.sensitive_post_parameters = "__ALL__"
        try:
            return view(request, *args, **kwargs)
        except BaseException as error:
            request.sensitive_post_parameters = "__ALL__"
            empty_frames(error)
            raise

    return cast("V", wrapper)


def empty_frames(error: BaseException | None) -> None:
    """Clear the variables of every frame of ``error`` and of its causes."""
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        clear_frames(error.__traceback__)
        error = error.__cause__ or error.__context__
