"""The tab *Access* of a project: what reaches it, and who decides about it."""

from typing import Any, Final

from django import forms
from django.contrib.auth import get_user_model
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from ... import mail, reach
from ...conf import slug_of
from ...decisions import OAUTH
from ...errors import LifecycleError
from ...policy import get_policy
from ...reach import exports, notices, requests, sources
from ...reach.entries import Entry
from ...reach.shown import Shown
from .. import sudo
from ..access import AccessFilter, affected_by, download, shown_in, words_of
from .pages import OwnerPage, add_error
from .rows import IN_USE, USED_LATELY, labelled

_MOST: Final = 1000  # requests to count


class DenyForm(forms.Form):
    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=200,
        required=False,
        widget=forms.TextInput(attrs={"autocomplete": "off"}),
    )

    def __init__(self, *args: Any, entry: Entry, is_mailed: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if entry.user is None:
            help_text = _("Optional. Everyone who can view the key can read the reason.")
        elif entry.kind == OAUTH and is_mailed:
            help_text = _("Optional. %(user)s gets it by mail and sees it in the activity.")
        elif entry.kind == OAUTH:
            help_text = _("Optional. %(user)s sees it in the activity.")
        elif is_mailed:
            help_text = _(
                "Optional. %(user)s gets it by mail and sees it on the page of the token."
            )
        else:
            help_text = _("Optional. %(user)s sees it on the page of the token.")
        self.fields["reason"].help_text = help_text % {"user": entry.user}


class AccessPage(OwnerPage):
    """A page of what reaches a project. Only members find it."""

    urls = (*OwnerPage.urls, "access", "access_rule")
    entered = ()
    decides_requests = True

    @property
    def project(self) -> Any:
        return self.owner.project

    @property
    def sees_all(self) -> bool:
        return get_policy().may_see_access(self.user, self.project)

    @property
    def may_deny(self) -> bool:
        return get_policy().may_deny(self.user, self.project)

    def refuse_decision(self) -> HttpResponse:
        message = _("Your role in this project does not allow you to decide about access.")
        return self.refused(message, url=self.owner.url("access"))


class AccessList(AccessPage):
    """Search, filter, sort and export, all by the query string."""

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if self.holds_secret():
            return self.go_without_secret()
        sees_all = self.sees_all
        users: Any = get_user_model()._default_manager
        members = None if sees_all else users.filter(pk=self.user.pk)
        listed = AccessFilter(request.GET)
        found = listed.entries(self.project, members)
        if name := request.GET.get("format"):
            return self.export(name, found)
        page = listed.page(self.project, found)
        may_deny = self.may_deny
        return self.page(
            "access",
            page=page,
            rows=[self.row(each, listed.link()) for each in page.rows],
            filter=listed,
            number=len(found),
            members=get_policy().members(self.project).count() if sees_all else 0,
            sees_all=sees_all,
            may_deny=may_deny,
            requires_approval=sources.requires_approval(self.project),
            waiting=requests.number([self.project], _MOST) if self.decides_here else 0,
            formats=exports.FORMATS,
            kept=listed.link().removeprefix("?"),
        )

    def clean_url(self) -> str:
        return self.owner.url("access")

    @property
    def decides_here(self) -> bool:
        """Whether the project is one of those on the page *Approvals*."""
        return bool(requests.deciding(self.user, [slug_of(self.project)]).projects)

    def row(self, entry: Entry, kept: str) -> dict[str, Any]:
        return {
            "entry": entry,
            "scopes": labelled(entry.scopes),
            "deny": _url("deny", self.project, entry) + kept,
            "allow": _url("allow", self.project, entry) + kept,
        }

    def export(self, name: str, found: list[Entry]) -> HttpResponse:
        message = _("Unknown format. Choose one of: %(names)s.")
        return download(self.project, found, name) or self.refused(
            message % {"names": ", ".join(exports.FORMATS)}, 400
        )


class Decide(AccessPage):
    """Deny or allow a credential, after a page that says what follows.

    For a token that is pending approval, this is to reject or approve it. The query string is
    that of the list, to return to.
    """

    verb = ""

    @property
    def kept(self) -> str:
        """The query string of the list. A part that holds a secret is dropped."""
        return "" if self.holds_secret() else AccessFilter(self.request.GET).link().rstrip("?")

    @property
    def back(self) -> str:
        return self.owner.url("access") + self.kept

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.may_deny:
            return self.refuse_decision()
        entry = self.entry()
        return self.ask(entry, self.form(entry))

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.may_deny:
            return self.refuse_decision()
        entry = self.entry()
        form = self.form(entry, request.POST)
        if self.verb == "allow" and not self.is_recent:
            path = request.path + self.kept
            return HttpResponseRedirect(sudo.get_sudo().url(request, path))
        if not form.is_valid():
            return self.ask(entry, form, 422)
        try:
            shown = shown_in(request.POST, self.verb, entry)
            self.decide(entry, form.cleaned_data["reason"], shown)
        except LifecycleError as error:
            if error.code == "changed_meanwhile":
                return self.ask_again(form, error)
            add_error(form, self.worded(error))
            return self.ask(entry, form, 422)
        return self.go(self.back, words_of(self.verb, entry, self.project)["done"])

    def form(self, entry: Entry, data: QueryDict | None = None) -> DenyForm:
        return DenyForm(data, entry=entry, is_mailed=self.is_mailed(entry))

    def is_mailed(self, entry: Entry) -> bool:
        """Return whether a mail tells the owner of the decision."""
        if not mail.is_sent("denied" if self.verb == "deny" else "allowed"):
            return False
        if entry.user_pk is None:
            return True
        owner = notices.owner_of(self.project, entry)
        return entry.user_pk != self.user.pk and bool(mail.addresses([owner] if owner else []))

    def ask_again(self, form: DenyForm, error: LifecycleError) -> HttpResponse:
        """Show what has changed since the page was shown. Ask again if there is anything to do."""
        entry = self.entry()
        is_open = entry.is_denied or entry.awaits if self.verb == "allow" else not entry.is_denied
        if not is_open:
            return self.refused(error.message, 409, url=self.back)
        add_error(form, error)
        return self.ask(entry, form, 409)

    def entry(self) -> Entry:
        entry = reach.find(self.project, self.kwargs["key_id"])
        if entry is None:
            raise Http404
        return entry

    def decide(self, entry: Entry, reason: str, shown: Shown) -> None:
        raise NotImplementedError

    def ask(self, entry: Entry, form: DenyForm, status: int = 200) -> HttpResponse:
        sources.fill(self.project, [entry])
        url = _url(self.verb, self.project, entry) + self.kept
        used = entry.used_at
        return self.page(
            "access_decide",
            status,
            form=form,
            entry=entry,
            scopes=labelled(entry.scopes),
            at=url,
            back=self.back,
            verb=self.verb,
            words=words_of(self.verb, entry, self.project),
            shown=Shown.of(entry),
            affected=affected_by(self.verb, entry, self.project),
            is_mailed=self.is_mailed(entry),
            is_requester=entry.user_pk is not None and entry.user_pk == self.user.pk,
            is_in_use=used is not None and timezone.now() - used < IN_USE,
            is_used_lately=used is not None and timezone.now() - used < USED_LATELY,
        )


class Deny(Decide):
    verb = "deny"

    def decide(self, entry: Entry, reason: str, shown: Shown) -> None:
        reach.deny(self.project, entry, by=self.user, reason=reason, shown=shown)


class Allow(Decide):
    verb = "allow"

    def decide(self, entry: Entry, reason: str, shown: Shown) -> None:
        reach.allow(self.project, entry, by=self.user, shown=shown)


class Rule(AccessPage):
    """Turn the approval of personal access tokens on or off, after a page that asks."""

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.may_deny:
            return self.refuse_decision()
        required = request.POST.get("approve") == "yes"
        if not required and not self.is_recent:
            return self.ask_who()
        reach.require_approval(self.project, required, by=self.user)
        if required:
            done = _("Personal access tokens now need approval. They are listed first.")
        else:
            done = _("Personal access tokens reach the project without approval now.")
        return self.go(self.owner.url("access"), done)

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.may_deny:
            return self.refuse_decision()
        required = request.GET.get("approve") != "no"
        if sources.requires_approval(self.project) == required:
            return self.go(self.owner.url("access"))
        if not required and not self.is_recent:
            return self.ask_who()
        number = sources.concerned(self.project, required)
        return self.page("access_approval", number=number, required=required)


def _url(verb: str, project: Any, entry: Entry) -> str:
    kwargs = {"slug": slug_of(project), "key_id": entry.id}
    return reverse(f"apikeys:access_{verb}", kwargs=kwargs)
