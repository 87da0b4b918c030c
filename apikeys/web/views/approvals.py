"""List the pending keys that the user may approve, and approve or reject them."""

from collections.abc import Sequence
from itertools import islice
from typing import Any, Final

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ... import lifecycle, token
from ...errors import LifecycleError
from ...keys import facts
from ...keys.queries import in_state
from ...models import KEY_MODELS, AnyKey, PersonalAccessToken, ProjectKey, State
from ...policy import get_policy
from ...reach.listing import awaiting
from ...templatetags.apikeys_pages import quoted
from .. import sudo
from ..forms import PauseForm
from ..owners import ProjectKeys, owner_of
from ..wording import named
from .pages import CONFLICTS, SettingsPage, add_error
from .rows import rows_of

_MODELS: tuple[type[AnyKey], ...] = (ProjectKey, PersonalAccessToken)

#: The most keys that one confirmation decides about.
MOST: Final = 100


def row_of(user: Any, key: AnyKey) -> dict[str, Any]:
    """Return the template data of a pending key."""
    owner = owner_of(user, key)
    (row,) = rows_of([key], owner, columns=facts.COLUMNS_OF_APPROVALS, with_usage=False)
    kwargs = {"kind": key.KIND, "key_id": key.public_id}
    # The pages of a user's token are the user's alone.
    is_seen = owner.project is not None or owner.user.pk == key.owner.pk
    row |= {"page": row["url"] if is_seen else ""}
    return row | {"decide": reverse("apikeys:decide", kwargs=kwargs)}


class Decide(SettingsPage):
    """Approve or reject a key. Users without the policy's ``may_approve`` get 404."""

    section = "approvals"

    def post(self, request: HttpRequest, kind: str, key_id: str) -> HttpResponse:
        if KEY_MODELS[kind] is ProjectKey and self.hides_project_keys:
            raise Http404
        key = get_object_or_404(facts.with_facts(KEY_MODELS[kind]), public_id=key_id)
        if not get_policy().may_approve(self.user, key):
            raise Http404
        url = reverse("apikeys:approvals")
        try:
            if request.POST.get("decision") == "approve":
                if not self.is_recent:
                    return HttpResponseRedirect(sudo.get_sudo().url(request, url))
                lifecycle.approve(key, by=self.user)
                done = _("Approved %(name)s. It works now.")
            elif request.POST.get("decision") == "reject":
                reason = request.POST.get("reason", "")
                lifecycle.reject(key, by=self.user, reason=reason)
                done = _("Rejected %(name)s.")
            else:
                return self.refused(_("Choose Approve or Reject."), 400, url=url)
        except LifecycleError as error:
            return self.refused(error.message, 409 if error.code in CONFLICTS else 422, url=url)
        return self.go(url, done % {"name": quoted(key.name)})


