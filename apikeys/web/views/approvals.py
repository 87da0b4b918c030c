"""List the requests that the user may approve, and approve or reject them."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from ... import lifecycle, reach, token
from ...conf import slug_of
from ...errors import LifecycleError
from ...keys import facts
from ...keys.queries import in_state
from ...models import KEY_MODELS, AnyKey, PersonalAccessToken, ProjectKey, State
from ...policy import get_policy
from ...reach import requests
from ...reach.requests import Request
from ...reach.shown import Shown
from ...templatetags.apikeys_pages import quoted
from .. import deciding, sudo
from ..forms import PauseForm
from ..wording import listed
from .pages import CONFLICTS, SettingsPage, add_error
from .requests import (
    ACCESS,
    Asked,
    is_mailed,
    is_working,
    label_of,
    name_of,
    rows_of_requests,
    value_of,
)

_MODELS: tuple[type[AnyKey], ...] = (ProjectKey, PersonalAccessToken)

#: The most requests that one confirmation decides about.
MOST: Final = 100


class Decide(SettingsPage):
    """Approve or reject a key. Users without the policy's ``may_approve`` get 404."""

    section = "approvals"
    decides_requests = True

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
    """Approve or reject the selected requests, after a page that lists who gets what.

    Each decision is made, and recorded, for itself. Requests that the user may not approve are
    left out. The page names the requests that someone decided, or withdrew, meanwhile.
    """

    section = "approvals"
    decides_requests = True
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
        chosen, gone = self.chosen(self.names(asked))
        if not chosen:
            message = self.gone(gone) if gone else _("Select at least one request.")
            messages.warning(self.request, message, fail_silently=True)
            return self.go(self.back)
        if approves and not self.is_recent:
            return self.ask_who()
        if not is_confirmed:
            return self.ask(self.form(None, approves), chosen, gone, approves=approves)
        form = self.form(asked, approves)
        if not form.is_valid():
            return self.ask(form, chosen, gone, 422, approves=approves)
        done: list[Asked] = []
        changed: list[str] = []
        shown = dict(name.rpartition(":")[::2] for name in self.names(asked))
        for each in chosen:
            try:
                facts = shown.get(name_of(each), "")
                is_done = self.do(each, approves, form.cleaned_data.get("reason", ""), facts)
            except LifecycleError as error:
                if error.field == "reason":  # the same for each request
                    add_error(form, error)
                    return self.ask(form, chosen, gone, 422, approves=approves)
                if error.code == "changed_meanwhile":
                    changed.append(value_of(each))
                    continue
                is_done = False
            if is_done:
                done.append(each)
            else:
                gone.append(label_of(each))
        if changed and (response := self.ask_again(changed, gone, done, approves)):
            return response
        if gone:
            messages.warning(self.request, self.gone(gone), fail_silently=True)
        return self.go(self.back, self.done(done, approves) if done else "")

    def ask_again(
        self, names: list[str], gone: list[str], done: list[Asked], approves: bool
    ) -> HttpResponse | None:
        """Ask again about the requests that have changed. Add the decided ones to ``gone``.

        Return ``None`` if all were decided.
        """
        chosen, decided = self.chosen(names)
        gone += decided
        if not chosen:
            return None
        if done:
            messages.success(self.request, self.done(done, approves), fail_silently=True)
        labels = [label_of(each) for each in chosen]
        text = ngettext(
            "%(names)s has changed since you opened the page. Check it and decide again.",
            "%(names)s have changed since you opened the page. Check them and decide again.",
            len(labels),
        )
        form, changed = self.form(None, approves), text % {"names": listed(labels)}
        return self.ask(form, chosen, gone, 409, approves=approves, changed=changed)

    def do(self, asked: Asked, approves: bool, reason: str, facts: str) -> bool:
        """Decide about one request. Return ``False`` if a token no longer waits.

        ``facts`` is a digest of what the page showed of a token. It may approve no more.
        """
        if not isinstance(asked, Request):
            if approves:
                lifecycle.approve(asked, by=self.user)
            else:
                lifecycle.reject(asked, by=self.user, reason=reason)
            return True
        entry = reach.find(asked.project, asked.key.public_id)
        if entry is None or not entry.awaits:
            return False
        shown = Shown.pending(facts)
        if approves:
            return reach.allow(asked.project, entry, by=self.user, shown=shown)
        return reach.deny(asked.project, entry, by=self.user, reason=reason, shown=shown)

    def names(self, asked: QueryDict) -> list[str]:
        return [*asked.getlist("id"), *asked.get("ids", "").split()][:MOST]

    def chosen(self, names: Sequence[str]) -> tuple[list[Asked], list[str]]:
        """Return the selected pending requests, and the labels of those no longer pending."""
        pairs = {tuple(name.split(":", 1)) for name in names}
        policy = get_policy()
        found: list[AnyKey] = []
        for model in (PersonalAccessToken,) if self.hides_project_keys else _MODELS:
            ids = [pair[1] for pair in pairs if pair[0] == model.KIND and len(pair) == 2]
            rows = facts.with_facts(model).filter(public_id__in=list(filter(token.is_id, ids)))
            found += [key for key in rows.order_by("pk") if policy.may_approve(self.user, key)]
        pending = [key for key in found if key.state() == State.PENDING]
        gone = [label_of(key) for key in found if key not in pending]
        access, gone_from_projects = self.chosen_access(names)
        return [*pending, *access], [*gone, *gone_from_projects]

    def chosen_access(self, names: Sequence[str]) -> tuple[list[Request], list[str]]:
        """Return the selected requests for projects in which the user may approve tokens.

        Name the others only by ID, because the user may not see these tokens.
        """
        if self.hides_project_keys:
            return [], []
        parts = [name.split(":") for name in names if name.startswith(f"{ACCESS}:")]
        among = {(unquote(part[2]), part[1]) for part in parts if len(part) in (3, 4)}
        slugs = {slug for slug, _key in among if "\0" not in slug}
        decides = requests.deciding(self.user, slugs).projects if slugs else []
        projects = {slug_of(project): project for project in decides}
        among = {(slug, key) for slug, key in among if slug in projects and token.is_id(key)}
        if not among:
            return [], []
        found = requests.pending(projects.values(), MOST, among)
        gone = among - {(slug_of(each.project), each.key.public_id) for each in found}
        return found, [f"{quoted(key)} ({projects[slug]})" for slug, key in sorted(gone)]

    def form(self, data: QueryDict | None, approves: bool) -> PauseForm:
        form = PauseForm(data)
        if approves:
            del form.fields["reason"]
        else:
            form.fields["reason"].help_text = _("Optional. The requesters can read the reason.")
        return form

    def gone(self, labels: Sequence[str]) -> str:
        text = ngettext(
            "%(names)s is no longer pending approval, so it was left out.",
            "%(names)s are no longer pending approval, so they were left out.",
            len(labels),
        )
        return text % {"names": listed(labels)}

    def done(self, found: Sequence[Asked], approves: bool) -> str:
        labels = [label_of(each) for each in found]
        if not approves:
            return _("Rejected %(name)s.") % {"name": listed(labels)}
        if all(isinstance(each, Request) for each in found):
            if any(not is_working(each) for each in found):
                text = ngettext(
                    "Approved %(names)s. It reaches the project once it works: it is pending "
                    "approval itself, or paused.",
                    "Approved %(names)s. Tokens that are pending approval themselves, or paused, "
                    "reach the projects once they work.",
                    len(labels),
                )
                return text % {"names": listed(labels)}
            text = ngettext(
                "Approved %(names)s. It reaches the project now.",
                "Approved %(names)s. They reach the projects now.",
                len(labels),
            )
        else:
            text = ngettext(
                "Approved %(names)s. It works now.",
                "Approved %(names)s. They work now.",
                len(labels),
            )
        return text % {"names": listed(labels)}

    def ask(
        self,
        form: PauseForm,
        chosen: list[Asked],
        gone: list[str],
        status: int = 200,
        *,
        approves: bool,
        changed: str = "",
    ) -> HttpResponse:
        if approves:
            title = ngettext("Approve %(n)d request?", "Approve %(n)d requests?", len(chosen))
        else:
            title = ngettext("Reject %(n)d request?", "Reject %(n)d requests?", len(chosen))
            if any(is_mailed(self.user, each) for each in chosen):
                help_text = _("Optional. The requesters can read the reason. Owners get a mail.")
                form.fields["reason"].help_text = help_text
        in_projects = sum(isinstance(each, Request) for each in chosen)
        return self.page(
            "decide_many",
            status,
            form=form,
            title=title % {"n": len(chosen)},
            rows=rows_of_requests(self.user, chosen),
            in_projects=in_projects,
            of_keys=len(chosen) - in_projects,
            waits=any(isinstance(each, Request) and not is_working(each) for each in chosen),
            ids=" ".join(map(value_of, chosen)),
            gone=self.gone(gone) if gone else "",
            changed=changed,
            approves=approves,
            back=self.back,
        )


class Approvals(SettingsPage):
    """List the requests that the user may approve, oldest first."""

    section = "approvals"
    size = 20

    def get(self, request: HttpRequest) -> HttpResponse:
        found: list[Asked] = []
        more = False
        models = (PersonalAccessToken,) if self.hides_project_keys else _MODELS
        lists: list[Sequence[Asked]] = [
            deciding.first_approvable(
                self.user,
                in_state(facts.with_facts(model), State.PENDING).order_by("pk"),
                self.size + 1,
            )
            for model in models
        ]
        lists.append(requests.pending(self.approving, self.size + 1))
        for some in lists:
            more = more or len(some) > self.size
            found += some[: self.size]
        return self.page(
            "approvals",
            rows=rows_of_requests(self.user, found),
            more=more,
            cut=self.deciding_in.is_cut,
        )
