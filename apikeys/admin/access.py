"""The admin pages that list what reaches a project, and deny and allow it there."""

from collections.abc import Callable
from typing import Any, ClassVar, Final

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import quote, unquote
from django.core.exceptions import PermissionDenied, ValidationError
from django.db.models import Count
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import reach
from ..conf import app_settings, slug_field, slug_of
from ..databases import transactions
from ..errors import LifecycleError
from ..keys.facts import KINDS
from ..models import KEY_MODELS, ProjectAccess, get_project_model
from ..reach import Entry, exports, sources
from ..reach.shown import Shown
from ..web.access import AccessFilter, affected_by, download, shown_in, words_of
from . import theme
from .forms import ConfirmForm, ReasonForm
from .lists import ListAdmin, begins

_MOST_PROJECTS: Final = 50


def may(user: Any, action: str) -> bool:
    """Return whether ``user`` has this permission on both kinds of key."""
    names = [f"apikeys.{action}_{model._meta.model_name}" for model in KEY_MODELS.values()]
    return bool(user.has_perms(names))


def url_of(user: Any, site: str, project: Any = None) -> str:
    """Return the URL of the page about ``project``, or of the list of projects.

    Empty if the admin with the name ``site`` does not show the page to ``user``.
    """
    if not (app_settings.PROJECT_KEYS and may(user, "view")):
        return ""
    try:
        return _url(site, "projects") if project is None else _url(site, "project", project)
    except NoReverseMatch:  # the site registered another class for tokens
        return ""


def _url(site: str, page: str, project: Any = None, *args: str) -> str:
    of_project = [] if project is None else [quote(project.pk)]
    return reverse(f"admin:apikeys_access_{page}", args=[*of_project, *args], current_app=site)


class DenyForm(ReasonForm):
    """Ask for a reason, which is optional as on the settings pages."""

    reason = forms.CharField(
        label=gettext_lazy("Reason"),
        max_length=ProjectAccess._meta.get_field("reason").max_length,
        required=False,
        widget=theme.Text,
        help_text=gettext_lazy(
            "Optional. The owner gets it by mail and sees it on the page of the credential."
        ),
    )


def _search() -> forms.CharField:
    """Return a search box. Its pattern keeps a browser from putting a whole key into an address."""
    attrs = {
        "type": "search",
        "autocomplete": "off",
        "pattern": "(?!.*_(?:pat|key)_[0-9a-z]{16}_[0-9A-Za-z]).*",
        "title": gettext_lazy(
            "Do not enter a whole key here: searches appear in the server's log."
        ),
    }
    return forms.CharField(required=False, max_length=100, widget=theme.Text(attrs=attrs))


class ProjectFilter(forms.Form):
    """The search of the list of projects."""

    q = _search()


class Filter(AccessFilter):
    """The filters of the list, with the widgets of the admin's theme."""

    q = _search()

    def __init__(self, params: Any) -> None:
        super().__init__(params)
        for field in self.fields.values():
            if isinstance(field, forms.ChoiceField):
                field.widget = theme.Select(choices=field.choices)


