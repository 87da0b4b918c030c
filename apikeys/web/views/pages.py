"""Base classes of the settings pages: any page, a page of an owner's keys, a page of one key."""

from collections.abc import Collection
from functools import cached_property
from typing import Any, ClassVar, Final, cast

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404, render
from django.utils.decorators import method_decorator
from django.utils.translation import gettext as _
from django.views.decorators.csrf import csrf_protect

from ... import token
from ...conf import app_settings, slug_field
from ...databases.lists import note_change
from ...databases.primary import reading_primary
from ...errors import LifecycleError
from ...http import outages
from ...http.hidden import hidden
from ...limits import networks
from ...models import AnyKey, get_project_model
from ...policy import get_policy
from ...reach import requests
from ...redaction import redact
from ...restrictions import RESTRICTIONS
from .. import deciding, sudo, zones
from ..fields import may_be_kept
from ..forms import ConvertForm, KeyForm, RotateForm
from ..headers import guard
from ..login import LoginRequiredView
from ..owners import ProjectKeys, Tokens
from ..wording import message_of

_DRAFT: Final = "apikeys_draft"
_MOST_OF_DRAFT: Final = 100_000  # characters
_ENTERED: Final = {*KeyForm.base_fields, *RotateForm.base_fields, *ConvertForm.base_fields}

#: The error codes for a key whose state has changed since the page was shown.
CONFLICTS: Final = {
    "revoked_key", "expired_key", "paused_key", "held_key", "already_rotated", "not_pending",
}  # fmt: skip


