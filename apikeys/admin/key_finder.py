"""The admin's page that finds a key by its ID, or by its whole text including the secret."""

from typing import Any

from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import path
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from .. import leaks, refusals, token
from ..models import KEY_MODELS, AnyKey
from ..refusals import Refused
from .forms import WholeKeyForm
from .lists import ListAdmin


class KeyFinder(ListAdmin):
    """Add the page to the URLs of a list."""

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_find"
        find = path("find/", self.own_view(self.find_view), name=name)
        return [find, *super().get_urls()]

    @method_decorator(sensitive_post_parameters("key"))
    @sensitive_variables()
    def find_view(self, request: HttpRequest) -> HttpResponseBase:
        """Redirect from the whole text of a key to its page. The text is not stored or logged."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        form = WholeKeyForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            url, problem = self._find(request, form.cleaned_data["key"].strip())
            if url is not None:
                return HttpResponseRedirect(url)
            form.add_error("key", problem)
        return self._find_page(request, form)

    @sensitive_variables()
    def _find(self, request: HttpRequest, text: str) -> tuple[str | None, str]:
        """Return the URL of the key with this ID or whole text. Without it, return why."""
        if token.is_id(public_id := token.without_prefix(text)):
            models: Any = KEY_MODELS.values()
            found = (model._default_manager.filter(public_id=public_id).first() for model in models)
            keys = [key for key in found if key is not None]
            problem = _("No key has the ID %(id)s.") % {"id": public_id}
        else:
            try:
                keys = [recognise(text)]
            except Refused as refused:
                return None, _why_not(refused)
            problem = _("You do not have permission to view keys of this kind.")
        for key in keys:
            listed: Any = self.admin_site._registry.get(type(key))
            if listed is not None and listed.has_view_or_change_permission(request, key):
                return listed.url("change", quote(key.pk)), ""
        return None, problem

    def _find_page(self, request: HttpRequest, form: WholeKeyForm) -> HttpResponseBase:
        context = {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "title": _("Find by whole key"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "list_url": self.url("changelist"),
        }
        response = TemplateResponse(request, "admin/apikeys/key/find.html", context)
        response["Cache-Control"] = "no-store, private"
        return response


@sensitive_variables("text", "candidate")
def recognise(text: str) -> AnyKey:
    """Return the key with this whole text, in any state. This does not count as a use.

    Raise ``Refused`` if ``text`` is malformed, no key has this ID, or the secret is wrong.
    """
    (candidate,) = leaks.candidates([text])
    if not candidate.kind:
        raise Refused(refusals.MALFORMED_KEY)
    rows = KEY_MODELS[candidate.kind]._default_manager.filter(public_id=candidate.public_id)
    if (key := rows.first()) is None or not candidate.is_right(key):
        raise Refused(refusals.INVALID_KEY)
    return key


def _why_not(refused: Refused) -> str:
    if refused.refusal is refusals.INVALID_KEY:
        return _("No key matches this ID and secret.")
    return str(refused.refusal.message)