class DecideMany(SettingsPage):
    """Approve or reject the selected keys, after a page that lists who gets what.

    Each decision is made, and recorded, for itself. Keys that the user may not approve are left
    out, and keys that are no longer pending are named.
    """

    section = "approvals"
    entered = ("id", "ids", "decision", "reason")

    def get(self, request: HttpRequest) -> HttpResponse:
        draft = self.draft()  # from before the user logged in again
        if draft is None or draft.get("decision") not in ("approve", "reject"):
            return self.go(self.back)
        return self.decide(draft, is_confirmed=False)

    def post(self, request: HttpRequest) -> HttpResponse:
        asked = request.POST
        if asked.get("decision") not in ("approve", "reject"):
            return self.refused(_("Choose Approve or Reject."), 400, url=self.back)
        return self.decide(asked, is_confirmed=asked.get("confirm") == "yes")

    @property
    def back(self) -> str:
        return reverse("apikeys:approvals")

    def decide(self, asked: QueryDict, *, is_confirmed: bool) -> HttpResponse:
        approves = asked["decision"] == "approve"
        keys, gone = self.chosen(asked)
        if not keys:
            message = self.gone(gone) if gone else _("Select at least one request.")
            messages.warning(self.request, message, fail_silently=True)
            return self.go(self.back)
        if approves and not self.is_recent:
            return self.ask_who()
        if not is_confirmed:
            return self.ask(self.form(None, approves), keys, gone, approves=approves)
        form = self.form(asked, approves)
        if not form.is_valid():
            return self.ask(form, keys, gone, 422, approves=approves)
        done: list[AnyKey] = []
        for key in keys:
            try:
                if approves:
                    lifecycle.approve(key, by=self.user)
                else:
                    lifecycle.reject(key, by=self.user, reason=form.cleaned_data["reason"])
            except LifecycleError as error:
                if error.field == "reason":  # the same for each key
                    add_error(form, error)
                    return self.ask(form, keys, gone, 422, approves=approves)
                gone.append(key)
            else:
                done.append(key)
        if gone:
            messages.warning(self.request, self.gone(gone), fail_silently=True)
        return self.go(self.back, self.done(done, approves) if done else "")

    def chosen(self, asked: QueryDict) -> tuple[list[AnyKey], list[AnyKey]]:
        """Return the selected pending keys, and those that are no longer pending."""
        names = [*asked.getlist("id"), *asked.get("ids", "").split()][:MOST]
        pairs = {tuple(name.split(":", 1)) for name in names}
        policy = get_policy()
        found: list[AnyKey] = []
        for model in (PersonalAccessToken,) if self.hides_project_keys else _MODELS:
            ids = [pair[1] for pair in pairs if pair[0] == model.KIND and len(pair) == 2]
            rows = facts.with_facts(model).filter(public_id__in=list(filter(token.is_id, ids)))
            found += [key for key in rows.order_by("pk") if policy.may_approve(self.user, key)]
        pending = [key for key in found if key.state() == State.PENDING]
        return pending, [key for key in found if key not in pending]

    def form(self, data: QueryDict | None, approves: bool) -> PauseForm:
        form = PauseForm(data)
        if approves:
            del form.fields["reason"]
        else:
            form.fields["reason"].help_text = _("Optional. The requesters can read the reason.")
        return form

    def gone(self, keys: Sequence[AnyKey]) -> str:
        text = ngettext(
            "%(names)s is no longer pending approval, so it was left out.",
            "%(names)s are no longer pending approval, so they were left out.",
            len(keys),
        )
        return text % {"names": named(keys)}

    def done(self, keys: Sequence[AnyKey], approves: bool) -> str:
        if not approves:
            return _("Rejected %(name)s.") % {"name": named(keys)}
        text = ngettext(
            "Approved %(names)s. It works now.", "Approved %(names)s. They work now.", len(keys)
        )
        return text % {"names": named(keys)}

    def ask(
        self,
        form: PauseForm,
        keys: list[AnyKey],
        gone: list[AnyKey],
        status: int = 200,
        *,
        approves: bool,
    ) -> HttpResponse:
        if approves:
            title = ngettext("Approve %(n)d request?", "Approve %(n)d requests?", len(keys))
        else:
            title = ngettext("Reject %(n)d request?", "Reject %(n)d requests?", len(keys))
        return self.page(
            "decide_many",
            status,
            form=form,
            title=title % {"n": len(keys)},
            rows=[row_of(self.user, key) for key in keys],
            ids=" ".join(f"{key.KIND}:{key.public_id}" for key in keys),
            gone=self.gone(gone) if gone else "",
            approves=approves,
            back=self.back,
        )


class Approvals(SettingsPage):
    """List the pending keys that the user may approve, oldest first."""

    section = "approvals"
    size = 20

    def get(self, request: HttpRequest) -> HttpResponse:
        policy, more = get_policy(), False
        found: list[AnyKey] = []
        models = (PersonalAccessToken,) if self.hides_project_keys else _MODELS
        for model in models:
            pending = in_state(facts.with_facts(model), State.PENDING).order_by("pk")
            # Filter before slicing. Otherwise the keys of other owners could fill the page.
            waiting = policy.approvable(self.user, pending).iterator(chunk_size=100)
            decidable = (key for key in waiting if policy.may_approve(self.user, key))
            some = list(islice(decidable, self.size + 1))
            more = more or len(some) > self.size
            found += some[: self.size]
        rows = [row_of(self.user, key) for key in found]
        in_projects = [
            {
                "project": project,
                "number": number,
                "url": f"{ProjectKeys(self.user, project).url('access')}?denied=awaiting",
            }
            for project, number in ([] if self.hides_project_keys else awaiting(self.user))
        ]
        return self.page("approvals", rows=rows, more=more, waiting=in_projects)