@method_decorator(
    (hidden, outages.answered(outages.page), reading_primary(), csrf_protect), name="dispatch"
)
class SettingsPage(LoginRequiredView):
    """A page for logged-in users, with the policy of ``PAGES_CSP``. It is never cached."""

    #: The active tab of the navigation.
    section = "tokens"
    #: Whether a form of the page decides about requests, so that they are counted again.
    decides_requests = False
    #: The form fields that are kept while the user logs in again.
    entered: ClassVar[Collection[str]] = _ENTERED

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        note_change(request)
        with networks.asked_from(request), zones.of_reader(request):
            response = cast("HttpResponse", super().dispatch(request, *args, **kwargs))
        if request.method == "POST" and self.decides_requests:
            deciding.forget(request.user)
        return guard(response)

    @property
    def hides_project_keys(self) -> bool:
        """Whether the site has no project keys, for the navigation."""
        return not app_settings.PROJECT_KEYS

    @property
    def user(self) -> Any:
        return self.request.user

    def page(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        context = {"section": self.section, "view": self} | context
        return render(self.request, f"apikeys/{template}.html", context, status=status)

    def refused(self, message: str, status: int = 403, **context: Any) -> HttpResponse:
        return self.page("refused", status, message=message, **context)

    def go(self, url: str, message: str = "") -> HttpResponse:
        if message:
            messages.success(self.request, message, fail_silently=True)
        return HttpResponseRedirect(url)

    @cached_property
    def deciding_in(self) -> requests.Deciding:
        """The projects that require approval and in which the user may approve tokens."""
        none = requests.Deciding([])
        return none if self.hides_project_keys else requests.deciding(self.user)

    @property
    def approving(self) -> list[Any]:
        return self.deciding_in.projects

    @cached_property
    def waiting(self) -> deciding.Waiting:
        """How many tokens wait for the user. Up to a minute old, but not on *Approvals*."""
        if self.hides_project_keys:
            return deciding.Waiting(0, decides=False)
        is_current = self.section == "approvals"
        return deciding.waiting_for(self.user, lambda: self.approving, fresh=is_current)

    @cached_property
    def to_decide(self) -> int:
        """The number of requests that the user may approve, up to 100."""
        return deciding.number_to_decide(self.user, self.waiting.number)

    @cached_property
    def decides(self) -> bool:
        """Whether to show the page of approvals to the user."""
        return bool(self.to_decide or self.waiting.decides) or deciding.decides(self.user)

    @cached_property
    def is_recent(self) -> bool:
        return sudo.get_sudo().is_recent(self.request)

    def ask_who(self) -> HttpResponse:
        """Redirect to the page that confirms the user's identity. Keep the form data meanwhile."""
        if self.request.method == "POST":
            kept = {
                name: [redact(value) for value in values]
                for name, values in self.request.POST.lists()
                if name.partition(":")[0] in self.entered
            }
            if not all(map(may_be_kept, kept.get("public_key", ()))):
                del kept["public_key"]
            # Keep no oversized data, and no key that was pasted into the wrong field.
            if len(str(kept)) < _MOST_OF_DRAFT and not token.holds_key(str(kept)):
                self.request.session[_DRAFT] = {"path": self.request.path, "data": kept}
            return HttpResponseRedirect(sudo.get_sudo().url(self.request, self.request.path))
        # A link that fills in the form is a GET.
        path = self.request.get_full_path()
        return HttpResponseRedirect(sudo.get_sudo().url(self.request, path))

    def holds_secret(self, *, but: tuple[str, ...] = ()) -> bool:
        """Return whether a parameter of the URL, except ``but``, contains a key or its secret."""
        given = self.request.GET
        return any(
            token.holds_secret(text)
            for name, texts in given.lists()
            if name not in but
            for text in texts
        )

    def clean_url(self) -> str:
        """Return the URL to go to from a query string that contains a secret."""
        return self.request.path

    def go_without_secret(self) -> HttpResponse:
        message = _(
            "You entered a key or its secret, so the page ignored it. The text is now in your "
            "browser's history and in the server's log. Rotate it."
        )
        messages.error(self.request, message, fail_silently=True)
        return self.go(self.clean_url())

    def draft(self) -> QueryDict | None:
        """Return the form data that ``ask_who`` kept for this page, and delete it."""
        kept = self.request.session.get(_DRAFT)
        if not kept or kept["path"] != self.request.path:
            return None
        del self.request.session[_DRAFT]
        data = QueryDict(mutable=True)
        for name, values in kept["data"].items():
            data.setlist(name, values)
        return data


@method_decorator((hidden, outages.answered(outages.page), reading_primary()), name="dispatch")
class OwnerPage(SettingsPage):
    """A page of an owner's keys. The owner is the project ``slug`` of the URL, or else the user."""

    owner: Tokens
    #: The pages of the owner that templates link to.
    urls: tuple[str, ...] = (
        "keys", "mint", "activity", "revoke_many", "pause_many", "resume_many",
    )  # fmt: skip
    #: Whether the page requires permission to manage the keys, not only to see them.
    manages = False

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        if "slug" in kwargs:
            self.section = "projects"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if slug := kwargs.get("slug"):
            if "\0" in slug or not app_settings.PROJECT_KEYS:
                raise Http404
            project = get_object_or_404(get_project_model(), **{slug_field(): slug})
            if not get_policy().may_see_keys(request.user, project):
                raise Http404
            self.owner = ProjectKeys(request.user, project)
        else:
            self.owner = Tokens(request.user)
        if self.manages and not self.owner.may_manage:
            message = _(
                "Your role in this project allows you to view keys, but not to manage them."
            )
            return guard(self.refused(message))
        return super().dispatch(request, *args, **kwargs)

    def worded(self, error: LifecycleError) -> LifecycleError:
        """Return ``error`` in the words of the page."""
        of_tokens = self.owner.project is None
        return LifecycleError(error.code, message_of(error, of_tokens=of_tokens), error.field)

    def clean_url(self) -> str:
        return self.owner.url("keys")

    def page(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        urls = {name: self.owner.url(name) for name in self.urls}
        return super().page(template, status, owner=self.owner, urls=urls, **context)


class KeyPage(OwnerPage):
    """A page of one key."""

    key: AnyKey

    def find(self) -> AnyKey:
        related = ("approved_by", "revoked_by")
        keys = self.owner.keys().select_related(*related, *self.owner.related)
        if self.owner.project is None:
            keys = keys.prefetch_related("projects")
        return cast("AnyKey", get_object_or_404(keys, public_id=self.kwargs["key_id"]))

    def page(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        if (key := getattr(self, "key", None)) is not None:  # unset if the user may not manage keys
            names = (
                "key", "edit", "rotate", "pause", "resume", "revoke", "convert",
                "keep_used", "undo",
            )  # fmt: skip
            context |= {"key": key, "key_urls": {name: self.owner.url(name, key) for name in names}}
        return super().page(template, status, **context)

    @property
    def url(self) -> str:
        return self.owner.url("key", self.key)

    def conflict(self, error: LifecycleError) -> HttpResponse:
        return self.refused(self.worded(error).message, 409, url=self.url)


#: The form field for each argument of ``lifecycle`` with another name.
_FIELDS: Final = {each.name: each.field_name for each in RESTRICTIONS} | {
    "expires_at": "expiry",
    "trust": "claims",
}


def add_error(form: Any, error: LifecycleError) -> None:
    name = _FIELDS.get(error.field or "", error.field)
    form.add_error(name if name in form.fields else None, error.message)
