from collections.abc import Callable
from typing import Any

from django.http.response import HttpResponseBase
from django.views import View


class LoginRequiredView(View):
    """Base class of pages for logged-in users.

    Django's ``LoginRequiredMiddleware`` reads the ``login_required`` attribute of the view.
    """

    @classmethod
    def as_view(cls, **initkwargs: Any) -> Callable[..., HttpResponseBase]:
        view: Any = super().as_view(**initkwargs)
        view.login_required = True
        return view  # type: ignore[no-any-return]
