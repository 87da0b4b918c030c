"""The admin's actions on selected keys: revoke, pause, resume, set an expiry, approve, reject."""

from collections.abc import Callable
from datetime import timedelta
from typing import Any, Final

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.template.response import TemplateResponse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext_lazy

from .. import lifecycle
from ..databases import transactions
from ..errors import LifecycleError
from ..models import AnyKey
from ..policy import get_policy
from .forms import ConfirmForm, ExpireForm, PauseForm, ReasonForm
from .lists import ListAdmin

#: The message of each action, about one key and about several.
_DONE: Final = {
    "revoke_selected": (
        gettext_lazy("Revoked %(key)s."),
        ngettext_lazy("Revoked %(n)d key.", "Revoked %(n)d keys.", "n"),
    ),
    "pause_selected": (
        gettext_lazy("Paused %(key)s."),
        ngettext_lazy("Paused %(n)d key.", "Paused %(n)d keys.", "n"),
    ),
    "resume_selected": (
        gettext_lazy("Resumed %(key)s."),
        ngettext_lazy("Resumed %(n)d key.", "Resumed %(n)d keys.", "n"),
    ),
    "expire_selected": (
        gettext_lazy("Set the expiry of %(key)s."),
        ngettext_lazy("Set the expiry of %(n)d key.", "Set the expiry of %(n)d keys.", "n"),
    ),
    "approve_selected": (
        gettext_lazy("Approved %(key)s."),
        ngettext_lazy("Approved %(n)d key.", "Approved %(n)d keys.", "n"),
    ),
    "reject_selected": (
        gettext_lazy("Rejected %(key)s."),
        ngettext_lazy("Rejected %(n)d key.", "Rejected %(n)d keys.", "n"),
    ),
}
#: The actions after which requests with the keys fail. Their pages show the last use.
_STOPPING: Final = ("revoke_selected", "pause_selected", "expire_selected")
_MOST_AT_ONCE = 500
_MOST_SHOWN = 50

Do = Callable[[Any, dict[str, Any]], str]


