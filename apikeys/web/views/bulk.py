"""Revoke, pause or resume several keys of an owner, with one confirmation."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any, ClassVar, Final

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ... import lifecycle, token, usage
from ...errors import LifecycleError
from ...keys.queries import in_state
from ...lifecycle import ending
from ...models import AnyKey, State
from .. import sudo
from ..fields import KeylessForm
from ..filters import KeyFilter
from ..forms import PauseForm, RevokeForm
from .created import Created, created_with, revoked
from .pages import OwnerPage, add_error
from .rows import is_in_use

#: The most keys that one confirmation changes.
MOST: Final = 200


class Many(OwnerPage):
    """Confirm and change the selected keys, or all that match the filters of the list.

    The form of the confirmation names the keys that it shows. So it changes no others, even if
    more keys match by then.
    """

    manages = True
    #: The name of the template, and of the URL.
    name: ClassVar[str]
    #: The states of the keys that it changes.
    states: ClassVar[Sequence[State]]

    def form(self, data: QueryDict | None = None) -> Any:
        raise NotImplementedError

    def change(self, keys: list[AnyKey], form: Any) -> list[AnyKey]:
        raise NotImplementedError

    def title(self, number: int) -> str:
        raise NotImplementedError

    def done(self, keys: list[AnyKey], number: int) -> str:
        raise NotImplementedError

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
            return self.ask(self.form(), keys, more)
        form = self.form(request.POST)
        if not form.is_valid():
            return self.ask(form, keys, more, 422)
        try:
            changed = self.change(keys, form)
        except LifecycleError as error:
            add_error(form, self.worded(error))
            return self.ask(form, keys, more, 422)
        return self.go(self.back, self.done(keys, len(changed)))

    def chosen(self) -> tuple[list[AnyKey], bool]:
        """Return the keys to change, newest first, and whether more match than one form takes."""
        asked, keys = self.request.POST, self.owner.keys()
        if asked.get("which") == "all" and "ids" not in asked:
            found = KeyFilter(self.query, self.owner).rows(keys)
        else:
            ids = [*asked.getlist("id"), *asked.get("ids", "").split()]
            found = keys.filter(public_id__in=list(filter(token.is_id, ids))[: MOST + 1])
        rows = in_state(found, *self.states).order_by("-pk")[: MOST + 1]
        listed: list[AnyKey] = list(rows)
        return listed[:MOST], len(listed) > MOST

    def ask(
        self, form: KeylessForm, keys: list[AnyKey], more: bool, status: int = 200
    ) -> HttpResponse:
        hour = timezone.now() - timedelta(hours=1)
        used = [key for key in keys if key.last_used_at is not None and key.last_used_at > hour]
        counts = usage.daily(self.owner.model, [key.pk for key in keys])
        only = keys[0] if len(keys) == 1 else None
        return self.page(
            self.name,
            status,
            form=form,
            keys=[{"key": key, "url": self.owner.url("key", key)} for key in keys],
            ids=" ".join(key.public_id for key in keys),
            more=more,
            used=len(used),
            today=sum(of_key[-1] for of_key in counts.values()),
            counts=counts[only.pk] if only else [],
            is_in_use=bool(only and is_in_use(only, counts[only.pk])),
            created=self.created(keys),
            title=self.title(len(keys)),
            at=self.owner.url(self.name),
            query=self.query.urlencode(),
            back=self.back,
        )

    def created(self, keys: list[AnyKey]) -> Created | None:
        """Return the keys that change together with ``keys``, if there may be any."""
        return None

    @property
    def query(self) -> QueryDict:
        """The query string of the list from which the user came."""
        return QueryDict(self.request.POST.get("query", ""))

    @property
    def back(self) -> str:
        query = self.query.urlencode()
        return f"{self.owner.url('keys')}?{query}" if query else self.owner.url("keys")


class RevokeMany(Many):
    name = "revoke_many"
    states = (State.LIVE, State.PENDING, State.PAUSED)

    def form(self, data: QueryDict | None = None) -> RevokeForm:
        return RevokeForm(data, of_tokens=self.owner.project is None)

    #: The keys that were revoked with the only selected one.
    with_it: Sequence[AnyKey] = ()

    def change(self, keys: list[AnyKey], form: Any) -> list[AnyKey]:
        reason = form.cleaned_data["reason"]
        if len(keys) > 1:
            return lifecycle.revoke_all(dict.fromkeys(keys, reason), by=self.user)
        self.with_it = ending.end(keys[0], by=self.user, reason=reason) or ()
        return keys

    def created(self, keys: list[AnyKey]) -> Created:
        return created_with(keys, self.owner)

    def title(self, number: int) -> str:
        if self.owner.project is None:
            text = ngettext("Revoke %(n)d token?", "Revoke %(n)d tokens?", number)
        else:
            text = ngettext("Revoke %(n)d key?", "Revoke %(n)d keys?", number)
        return text % {"n": number}

    def done(self, keys: list[AnyKey], number: int) -> str:
        if len(keys) == 1:
            return revoked(keys[0], self.with_it)
        if self.owner.project is None:
            text = ngettext("Revoked %(n)d token.", "Revoked %(n)d tokens.", number)
        else:
            text = ngettext("Revoked %(n)d key.", "Revoked %(n)d keys.", number)
        return text % {"n": number}


class PauseMany(Many):
    name = "pause_many"
    states = (State.LIVE,)

    def form(self, data: QueryDict | None = None) -> PauseForm:
        return PauseForm(data, of_tokens=self.owner.project is None)

    def change(self, keys: list[AnyKey], form: Any) -> list[AnyKey]:
        return lifecycle.pause_all(keys, by=self.user, reason=form.cleaned_data["reason"])

    def title(self, number: int) -> str:
        if self.owner.project is None:
            text = ngettext("Pause %(n)d token?", "Pause %(n)d tokens?", number)
        else:
            text = ngettext("Pause %(n)d key?", "Pause %(n)d keys?", number)
        return text % {"n": number}

    def done(self, keys: list[AnyKey], number: int) -> str:
        if self.owner.project is None:
            text = ngettext("Paused %(n)d token.", "Paused %(n)d tokens.", number)
        else:
            text = ngettext("Paused %(n)d key.", "Paused %(n)d keys.", number)
        return text % {"n": number}


class ResumeMany(Many):
    """Resume the selected keys. Keys that a site admin holds are left out."""

    name = "resume_many"
    states = (State.PAUSED,)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.is_recent:
            # The confirmation is only reached by POST, so the user comes back to the list.
            return HttpResponseRedirect(sudo.get_sudo().url(request, self.back))
        return super().post(request, **kwargs)

    def chosen(self) -> tuple[list[AnyKey], bool]:
        keys, more = super().chosen()
        return [key for key in keys if not key.is_held], more

    def form(self, data: QueryDict | None = None) -> KeylessForm:
        return KeylessForm(data)

    def change(self, keys: list[AnyKey], form: Any) -> list[AnyKey]:
        return lifecycle.resume_all(keys, by=self.user)

    def title(self, number: int) -> str:
        if self.owner.project is None:
            text = ngettext("Resume %(n)d token?", "Resume %(n)d tokens?", number)
        else:
            text = ngettext("Resume %(n)d key?", "Resume %(n)d keys?", number)
        return text % {"n": number}

    def done(self, keys: list[AnyKey], number: int) -> str:
        if self.owner.project is None:
            text = ngettext("Resumed %(n)d token.", "Resumed %(n)d tokens.", number)
        else:
            text = ngettext("Resumed %(n)d key.", "Resumed %(n)d keys.", number)
        return text % {"n": number}
