"""The settings pages. Every change goes through ``lifecycle``; no view writes a key itself."""

import re
from dataclasses import replace
from functools import cached_property
from typing import Any, Final, cast
from urllib.parse import urljoin, urlsplit

from django.contrib import messages
from django.contrib.auth.views import redirect_to_login
from django.core import signing
from django.db.models import QuerySet
from django.http import (
    Http404,
    HttpRequest,
    HttpResponse,
    HttpResponseRedirect,
    QueryDict,
    StreamingHttpResponse,
)
from django.shortcuts import get_object_or_404, render
from django.templatetags.static import static
from django.urls import reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.http import url_has_allowed_host_and_scheme, urlencode
from django.utils.translation import gettext as _
from django.views import View
from django.views.decorators.csrf import csrf_protect
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from .. import audit, lifecycle, networks, records, scopes, token, usage
from ..conf import app_settings
from ..grants import Extent
from ..lifecycle import LifecycleError
from ..models import (
    KEY_MODELS,
    AuditEvent,
    PersonalAccessToken,
    ProjectKey,
    State,
    get_project_model,
)
from ..redaction import redact
from ..states import in_state
from . import sudo
from .forms import KEEP, ConfirmForm, KeyForm, RevokeForm, RotateForm, may_be_kept
from .owners import ProjectKeys, Tokens, owner_of
from .pagination import page_of

AnyKey = PersonalAccessToken | ProjectKey

_DRAFT: Final = "apikeys_draft"
_MOST_OF_DRAFT: Final = 100_000  # characters
_ENTERED: Final = {*KeyForm.base_fields, *RotateForm.base_fields}
_SALT: Final = "apikeys.web.mint"
_FORM_AGE: Final = 24 * 60 * 60  # seconds for which a form can be sent
_MOST_OF_CHAIN: Final = 10
_CONFLICTS: Final = {"revoked_key", "expired_key", "already_rotated", "not_pending"}


@method_decorator(csrf_protect, name="dispatch")
class Page(View):
    """A page for somebody who is logged in, kept by no cache, with a strict policy of content."""

    #: Which tab of the navigation is marked.
    section = "tokens"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        with networks.asked_from(request):
            response = cast("HttpResponse", super().dispatch(request, *args, **kwargs))
        return _guard(response)

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
    def is_recent(self) -> bool:
        return sudo.get_sudo().is_recent(self.request)

    def ask_who(self) -> HttpResponse:
        """Ask for a recent log-in, and keep what was entered until they are back."""
        if self.request.method == "POST":
            kept = {
                name: [redact(value) for value in values]
                for name, values in self.request.POST.lists()
                if name.partition(":")[0] in _ENTERED
            }
            if not all(map(may_be_kept, kept.get("public_key", ()))):
                del kept["public_key"]
            # Not what no person enters, nor a key that was pasted into the wrong field.
            if len(str(kept)) < _MOST_OF_DRAFT and not token.holds_key(str(kept)):
                self.request.session[_DRAFT] = {"path": self.request.path, "data": kept}
        return HttpResponseRedirect(sudo.get_sudo().url(self.request, self.request.path))

    def draft(self) -> QueryDict | None:
        """What ``ask_who`` kept of this page, once."""
        kept = self.request.session.get(_DRAFT)
        if not kept or kept["path"] != self.request.path:
            return None
        del self.request.session[_DRAFT]
        data = QueryDict(mutable=True)
        for name, values in kept["data"].items():
            data.setlist(name, values)
        return data