class KeyActions(ListAdmin):
    """Add actions to the lists of keys.

    Each shows a confirmation page first, and writes to the history of each key.
    """

    actions = (
        "revoke_selected", "pause_selected", "resume_selected", "expire_selected",
        "approve_selected", "reject_selected",
    )  # fmt: skip

    @admin.action(description=gettext_lazy("Revoke selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        def do(key: Any, data: dict[str, Any]) -> str:
            if not lifecycle.revoke(key, by=request.user, reason=data["reason"]):
                raise LifecycleError("revoked_key", _("Already revoked."))
            return _("Revoked: %(reason)s") % data

        return self._confirm(
            request, queryset, ReasonForm, do,
            name="revoke_selected", title=_("Revoke"),
            text=_(
                "The next request with any of these keys is refused. Keys that were created "
                "with them over the API are revoked too. This cannot be undone."
            ),
        )  # fmt: skip

    @admin.action(description=gettext_lazy("Pause selected keys"), permissions=["change"])
    def pause_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        def do(key: Any, data: dict[str, Any]) -> str:
            if not lifecycle.pause(key, by=request.user, **data):
                raise LifecycleError("paused_key", _("Already paused."))
            return _("Paused: %(reason)s") % data

        return self._confirm(
            request, queryset, PauseForm, do,
            name="pause_selected", title=_("Pause"),
            text=_(
                "Requests with any of these keys are refused until it is resumed. Nothing else of "
                "the keys changes."
            ),
        )  # fmt: skip

    @admin.action(description=gettext_lazy("Resume selected keys"), permissions=["change"])
    def resume_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        def do(key: Any, data: dict[str, Any]) -> str:
            if not lifecycle.resume(key, by=request.user, as_admin=True):
                raise LifecycleError("not_paused", _("Not paused."))
            return _("Resumed.")

        return self._confirm(
            request, queryset, ConfirmForm, do,
            name="resume_selected", title=_("Resume"),
            text=_("These keys work again at once, with the same secrets."),
        )  # fmt: skip

    @admin.action(
        description=gettext_lazy("Set an expiry for selected keys"), permissions=["change"]
    )
    def expire_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        now = timezone.now()

        def do(key: Any, data: dict[str, Any]) -> str:
            ends = now + timedelta(days=data["days"])
            if key.expires_at is not None and key.expires_at <= ends:
                raise LifecycleError("ends_before", _("Already expires earlier."))
            lifecycle.edit(key, expires_at=ends, by=request.user)
            return _("Expires at %(at)s.") % {"at": ends.isoformat(timespec="seconds")}

        return self._confirm(
            request, queryset, ExpireForm, do,
            name="expire_selected", title=_("Expire"),
            text=_("These keys keep working until then. Keys that expire earlier do not change."),
        )  # fmt: skip

    @admin.action(description=gettext_lazy("Approve selected keys"), permissions=["change"])
    def approve_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        def do(key: Any, data: dict[str, Any]) -> str:
            self._may_approve(request, key)
            lifecycle.approve(key, by=request.user)
            return _("Approved.")

        return self._confirm(
            request, queryset, ConfirmForm, do,
            name="approve_selected", title=_("Approve"),
            text=_("These keys start to work at once."),
        )  # fmt: skip

    @admin.action(description=gettext_lazy("Reject selected keys"), permissions=["change"])
    def reject_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        def do(key: Any, data: dict[str, Any]) -> str:
            self._may_approve(request, key)
            lifecycle.reject(key, by=request.user, reason=data["reason"])
            return _("Rejected: %(reason)s") % data

        return self._confirm(
            request, queryset, ReasonForm, do,
            name="reject_selected", title=_("Reject"),
            text=_("These pending keys never work. This cannot be undone."),
        )  # fmt: skip

    def _may_approve(self, request: HttpRequest, key: AnyKey) -> None:
        if not get_policy().may_approve(request.user, key):
            message = _("You cannot approve this key.")
            raise LifecycleError("not_allowed", message)

    def _confirm(
        self,
        request: HttpRequest,
        queryset: QuerySet[Any],
        form_class: Any,
        do: Do,
        *,
        name: str,
        title: str,
        text: str,
    ) -> HttpResponse | None:
        """Show a confirmation page. Once confirmed, call ``do`` for each key.

        Write the text that ``do`` returns to the history of the key.
        """
        keys = list(queryset.order_by("pk")[: _MOST_AT_ONCE + 1])
        if len(keys) > _MOST_AT_ONCE:
            message = _("Select at most %(most)d keys at a time.") % {"most": _MOST_AT_ONCE}
            self.message_user(request, message, messages.ERROR)
            return None
        confirmed = "confirmed" in request.POST
        form = form_class(request.POST if confirmed else None)
        if confirmed and form.is_valid():
            self._do(request, keys, do, form.cleaned_data, name)
            # Django returns to the list as it was, but a button of a key's page posts without the
            # filters of the list: they might not show the key.
            filters = QueryDict(request.POST.get("filters", "")).urlencode()
            return HttpResponseRedirect(f"{self.url('changelist')}?{filters}") if filters else None
        context = {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "title": title,
            "text": text,
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "action": name,
            "keys": keys,
            "shown": keys[:_MOST_SHOWN],
            "shows_last_use": name in _STOPPING,
            "filters": request.POST.get("filters", ""),
            "more": max(0, len(keys) - _MOST_SHOWN),
            "checkbox": helpers.ACTION_CHECKBOX_NAME,
            "list_url": self.url("changelist"),
        }
        return TemplateResponse(request, "admin/apikeys/key/confirm.html", context)

    def _do(
        self, request: HttpRequest, keys: list[Any], do: Do, data: dict[str, Any], name: str
    ) -> None:
        done = []
        for key in keys:
            try:
                if not self.has_change_permission(request, key):
                    raise LifecycleError(
                        "not_allowed", _("You do not have permission to change this key.")
                    )
                with transactions.atomic(self.model):
                    self.log_change(request, key, do(key, data))
            except LifecycleError as error:
                warning = f"{key.public_id}: {error.message}"
                self.message_user(request, warning, messages.WARNING)
            else:
                done.append(key)
        if done:
            one, several = _DONE[name]
            message = one % {"key": done[0]} if len(done) == 1 else several % {"n": len(done)}
            self.message_user(request, message, messages.SUCCESS)
