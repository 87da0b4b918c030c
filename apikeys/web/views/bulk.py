"""Revoke several keys of an owner, with one confirmation."""

from datetime import timedelta
from typing import Any, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ... import lifecycle, token, usage
from ...errors import LifecycleError
from ...keys.queries import in_state
from ...models import AnyKey, State
from ..filters import KeyFilter
from ..forms import RevokeForm
from .pages import OwnerPage, add_error

#: The most keys that one confirmation revokes.
MOST: Final = 200


class RevokeMany(OwnerPage):
    """Confirm and revoke the selected keys, or all that match the filters of the list.

    The form of the confirmation names the keys that it shows. So it revokes no others, even if
    more keys match by then.
    """

    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        return self.go(self.back)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        keys, more = self.chosen()
        if not keys:
            of_user = self.owner.project is None
            message = _("Select at least one token.") if of_user else _("Select at least one key.")
            messages.warning(request, message, fail_silently=True)
            return self.go(self.back)
        if request.POST.get("confirm") != "yes":
            return self.ask(RevokeForm(of_tokens=self.owner.project is None), keys, more)
        form = RevokeForm(request.POST, of_tokens=self.owner.project is None)
        if not form.is_valid():
            return self.ask(form, keys, more, 422)
        reason = form.cleaned_data["reason"]
        try:
            ended = lifecycle.revoke_all(dict.fromkeys(keys, reason), by=self.user)
        except LifecycleError as error:
            add_error(form, self.worded(error))
            return self.ask(form, keys, more, 422)
        return self.go(self.back, self.done(keys, len(ended)))

    def chosen(self) -> tuple[list[AnyKey], bool]:
        """Return the keys to revoke, newest first, and whether more match than one form takes."""
        asked, keys = self.request.POST, self.owner.keys()
        if asked.get("which") == "all" and "ids" not in asked:
            found = KeyFilter(self.query, self.owner).rows(keys)
        else:
            ids = [*asked.getlist("id"), *asked.get("ids", "").split()]
            found = keys.filter(public_id__in=list(filter(token.is_id, ids))[: MOST + 1])
        rows = in_state(found, State.LIVE, State.PENDING).order_by("-pk")[: MOST + 1]
        listed: list[AnyKey] = list(rows)
        return listed[:MOST], len(listed) > MOST

    def ask(
        self, form: RevokeForm, keys: list[AnyKey], more: bool, status: int = 200
    ) -> HttpResponse:
        hour = timezone.now() - timedelta(hours=1)
        used = [key for key in keys if key.last_used_at is not None and key.last_used_at > hour]
        counts = usage.daily(self.owner.model, [key.pk for key in keys], days=1)
        return self.page(
            "revoke_many",
            status,
            form=form,
            keys=[{"key": key, "url": self.owner.url("key", key)} for key in keys],
            ids=" ".join(key.public_id for key in keys),
            more=more,
            used=len(used),
            today=sum(sum(days) for days in counts.values()),
            title=self.title(len(keys)),
            query=self.query.urlencode(),
            back=self.back,
        )

    def title(self, number: int) -> str:
        if self.owner.project is None:
            text = ngettext("Revoke %(n)d token?", "Revoke %(n)d tokens?", number)
        else:
            text = ngettext("Revoke %(n)d key?", "Revoke %(n)d keys?", number)
        return text % {"n": number}

    def done(self, keys: list[AnyKey], number: int) -> str:
        if len(keys) == 1:
            return _("Revoked %(name)s.") % {"name": keys[0].name}
        if self.owner.project is None:
            text = ngettext("Revoked %(n)d token.", "Revoked %(n)d tokens.", number)
        else:
            text = ngettext("Revoked %(n)d key.", "Revoked %(n)d keys.", number)
        return text % {"n": number}

    @property
    def query(self) -> QueryDict:
        """The query string of the list from which the user came."""
        return QueryDict(self.request.POST.get("query", ""))

    @property
    def back(self) -> str:
        query = self.query.urlencode()
        return f"{self.owner.url('keys')}?{query}" if query else self.owner.url("keys")