class OwnerPage(Page):
    """A page about somebody's keys: the user's own or, under a ``slug``, a project's."""

    owner: Tokens
    #: Whether it takes somebody who manages the keys, rather than sees them.
    manages = False

    def setup(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        super().setup(request, *args, **kwargs)
        if "slug" in kwargs:
            self.section = "projects"

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> Any:
        if not request.user.is_authenticated:
            return redirect_to_login(request.get_full_path())
        if slug := kwargs.get("slug"):
            if "\0" in slug:
                raise Http404
            project = get_object_or_404(get_project_model(), slug=slug)
            if not app_settings.POLICY.may_see_keys(request.user, project):
                raise Http404
            self.owner = ProjectKeys(request.user, project)
        else:
            self.owner = Tokens(request.user)
        if self.manages and not self.owner.may_manage:
            message = _("Your role in this project lets you see its keys, not manage them.")
            return _guard(self.refused(message))
        return super().dispatch(request, *args, **kwargs)

    def page(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        urls = {name: self.owner.url(name) for name in ("keys", "mint", "activity")}
        return super().page(template, status, owner=self.owner, urls=urls, **context)


class KeyList(OwnerPage):
    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        ended = request.GET.get("state") == "ended"
        keys = self.owner.keys()
        if self.owner.project is None:
            keys = keys.prefetch_related("projects")
        shown = (State.EXPIRED, State.REVOKED) if ended else (State.LIVE, State.PENDING)
        listed = in_state(keys, *shown)
        page = page_of(listed, request.GET.dict(), anchors=keys)
        return self.page("list", page=page, rows=_rows(page.rows, self.owner), ended=ended)


class Activity(OwnerPage):
    """What happened to the keys: for their owner, and for those who manage a project's."""

    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> Any:
        events = AuditEvent.objects.of(self.owner.owner)
        of_key = request.GET.get("key", "")
        if of_key and not _is_id(of_key):
            raise Http404
        if of_key:
            events = events.filter(public_id=of_key)
        if name := request.GET.get("format"):
            return self.export(name, events)
        page = page_of(events, request.GET.dict(), name="pk")
        kept = urlencode({"key": of_key}) + "&" if of_key else ""
        return self.page("activity", page=page, of_key=of_key, kept=kept, formats=audit.FORMATS)

    def export(self, name: str, events: QuerySet[Any]) -> Any:
        if name not in audit.FORMATS:
            message = _("There are these formats: %(names)s.")
            return self.refused(message % {"names": ", ".join(audit.FORMATS)}, 400)
        lines, media_type = audit.FORMATS[name]
        found = events.order_by("pk").iterator(chunk_size=500)
        response = StreamingHttpResponse(lines(found), content_type=media_type)
        response["Content-Disposition"] = f'attachment; filename="activity.{name}"'
        return response


class ProjectList(Page):
    """The projects whose keys the user gets to see."""

    section = "projects"

    def get(self, request: HttpRequest) -> HttpResponse:
        projects = app_settings.POLICY.projects(request.user)
        page = page_of(projects, request.GET.dict(), order="slug", name="slug")
        return self.page("projects", page=page)


class Mint(OwnerPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if not self.is_recent:
            return self.ask_who()
        draft = self.draft()
        return self.form_page(self.form(draft), is_back=draft is not None)

    @sensitive_variables()
    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form, step = self.form(request.POST), request.POST.get("step")
        if step == "summary":  # what the script shows while the form is filled in
            return self.page("_summary", summary=self.summary(form))
        if not self.is_recent:
            return self.ask_who()
        if step == "edit":
            return self.form_page(form)
        public_id = self.once()
        if public_id and (made := self.owner.keys().filter(public_id=public_id).first()):
            return self.made_already(made)
        if not form.is_valid():
            return self.form_page(form, 422)
        if public_id is None:
            form.add_error(None, _("This form was open for too long. Look it over and send it."))
            return self.form_page(form, 422)
        if step == "review":
            once = request.POST["once"]
            return self.page("review", form=form, summary=self.summary(form), once=once)
        try:
            minted = self.owner.mint(public_id=public_id, **form.asked())
        except LifecycleError as error:
            if error.code == "made_already":  # by the same form, sent twice at once
                return self.made_already(get_object_or_404(self.owner.keys(), public_id=public_id))
            _add_error(form, error)
            return self.form_page(form, 422)
        return _secret_page(self, minted)

    def form(self, data: QueryDict | None) -> KeyForm:
        return KeyForm(data, owner=self.owner.owner, grant=self.owner.grant())

    def form_page(self, form: KeyForm, status: int = 200, **context: Any) -> HttpResponse:
        # The id of the key to be made is settled by the form, so a form makes one key.
        to_sign = [token.generate_id(), str(self.user.pk), self.owner.label]
        context |= {"once": signing.dumps(to_sign, salt=_SALT), "summary": self.summary(form)}
        return self.page("mint", status, form=form, **context)

    def once(self) -> str | None:
        """The id of the key that this form makes, if it is ours, theirs and fresh."""
        text = self.request.POST.get("once", "")
        try:
            public_id, user, label = signing.loads(text, salt=_SALT, max_age=_FORM_AGE)
        except (signing.BadSignature, ValueError):
            return None
        return public_id if [user, label] == [str(self.user.pk), self.owner.label] else None

    def made_already(self, key: AnyKey) -> HttpResponse:
        message = _(
            "This form made the key %(name)s already. Its secret was shown then and cannot be "
            "shown again."
        )
        url = self.owner.url("key", key)
        return self.refused(message % {"name": key.name}, 409, key=key, url=url)

    def summary(self, form: KeyForm) -> dict[str, Any] | None:
        if not form.is_bound or not form.is_valid():
            return None
        asked = form.asked()
        policy = app_settings.POLICY
        chosen = scopes.join(asked["scopes"])
        return asked | {
            "scopes": _words(scopes.split(chosen)),
            "to_approve": [
                name
                for name in sorted(scopes.expand(chosen))
                if policy.needs_approval(self.owner.owner, name)
            ],
        }


class KeyPage(OwnerPage):
    """A page about one key."""

    key: AnyKey

    def find(self) -> AnyKey:
        related = ("approved_by", "revoked_by")
        keys = self.owner.keys().select_related(*related, *self.owner.related)
        if self.owner.project is None:
            keys = keys.prefetch_related("projects")
        return cast("AnyKey", get_object_or_404(keys, public_id=self.kwargs["key_id"]))

    def page(self, template: str, status: int = 200, **context: Any) -> HttpResponse:
        if (key := getattr(self, "key", None)) is not None:  # not where a viewer is refused
            names = ("key", "edit", "rotate", "revoke")
            context |= {"key": key, "key_urls": {name: self.owner.url(name, key) for name in names}}
        return super().page(template, status, **context)

    @property
    def url(self) -> str:
        return self.owner.url("key", self.key)

    def conflict(self, error: LifecycleError) -> HttpResponse:
        return self.refused(error.message, 409, url=self.url)


class Key(KeyPage):
    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = key = self.find()
        (row,) = _rows([key], self.owner)
        may_decide = row["state"] == "pending" and app_settings.POLICY.may_approve(self.user, key)
        decide = reverse("apikeys:decide", kwargs={"kind": key.KIND, "key_id": key.public_id})
        return self.page(
            "key",
            row=row,
            chain=_chain(key, self.owner),
            may_decide=may_decide,
            decide=decide,
        )


class Edit(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not _is_editable(self.key):
            return self.go(self.url)
        draft = self.draft()
        return self.page("edit", form=self.form(draft), is_back=draft is not None)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        form = self.form(request.POST)
        if not form.is_valid():
            return self.page("edit", 422, form=form)
        asked = form.asked()
        try:
            if self.widens(asked) and not self.is_recent:
                return self.ask_who()
            changes = lifecycle.edit(self.key, by=self.user, within=self.owner.grant(), **asked)
        except LifecycleError as error:
            if error.code in _CONFLICTS:
                return self.conflict(error)
            _add_error(form, error)
            return self.page("edit", 422, form=form)
        done = _("Saved. It counts from the next request on.") if changes else _("Nothing changed.")
        return self.go(self.url, done)

    def form(self, data: QueryDict | None) -> KeyForm:
        return KeyForm(data, owner=self.owner.owner, grant=self.owner.grant(), key=self.key)

    def widens(self, asked: dict[str, Any]) -> bool:
        had = Extent.of(self.key)
        projects = asked.get("projects", had.projects)
        reached = None if projects is None else frozenset(projects)
        scope = scopes.join(asked["scopes"])
        has = replace(had, scope=scope, projects=reached, expires_at=asked["expires_at"])
        return replace(has, **lifecycle.bounds(asked)).wider(had)


class Rotate(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not _is_editable(self.key):
            return self.go(self.url)
        if not self.is_recent:
            return self.ask_who()
        draft = self.draft()
        return self.page("rotate", form=self.form(draft), is_back=draft is not None)

    @sensitive_variables()
    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not self.is_recent:
            return self.ask_who()
        form = self.form(request.POST)
        if not form.is_valid():
            return self.page("rotate", 422, form=form)
        kept = form.cleaned_data["expiry"] == KEEP
        try:
            minted: lifecycle.Minted[Any] = lifecycle.rotate(
                self.key,
                overlap=form.cleaned_data["overlap"],
                expires_at=lifecycle.KEEP if kept else form.cleaned_data["expires_at"],
                public_key=form.cleaned_data.get("public_key"),
                by=self.user,
                within=self.owner.within_of_rotation(),
            )
        except LifecycleError as error:
            if error.code in _CONFLICTS:
                return self.conflict(error)
            _add_error(form, error)
            return self.page("rotate", 422, form=form)
        return _secret_page(self, minted, predecessor=self.key)

    def form(self, data: QueryDict | None) -> RotateForm:
        return RotateForm(data, owner=self.owner.owner, key=self.key)


class Revoke(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if self.key.state() in ("revoked", "expired"):
            return self.go(self.url)
        return self.page("revoke", form=RevokeForm(), others=self.others())

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        form = RevokeForm(request.POST)
        if not form.is_valid():
            return self.page("revoke", 422, form=form, others=self.others())
        keys = [self.key, *(self.others() if form.cleaned_data["also"] else ())]
        try:
            for key in keys:
                lifecycle.revoke(key, by=self.user, reason=form.cleaned_data["reason"])
        except LifecycleError as error:
            _add_error(form, error)
            return self.page("revoke", 422, form=form, others=self.others())
        done = _("Revoked: %(name)s is refused from now on.") % {"name": self.key.name}
        return self.go(self.owner.url("keys"), done)

    def others(self) -> list[AnyKey]:
        """The other keys of its chain that still work: those in their overlap, mostly."""
        near = [self.key.replaces, self.key.successor]
        return [key for key in near if key is not None and key.state() == "live"]  # type: ignore[misc]


class Decide(Page):
    """Approve or reject a key; for whom the policy's ``may_approve`` lets, others find none."""

    section = "approvals"

    def post(self, request: HttpRequest, kind: str, key_id: str) -> HttpResponse:
        key = get_object_or_404(records.with_facts(KEY_MODELS[kind]), public_id=key_id)
        if not app_settings.POLICY.may_approve(self.user, key):
            raise Http404
        url = reverse("apikeys:approvals")
        try:
            if request.POST.get("decision") == "approve":
                if not self.is_recent:
                    return HttpResponseRedirect(sudo.get_sudo().url(request, url))
                lifecycle.approve(key, by=self.user)
                done = _("Approved: %(name)s works from now on.")
            elif request.POST.get("decision") == "reject":
                reason = request.POST.get("reason", "")
                lifecycle.reject(key, by=self.user, reason=reason)
                done = _("Rejected: %(name)s will never work.")
            else:
                return self.refused(_("Choose to approve or to reject."), 400, url=url)
        except LifecycleError as error:
            return self.refused(error.message, 409 if error.code in _CONFLICTS else 422, url=url)
        return self.go(url, done % {"name": key.name})


class Approvals(Page):
    """What awaits the user's decision."""

    section = "approvals"
    size = 20

    def get(self, request: HttpRequest) -> HttpResponse:
        found: list[AnyKey] = []
        for model in (ProjectKey, PersonalAccessToken):
            waiting = self.waiting(model)[: self.size]
            found += [k for k in waiting if app_settings.POLICY.may_approve(self.user, k)]
        rows = []
        for key in found:
            (row,) = _rows([key], owner_of(self.user, key), with_usage=False)
            kwargs = {"kind": key.KIND, "key_id": key.public_id}
            rows.append(row | {"decide": reverse("apikeys:decide", kwargs=kwargs)})
        return self.page("approvals", rows=rows)

    def waiting(self, model: type[AnyKey]) -> QuerySet[Any]:
        """Pending keys, oldest first: a site admin's all, others' those of their projects."""
        keys = in_state(records.with_facts(model), State.PENDING).order_by("pk")
        if self.user.has_perm(f"apikeys.change_{model._meta.model_name}"):
            return keys
        mine = app_settings.POLICY.projects(self.user).order_by().values("pk")
        if model is ProjectKey:
            return keys.filter(project__in=mine)
        of_mine = PersonalAccessToken.objects.filter(projects__in=mine).values("pk")
        return keys.filter(all_projects=False, pk__in=of_mine)


class Confirm(Page):
    """The password again, before something that needs a recent log-in."""

    section = ""

    def get(self, request: HttpRequest) -> HttpResponse:
        return self.form_page(ConfirmForm(), 200)

    @method_decorator(sensitive_post_parameters("password"))
    @sensitive_variables()
    def post(self, request: HttpRequest) -> HttpResponse:
        form = ConfirmForm(request.POST)
        if not self.user.has_usable_password() or not form.is_valid():
            return self.form_page(form, 422)
        confirmed = sudo.confirm(request, form.cleaned_data["password"])
        if confirmed:
            return HttpResponseRedirect(self.next_url)
        if confirmed is None:
            form.add_error("password", _("Too many wrong passwords. Try again in 15 minutes."))
            response = self.form_page(form, 429)
            response["Retry-After"] = str(sudo.WINDOW)
            return response
        form.add_error("password", _("This is not your password."))
        return self.form_page(form, 422)

    def form_page(self, form: ConfirmForm, status: int) -> HttpResponse:
        login_url = redirect_to_login(self.next_url)["Location"]
        return self.page("confirm", status, form=form, next=self.next_url, login_url=login_url)

    @property
    def next_url(self) -> str:
        asked = self.request.POST.get("next") or self.request.GET.get("next", "")
        safe = url_has_allowed_host_and_scheme(
            asked, {self.request.get_host()}, require_https=self.request.is_secure()
        )
        return asked if safe else reverse("apikeys:keys")


@sensitive_variables()
def _secret_page(
    view: OwnerPage, minted: lifecycle.Minted[Any], predecessor: AnyKey | None = None
) -> HttpResponse:
    """The one answer that holds the secret. It goes nowhere else: no redirect, nothing kept."""
    request = view.request
    return OwnerPage.page(
        view,
        "secret",
        minted=minted,
        key=minted.key,
        predecessor=predecessor,
        curl_url=urljoin(request.build_absolute_uri("/"), app_settings.CURL_URL),
        url=view.owner.url("key", minted.key),
    )


def _guard(response: HttpResponse) -> HttpResponse:
    """The headers of every page: no cache keeps it, and nothing foreign runs or frames it."""
    own = "'self'"
    assets = urlsplit(static("apikeys/pages.css"))
    if assets.netloc:  # the site's static files have a host of their own
        own += f" {assets.scheme or 'https'}://{assets.netloc}"
    response["Content-Security-Policy"] = (
        f"default-src {own}; object-src 'none'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'"
    )
    response["Cache-Control"] = "no-store, private"
    response["Referrer-Policy"] = "same-origin"
    response["X-Content-Type-Options"] = "nosniff"
    return response


def _is_id(text: str) -> bool:
    return re.fullmatch(r"[0-9a-z]{16}", text, re.ASCII) is not None


def _is_editable(key: AnyKey) -> bool:
    return key.state() in ("live", "pending") and key.rotated_at is None


def _rows(keys: list[AnyKey], owner: Tokens, *, with_usage: bool = True) -> list[dict[str, Any]]:
    """What the pages tell of each key: a query for usage."""
    counts = usage.daily(owner.model, [key.pk for key in keys]) if with_usage else {}
    now = timezone.now()
    return [
        {
            "key": key,
            "successor_id": records.successor_id(key) if key.rotated_at else None,
            "state": key.state(now).value,
            "label": key.state(now).label,
            "scopes": _words(key.scopes),
            "projects": _projects(key, owner),
            "counts": counts.get(key.pk, []),
            "is_editable": _is_editable(key),
            "soon": key.expires_at is not None
            and key.state(now) == "live"
            and (key.expires_at - now).days < 7,
            "url": owner.url("key", key),
            "edit": owner.url("edit", key),
            "rotate": owner.url("rotate", key),
            "revoke": owner.url("revoke", key),
        }
        for key in keys
    ]


def _projects(key: AnyKey, owner: Tokens) -> list[Any] | None:
    if isinstance(key, ProjectKey):
        return [owner.project]
    return None if key.all_projects else list(key.projects.all())


def _words(names: tuple[str, ...]) -> list[tuple[str, str]]:
    declared = scopes.declared()
    return [(name, declared.get(name, name)) for name in names]


def _chain(key: AnyKey, owner: Tokens) -> list[dict[str, Any]]:
    """The keys that came of one another by rotation, newest first; the nearest of them."""
    newer: list[Any] = []
    while len(newer) < _MOST_OF_CHAIN and (n := (newer or [key])[-1].successor) is not None:
        newer.append(n)
    older: list[Any] = []
    while len(older) < _MOST_OF_CHAIN and (o := (older or [key])[-1].replaces) is not None:
        older.append(o)
    chain = [*reversed(newer), key, *older]
    return [{"key": k, "state": k.state(), "url": owner.url("key", k)} for k in chain]


def _add_error(form: Any, error: LifecycleError) -> None:
    name = {"expires_at": "expiry"}.get(error.field or "", error.field)
    form.add_error(name if name in form.fields else None, error.message)
