"""Personal access tokens and project keys, for those whom Django's permissions let."""

from collections.abc import Callable, Iterator, Sequence
from datetime import timedelta
from typing import Any, ClassVar

from django.contrib import admin, messages
from django.contrib.admin import helpers
from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db import router, transaction
from django.db.models import Q, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseBase, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import NoReverseMatch, path, reverse
from django.utils import timezone
from django.utils.decorators import method_decorator
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext
from django.views.decorators.debug import sensitive_post_parameters, sensitive_variables

from .. import lifecycle, refusals, token, usage
from ..conf import app_settings
from ..lifecycle import LifecycleError
from ..models import KEY_MODELS, AbstractKey, PersonalAccessToken, ProjectKey, State
from ..refusals import Refused
from ..verify import verify
from .filters import ExpiryFilter, KindFilter, LastUseFilter, StateFilter
from .forms import ConfirmForm, EditForm, ExpireForm, MintForm, ReasonForm, WholeKeyForm
from .lists import ListAdmin, pks_beginning

AnyKey = PersonalAccessToken | ProjectKey

_MOST_AT_ONCE = 500
_MOST_SHOWN = 50
_MOST_OF_CHAIN = 20  # each way; a query each
_BARS = "▁▂▃▄▅▆▇█"

#: Refusals of a key whose secret is right.
_RECOGNISED = (
    refusals.REVOKED_KEY,
    refusals.EXPIRED_KEY,
    refusals.APPROVAL_REQUIRED,
    refusals.INACTIVE_USER,
    refusals.INACTIVE_PROJECT,
)

_LIFE = (
    "created_at", "former", "approved_at", "approved_by", "minted_with", "made_keys", "rotated_at",
    "rotation_chain", "revoked_at", "revoked_by", "revoked_reason",
)  # fmt: skip
_USE = ("last_used_at", "last_used_ip", "requests")

Do = Callable[[Any, dict[str, Any]], str]