class AccessPages(ListAdmin):
    """Add the pages to the URLs of the list of tokens. They are about all kinds of credentials.

    * To view them requires the permission to view both tokens and project keys.
    * To deny or allow requires the permission to change both too, because a denial also applies
      to the tokens and keys that were created with the credential. So does requiring approval.
    """

    #: The form of each decision, by the last part of the URL.
    decisions: ClassVar[dict[str, Any]] = {"deny": DenyForm, "allow": ConfirmForm}

    def get_urls(self) -> list[Any]:
        def page(route: str, view: Callable[..., HttpResponse], name: str, **more: str) -> Any:
            view = self.own_view(view)
            return path(f"access/{route}", view, more, name=f"apikeys_access_{name}")

        if not app_settings.PROJECT_KEYS:  # so that no page links to them
            return super().get_urls()
        one = "<str:project>/<str:credential>"
        return [
            page("", self.projects_view, "projects"),
            page("<str:project>/", self.access_view, "project"),
            *(page(f"{one}/{verb}/", self.decide_view, verb, verb=verb) for verb in self.decisions),
            page("<str:project>/approval/on/", self.approval_view, "approval_on", to="on"),
            page("<str:project>/approval/off/", self.approval_view, "approval_off", to="off"),
            *super().get_urls(),
        ]

    def projects_view(self, request: HttpRequest) -> HttpResponse:
        """Search the projects by the start of a slug. Each links to its page."""
        self._check(request, "view")
        if refused := self.without_secret(request):
            return refused
        form, model = ProjectFilter(request.GET), get_project_model()
        rows = model._default_manager.order_by(slug_field())
        if not form.is_valid():
            rows = rows.none()
        elif term := form.cleaned_data["q"]:
            rows = rows.filter(begins(model, slug_field(), term))
        found = list(rows[: _MOST_PROJECTS + 1])
        shown = found[:_MOST_PROJECTS]
        denials = ProjectAccess.objects.filter(project__in=shown, is_denied=True).order_by()
        numbers = dict(denials.values_list("project").annotate(number=Count("pk")))
        projects = [
            {
                "project": each,
                "slug": slug_of(each),
                "url": _url(self.admin_site.name, "project", each),
                "denials": numbers.get(each.pk, 0),
            }
            for each in shown
        ]
        more = len(found) > len(shown)
        context = {"title": _("Access to projects"), "projects": projects, "more": more}
        return self._page(request, "access_projects", context | {"form": form})

    def access_view(self, request: HttpRequest, project: str) -> HttpResponse:
        """List the credentials that reach a project, or return them as ``?format=csv``."""
        self._check(request, "view")
        found_project = _find_project(project)
        if refused := self.without_secret(request):
            return refused
        listed = Filter(request.GET)
        found = listed.entries(found_project, None)
        if name := request.GET.get("format"):
            response = download(found_project, found, name)
            return _private(
                response or HttpResponse(_("Unknown format. Choose csv or json."), status=400)
            )
        page = listed.page(found_project, found)
        context = {
            "title": _("Access to %(project)s") % {"project": found_project},
            "filter": listed,
            "page_of_entries": page,
            "rows": [self._row(found_project, each) for each in page.rows],
            "number": len(found),
            "formats": exports.FORMATS,
            "kept": listed.link().removeprefix("?"),
            "requires_approval": sources.requires_approval(found_project),
            "may_decide": may(request.user, "change"),
        }
        to = "off" if context["requires_approval"] else "on"
        context["approval_url"] = _url(self.admin_site.name, f"approval_{to}", found_project)
        return self._page(request, "access", context)

    def approval_view(self, request: HttpRequest, project: str, to: str) -> HttpResponse:
        """Ask, and then turn the approval of personal access tokens on or off."""
        self._check(request, "view", "change")
        found_project, required = _find_project(project), to == "on"
        url = _url(self.admin_site.name, "project", found_project)
        if request.method == "POST":
            reach.require_approval(found_project, required, by=request.user)
            if required:
                message = _("Personal access tokens now need approval. They are listed first.")
            else:
                message = _("Personal access tokens reach the project without approval now.")
            self.message_user(request, message, messages.SUCCESS)
            return HttpResponseRedirect(url)
        names = {"project": found_project}
        if required:
            title = _("Require approval of personal access tokens in %(project)s?") % names
        else:
            title = _("Require no approval of personal access tokens in %(project)s?") % names
        context = {
            "title": title,
            "required": required,
            "number": sources.concerned(found_project, required),
            "list_url": url,
            "project_name": str(found_project),
            "label": _("Require approval") if required else _("Require no approval"),
        }
        return self._page(request, "access_approval", context)

    def decide_view(
        self, request: HttpRequest, project: str, credential: str, verb: str
    ) -> HttpResponse:
        """Ask, and then deny or allow a credential. A GET changes nothing."""
        self._check(request, "view", "change")
        found_project = _find_project(project)
        entry = reach.find(found_project, credential)
        if entry is None:
            raise Http404
        form = self.decisions[verb](request.POST if request.method == "POST" else None)
        status = 200
        url = _url(self.admin_site.name, "project", found_project)
        if form.is_valid():
            try:
                self._decide(request, verb, found_project, entry, form.cleaned_data)
            except LifecycleError as error:
                form.add_error("reason" if error.field and form.fields else None, error.message)
                if error.code == "changed_meanwhile":
                    entry, status = reach.find(found_project, credential) or entry, 409
            else:
                return HttpResponseRedirect(url)
        sources.fill(found_project, [entry])
        words = words_of(verb, entry, found_project)
        context = {
            "title": words["title"],
            "entry": entry,
            "verb": verb,
            "form": form,
            "list_url": url,
            "project_name": str(found_project),
            "label": words["verb"],
            "shown": Shown.of(entry),
            "affected": affected_by(verb, entry, found_project),
        }
        return self._page(request, "access_decide", context, status)

    def _decide(
        self, request: HttpRequest, verb: str, project: Any, entry: Entry, data: dict[str, Any]
    ) -> None:
        """Decide as a site admin, and write to the history of the key."""
        shown = shown_in(request.POST, verb, entry)
        by = request.user
        with transactions.atomic(self.model):
            if verb == "deny":
                is_new = reach.deny(project, entry, by=by, reason=data["reason"], shown=shown)
                rejected = _("Rejected in the project %(project)s.")
                done = rejected if entry.awaits else _("Denied in the project %(project)s.")
            else:
                is_new = reach.allow(project, entry, by=by, as_admin=True, shown=shown)
                approved = _("Approved in the project %(project)s.")
                done = approved if entry.is_request else _("Allowed in the project %(project)s.")
            done = f"{done % {'project': slug_of(project)}} {data.get('reason', '')}".strip()
            if is_new and (model := KINDS.get(entry.decided_as)) is not None:
                self.log_change(request, model._default_manager.get(public_id=entry.id), done)
        if is_new:
            message = words_of(verb, entry, project)["done"]
            self.message_user(request, message, messages.SUCCESS)
        else:
            self.message_user(request, _("Nothing has changed."), messages.WARNING)

    def _check(self, request: HttpRequest, *actions: str) -> None:
        if not all(may(request.user, action) for action in actions):
            raise PermissionDenied
        if not app_settings.PROJECT_KEYS:  # turned off after the URLs were built
            raise Http404

    def _row(self, project: Any, entry: Entry) -> dict[str, Any]:
        site, model = self.admin_site, KINDS.get(entry.decided_as)
        row: dict[str, Any] = {"entry": entry}
        for verb in self.decisions:
            row[verb] = _url(site.name, verb, project, entry.id)
        if model is not None and site.is_registered(model):
            name = f"admin:apikeys_{model._meta.model_name}_changelist"
            listed = reverse(name, current_app=site.name)
            row["url"] = f"{listed}?{urlencode({'q': entry.id})}"
        return row

    def _page(
        self, request: HttpRequest, template: str, context: dict[str, Any], status: int = 200
    ) -> HttpResponse:
        context = {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "opts": self.opts,
            "media": self.media,
            **context,
        }
        name = f"admin/apikeys/key/{template}.html"
        return _private(TemplateResponse(request, name, context, status=status))


def _private(response: HttpResponse) -> HttpResponse:
    response["Cache-Control"] = "no-store, private"
    return response


def _find_project(text: str) -> Any:
    """Return the project with this primary key, quoted as in URLs of the admin."""
    model = get_project_model()
    try:
        pk = model._meta.pk.to_python(unquote(text))
        found = None if "\0" in text else model._default_manager.filter(pk=pk).first()
    except (ValidationError, ValueError, OverflowError):
        found = None
    if found is None:
        raise Http404
    return found
