"""List what the user has not used for 90 days, and revoke it with one confirmation."""

from itertools import groupby
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ... import lifecycle, token
from ...errors import LifecycleError
from ...models import AnyKey
from .. import unused
from ..forms import RevokeForm
from ..owners import Tokens, owner_of
from ..wording import named
from .bulk import MOST
from .created import created_with
from .pages import SettingsPage, add_error
from .rows import brief

_SIZE: Final = 30  # rows of a page


class UnusedList(SettingsPage):
    """List the user's own tokens, and the keys of each project that the user may manage."""

    section = ""

    def get(self, request: HttpRequest) -> HttpResponse:
        if self.holds_secret():
            return self.go_without_secret()
        found = unused.unused(self.user)
        text = request.GET.get("page", "")
        number = int(text) if text.isascii() and text.isdigit() and len(text) < 7 else 1
        start = max(number - 1, 0) * _SIZE
        keys = found.fetch(start, _SIZE)
        return self.page(
            "unused",
            groups=[
                {"owner": owner_of(self.user, same[0]), "rows": [brief(self.user, k) for k in same]}
                for same in (list(each) for _owner, each in groupby(keys, _owner_of))
            ],
            number=len(found.rows),
            is_cut=found.is_cut,
            is_recorded=found.is_recorded,
            days=unused.DAYS,
            most=unused.MOST,
            others=unused.others(),
            page={
                "previous": f"?page={number - 1}" if start else None,
                "next": f"?page={number + 1}" if start + _SIZE < len(found.rows) else None,
            },
        )


class RevokeUnused(SettingsPage):
    """Confirm and revoke the selected tokens and keys, or all of the list.

    Leave out keys that were used, or ended, or that the user lost, since the list was shown.
    """

    section = ""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.go(reverse("apikeys:unused"))

    def post(self, request: HttpRequest) -> HttpResponse:
        keys, more, left_out = self.chosen()
        if not keys:
            message = _("Select at least one token or key.")
            if left_out:
                message = self.left_out(left_out)
            messages.warning(request, message, fail_silently=True)
            return self.go(reverse("apikeys:unused"))
        if request.POST.get("confirm") != "yes":
            return self.ask(self.form(), keys, more, left_out)
        form = self.form(request.POST)
        if not form.is_valid():
            return self.ask(form, keys, more, left_out, 422)
        try:
            reason = form.cleaned_data["reason"]
            changed = lifecycle.revoke_all(dict.fromkeys(keys, reason), by=self.user)
        except LifecycleError as error:
            add_error(form, error)
            return self.ask(form, keys, more, left_out, 422)
        if left_out := left_out + len(keys) - len(changed):
            messages.warning(request, self.left_out(left_out), fail_silently=True)
        done = _("Revoked %(names)s.") % {"names": named(changed)} if changed else ""
        return self.go(reverse("apikeys:unused"), done)

    def chosen(self) -> tuple[list[AnyKey], bool, int]:
        """Return the keys to revoke, whether more match, and how many were left out."""
        asked = self.request.POST
        if asked.get("which") == "all" and "ids" not in asked:
            found = unused.unused(self.user)
            return found.fetch(0, MOST), len(found.rows) > MOST, 0
        ids = {*asked.getlist("id"), *asked.get("ids", "").split()}
        wanted = sorted(filter(token.is_id, ids))[:MOST]
        keys = unused.unused(self.user, wanted).fetch(0, MOST)
        return keys, len(ids) > MOST, max(len(wanted) - len(keys), 0)

    def left_out(self, number: int) -> str:
        text = ngettext(
            "%(n)d of the selected was not revoked. It was used or has ended in the meantime, "
            "or you may not revoke it.",
            "%(n)d of the selected were not revoked. They were used or have ended in the "
            "meantime, or you may not revoke them.",
            number,
        )
        return text % {"n": number}

    def form(self, data: Any = None) -> RevokeForm:
        form = RevokeForm(data)
        form.fields["reason"].help_text = _(
            "Optional. Everyone who can view the token or key can read the reason."
        )
        return form

    def ask(
        self, form: RevokeForm, keys: list[AnyKey], more: bool, left_out: int, status: int = 200
    ) -> HttpResponse:
        text = ngettext(
            "Revoke %(n)d unused token or key?", "Revoke %(n)d unused tokens and keys?", len(keys)
        )
        return self.page(
            "unused_revoke",
            status,
            form=form,
            keys=[brief(self.user, key) for key in keys],
            ids=" ".join(key.public_id for key in keys),
            more=more,
            created=created_with(keys, Tokens(self.user)),
            left_out=self.left_out(left_out) if left_out else "",
            title=text % {"n": len(keys)},
            at=reverse("apikeys:revoke_unused"),
            back=reverse("apikeys:unused"),
        )


def _owner_of(key: AnyKey) -> Any:
    return type(key), key.owner.pk