class KeyAdmin(ListAdmin):
    """Keys are minted, edited and revoked here, and never deleted: history refers to them.

    Whoever may change keys edits, revokes, approves and lets them expire; whoever may only
    view them does none of it. The permission to delete counts where keys go with their user
    or project. Nobody is bound by what they could grant themselves: an admin acts for the
    site. The policy's rules for the owner hold here as everywhere.
    """

    #: The field of whom the key belongs to.
    owner: ClassVar[str]
    #: The fields of a form; what `lifecycle.edit` may change, and the owner at minting.
    edited: ClassVar[Sequence[str]]
    #: More facts than all keys have.
    shown: ClassVar[Sequence[str]] = ()

    actions = ("revoke_selected", "expire_selected", "approve_selected", "reject_selected")
    list_filter = (KindFilter, StateFilter, ExpiryFilter, LastUseFilter)
    ordering = ("-created_at", "-id")
    sortable_by = ("created_at",)  # what an index is there for
    search_fields = ("public_id",)  # shows the box; `matches` says what it does
    begins = ("public_id", "name")
    change_form_template = "admin/apikeys/key/change_form.html"
    change_list_template = "admin/apikeys/key/change_list.html"

    class Media:
        css = {"all": ["apikeys/admin.css"]}

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("root", "digest", "pepper_id")

    # What the pages show

    @admin.display(description=gettext_lazy("state"))
    def state(self, key: AbstractKey) -> str:
        state = key.state()
        if state is State.LIVE and key.rotated_at:
            return _("live, rotated")
        return str(state.label)

    @admin.display(description=gettext_lazy("scopes"))
    def scopes(self, key: AnyKey) -> str:
        return ", ".join(key.scopes)

    @admin.display(description=gettext_lazy("expires"))
    def expires(self, key: AnyKey) -> Any:
        return key.expires_at or _("never")

    @admin.display(description=gettext_lazy("last used"))
    def last_used(self, key: AnyKey) -> Any:
        return key.last_used_at or _("never")

    @admin.display(description=gettext_lazy("owner"))
    def owner_link(self, key: AnyKey) -> str:
        return self._link(key.owner)

    @admin.display(description=gettext_lazy("imported from"))
    def former(self, key: AnyKey) -> Any:
        return key.former

    @admin.display(description=gettext_lazy("rotation chain"))
    def rotation_chain(self, key: AnyKey) -> str:
        older, is_cut = _follow(key, "replaces")
        newer, goes_on = _follow(key, "successor")
        if not older and not newer:
            return _("Never rotated.")
        rows: list[str] = [
            format_html(
                "{} ({}, {})",
                format_html("<b>{}</b>", each.public_id)
                if each == key
                else self._link(each, each.public_id),
                self.state(each),
                localize(timezone.localtime(each.created_at)),
            )
            for each in [*reversed(older), key, *newer]
        ]
        rows = ["…"] * is_cut + rows + ["…"] * goes_on
        return format_html(
            '<ol class="apikeys-chain">{}</ol>',
            format_html_join("", "<li>{}</li>", ((row,) for row in rows)),
        )

    @admin.display(description=gettext_lazy("made with it"))
    def made_keys(self, key: AnyKey) -> str:
        made = [
            each
            for model in KEY_MODELS.values()
            for each in model._default_manager.filter(minted_with=key.public_id)[:_MOST_SHOWN]
        ]
        if not made:
            return _("None.")
        return format_html_join(", ", "{}", ((self._link(each, each.public_id),) for each in made))

    @admin.display(description=gettext_lazy("requests in the last 30 days"))
    def requests(self, key: AnyKey) -> str:
        counts = usage.daily(type(key), [key.pk])[key.pk]
        most = max(counts)
        bars = "".join(_BARS[-(-n * (len(_BARS) - 1) // most) if most else 0] for n in counts)
        told = _("%(total)s in all, %(most)s on the busiest day, %(today)s today (UTC)") % {
            "total": localize(sum(counts)),
            "most": localize(most),
            "today": localize(counts[-1]),
        }
        return format_html(
            "<span class='apikeys-usage' aria-hidden='true'>{}</span> {}", bars, told
        )

    def _link(self, row: Any, text: str = "") -> str:
        meta = row._meta
        name = f"admin:{meta.app_label}_{meta.model_name}_change"
        try:
            url = reverse(name, args=[quote(row.pk)], current_app=self.admin_site.name)
        except NoReverseMatch:  # a model that is not in this admin
            return text or str(row)
        return format_html('<a href="{}">{}</a>', url, text or str(row))

    # Who may do what

    def is_editable(self, request: HttpRequest, key: AnyKey) -> bool:
        """Whether ``request.user`` may edit it, and it is at a point of its life to be edited."""
        return (
            self.has_change_permission(request, key)
            and key.state() in (State.LIVE, State.PENDING)
            and key.rotated_at is None
        )

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise PermissionDenied(_("Keys are revoked, not deleted: history refers to them."))

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 asks for a place.
        where = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **where)
        actions.pop("delete_selected", None)
        return actions

    # Mint and edit

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            return [(None, {"fields": [self.owner, *self.edited, "once"]})]
        life = [name for name in _LIFE if self._has_to_tell(obj, name)]
        return [
            (None, {"fields": ["public_id", "state", "owner_link", *self.shown]}),
            (_("What it may do"), {"fields": self.edited}),
            (_("Use"), {"fields": _USE}),
            (_("Life"), {"fields": life}),
        ]

    def _has_to_tell(self, key: AnyKey, name: str) -> bool:
        return name in ("created_at", "rotation_chain", "made_keys") or bool(getattr(key, name))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        told = ("public_id", "state", "owner_link", *self.shown, *_USE, *_LIFE)
        return told if self.is_editable(request, obj) else (*told, *self.edited)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = EditForm if change else MintForm
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.by = request.user
        return form

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        if not change:
            request._minted = form.minted  # type: ignore[attr-defined]
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        pass  # the form had lifecycle do it

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        pass

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        if add:
            key = form.instance
            return _("Minted with the scopes %(scopes)s.") % {"scopes": ", ".join(key.scopes)}
        told = [
            _("%(field)s was %(before)s, is %(after)s.")
            % {"field": field, "before": _told(before), "after": _told(after)}
            for field, (before, after) in form.changes.items()
        ]
        return " ".join(told) or _("No fields changed.")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        key = context.get("original")
        context |= {"show_delete": False, "show_save_and_add_another": False}
        if key is None:
            context["show_save_and_continue"] = False
            context["title"] = _("Mint a %(kind)s") % {"kind": self.opts.verbose_name}
        else:
            editable = self.is_editable(request, key)
            context |= {"show_save": editable, "show_save_and_continue": editable}
            context["key_actions"] = self._actions_for(request, key)
        return super().render_change_form(request, context, *args, **kwargs)

    def _actions_for(self, request: HttpRequest, key: AnyKey) -> list[tuple[str, str]]:
        """The buttons of a key's page: the actions of the list, for this key alone."""
        if not self.has_change_permission(request, key) or key.revoked_at is not None:
            return []
        actions = []
        if self.is_editable(request, key):
            if key.is_pending:
                actions += [("approve_selected", _("Approve")), ("reject_selected", _("Reject"))]
            actions += [("expire_selected", _("Expire"))]
        return [*actions, ("revoke_selected", _("Revoke"))]

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """The one page that shows a secret: the answer to the POST that made it."""
        context = {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "title": _("Copy the new key now"),
            "opts": self.opts,
            "media": self.media,
            # Not its text by itself: the page of a template's error prints what it was given.
            "minted": request._minted,  # type: ignore[attr-defined]
            "url": self._url("change", quote(obj.pk)),
        }
        response = TemplateResponse(request, "admin/apikeys/key/minted.html", context)
        response["Cache-Control"] = "no-store, private"
        return response

    # Actions

    @admin.action(description=gettext_lazy("Revoke selected keys"), permissions=["change"])
    def revoke_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        def do(key: Any, data: dict[str, Any]) -> str:
            if not lifecycle.revoke(key, by=request.user, reason=data["reason"]):
                raise LifecycleError("revoked_key", _("It was revoked already."))
            return _("Revoked: %(reason)s") % data

        return self._confirm(
            request, queryset, ReasonForm, do,
            name="revoke_selected", title=_("Revoke"),
            text=_("Every request with these keys is refused from the next one on. "
                   "Keys that were made with them over the API end as well. "
                   "This cannot be undone."),
        )  # fmt: skip

    @admin.action(
        description=gettext_lazy("Have selected keys expire in some days"), permissions=["change"]
    )
    def expire_selected(self, request: HttpRequest, queryset: QuerySet[Any]) -> Any:
        now = timezone.now()

        def do(key: Any, data: dict[str, Any]) -> str:
            ends = now + timedelta(days=data["days"])
            if key.expires_at is not None and key.expires_at <= ends:
                raise LifecycleError("ends_before", _("It ends before that, and still will."))
            lifecycle.edit(key, expires_at=ends, by=request.user)
            return _("Expires at %(at)s.") % {"at": ends.isoformat(timespec="seconds")}

        return self._confirm(
            request, queryset, ExpireForm, do,
            name="expire_selected", title=_("Expire"),
            text=_("These keys go on working until then. One that ends before that is left as "
                   "it is."),
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
            text=_("These keys may be used from now on."),
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
            text=_("These keys, which await an approval, are revoked. This cannot be undone."),
        )  # fmt: skip

    def _may_approve(self, request: HttpRequest, key: AnyKey) -> None:
        if not app_settings.POLICY.may_approve(request.user, key):
            message = _("The policy does not let you decide on it.")
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
        """Ask first; then ``do`` it to each key, and write what it answers to the history."""
        keys = list(queryset.order_by("pk")[: _MOST_AT_ONCE + 1])
        if len(keys) > _MOST_AT_ONCE:
            message = _("At most %(most)d keys at once. Select fewer.") % {"most": _MOST_AT_ONCE}
            self.message_user(request, message, messages.ERROR)
            return None
        confirmed = "confirmed" in request.POST
        form = form_class(request.POST if confirmed else None)
        if confirmed and form.is_valid():
            self._do(request, keys, do, form.cleaned_data)
            return None
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
            "more": max(0, len(keys) - _MOST_SHOWN),
            "checkbox": helpers.ACTION_CHECKBOX_NAME,
            "list_url": self._url("changelist"),
        }
        return TemplateResponse(request, "admin/apikeys/key/confirm.html", context)

    def _do(self, request: HttpRequest, keys: list[Any], do: Do, data: dict[str, Any]) -> None:
        done = 0
        for key in keys:
            try:
                if not self.has_change_permission(request, key):
                    raise LifecycleError("not_allowed", _("You may not change it."))
                with transaction.atomic(using=router.db_for_write(self.model)):
                    self.log_change(request, key, do(key, data))
            except LifecycleError as error:
                told = f"{key.public_id}: {error.message}"
                self.message_user(request, told, messages.WARNING)
            else:
                done += 1
        if done:
            message = ngettext("Done, for %(done)d key.", "Done, for %(done)d keys.", done)
            self.message_user(request, message % {"done": done}, messages.SUCCESS)

    # Find by whole key

    def get_urls(self) -> list[Any]:
        name = f"{self.opts.app_label}_{self.opts.model_name}_find"
        find = path("find/", self.admin_site.admin_view(self.find_view), name=name)
        return [find, *super().get_urls()]

    @method_decorator(sensitive_post_parameters("key"))
    @sensitive_variables()
    def find_view(self, request: HttpRequest) -> HttpResponseBase:
        """From the whole text of a key to its page. The text comes by POST and goes nowhere."""
        if not self.has_view_or_change_permission(request):
            raise PermissionDenied
        form = WholeKeyForm(request.POST if request.method == "POST" else None)
        if form.is_valid():
            try:
                key = recognise(form.cleaned_data["key"].strip())
            except Refused as refused:
                form.add_error("key", _why_not(refused))
            else:
                other: Any = self.admin_site._registry.get(type(key))
                if other is not None and other.has_view_or_change_permission(request, key):
                    return HttpResponseRedirect(other._url("change", quote(key.pk)))
                form.add_error("key", _("You may not see keys of this kind."))
        context = {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "title": _("Find by whole key"),
            "opts": self.opts,
            "media": self.media,
            "form": form,
            "list_url": self._url("changelist"),
        }
        response = TemplateResponse(request, "admin/apikeys/key/find.html", context)
        response["Cache-Control"] = "no-store, private"
        return response

    def _url(self, view: str, *args: Any) -> str:
        name = f"admin:{self.opts.app_label}_{self.opts.model_name}_{view}"
        return reverse(name, args=args, current_app=self.admin_site.name)


@sensitive_variables("text", "parsed")
def recognise(text: str) -> AnyKey:
    """The key whose whole text this is, in whatever state. It does not count as a use.

    Raises ``Refused`` if there is none, or its secret is another.
    """
    parsed = token.parse(text, app_settings.PREFIX)
    if parsed is None:
        raise Refused(refusals.MALFORMED_KEY)
    try:
        verify(text, counts_as_use=False)
    except Refused as refused:
        if refused.refusal not in _RECOGNISED:
            raise
    key = KEY_MODELS[parsed.kind]._default_manager.filter(public_id=parsed.public_id).first()
    if key is None:  # deleted between the two queries
        raise Refused(refusals.INVALID_KEY)
    return key


def _follow(key: Any, relation: str) -> tuple[list[Any], bool]:
    """The keys that one comes to from ``key``, and whether there are more than are shown."""
    keys: list[Any] = []
    while (key := getattr(key, relation)) is not None:
        if len(keys) == _MOST_OF_CHAIN:
            return keys, True
        keys.append(key)
    return keys, False


def _why_not(refused: Refused) -> str:
    if refused.refusal is refusals.INVALID_KEY:
        return _("No key has this id and this secret.")
    return str(refused.refusal.message)


def _told(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(value) or _("none")
    return _("none") if value is None else f"“{value}”"


_BOUNDS = ("allowed_networks", "rate_limits")


@admin.register(PersonalAccessToken)
class PersonalAccessTokenAdmin(KeyAdmin):
    """Personal access tokens of all users."""

    owner = "user"
    edited = ("name", "scopes", "all_projects", "projects", "expires_at", *_BOUNDS)
    list_display = (
        "public_id", "name", "user", "state", "scopes", "expires", "last_used", "created_at",
    )  # fmt: skip
    list_select_related = ("user",)
    raw_id_fields = ("user", "projects")
    related = {"user": ""}  # its USERNAME_FIELD
    search_help_text = gettext_lazy(
        "The beginning of an id, a name, a username or the slug of a selected project."
    )

    def matches(self, term: str) -> Iterator[Q]:
        yield from super().matches(term)
        project = PersonalAccessToken._meta.get_field("projects").related_model
        if reached := pks_beginning(project, "slug", term):
            restricted = PersonalAccessToken.objects.filter(projects__in=reached).order_by("-pk")
            pks = list(restricted.values_list("pk", flat=True)[:_MOST_AT_ONCE])
            yield Q(pk__in=pks)


@admin.register(ProjectKey)
class ProjectKeyAdmin(KeyAdmin):
    """Keys of all projects."""

    owner = "project"
    edited = ("name", "scopes", "expires_at", *_BOUNDS)
    shown = ("created_by", "public_key")
    list_display = (
        "public_id", "name", "project", "state", "scopes", "expires", "last_used", "created_by",
        "created_at",
    )  # fmt: skip
    list_select_related = ("project", "created_by")
    raw_id_fields = ("project",)
    related = {"project": "slug", "created_by": ""}  # its USERNAME_FIELD
    search_help_text = gettext_lazy(
        "The beginning of an id, a name, a project's slug or the username of who made it."
    )
