"""The admin of personal access tokens and project keys, protected by Django's permissions."""

from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, Final

from django.contrib.admin.utils import quote
from django.core.exceptions import PermissionDenied
from django.db.models import OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.functional import lazy
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import token
from ..conf import app_settings, slug_field
from ..keys import trust_forms
from ..keys.setup import setups
from ..models import (
    AnyKey,
    AuditEvent,
    PersonalAccessToken,
    ProjectKey,
    State,
    get_project_model,
)
from ..models.metadata import as_text
from ..models.texts import OPTIONAL, TEXTS
from ..restrictions import BY_NAME, RESTRICTIONS
from ..workloads import rules
from . import access, theme
from .filters import ExpiryFilter, KindFilter, LastUseFilter, StateFilter
from .forms import EditForm, MintForm
from .inventory import InventoryPage
from .key_actions import KeyActions
from .key_columns import KeyColumns, columns
from .key_finder import KeyFinder
from .lists import pks_beginning
from .sites import manages

_LIFE = (
    "created_at", "former", "secret_ends_at", "approved_at", "approved_by", "minted_with",
    "made_keys", "replaced_key", "rotated_at", "rotation_chain", "replacement",
    "paused_at", "paused_by", "paused_reason", "is_held",
    "revoked_at", "revoked_by", "revoked_reason",
)  # fmt: skip
#: A revoked key shows the second field in place of the first.
_REVOKED = {"expires_at": "would_have_expired"}
#: A rejected key shows the second field in place of the first.
_REJECTED: Final = {
    "revoked_at": "rejected_at",
    "revoked_by": "rejected_by",
    "revoked_reason": "rejected_reason",
}
#: Fields that a key with a secret does not show, because it lacks them, with the model field.
_PROOF: Final = {"public_key": "public_key", "workload": "trust"}
_USE = ("last_used_at", "last_used_ip", "requests", "used_after_end")


def _search_help(*others: Any) -> Any:
    """Return a help text that lists the searched fields, in the language of the request."""
    names = [gettext_lazy("ID"), *(column.verbose_name for column in TEXTS.values()), *others]
    return lazy(
        lambda: _("Search by the start of: %(names)s.") % {"names": ", ".join(map(str, names))},
        str,
    )()


class KeyAdmin(KeyColumns, KeyActions, KeyFinder):
    """Create, edit and revoke keys. Keys cannot be deleted, because the history refers to them.

    * The permission to change keys also allows a site admin to pause, resume, revoke, approve and
      expire them.
    * The permission to delete keys is only used when a user or a project is deleted, which
      deletes its keys.
    * The scopes and projects of the admin do not limit a key: a site admin acts for the site.
    * The policy's rules for the owner apply as everywhere else.
    """

    #: The name of the model field with the owner.
    owner: ClassVar[str]
    #: The form fields that ``lifecycle.edit`` may change.
    edited: ClassVar[Sequence[str]]
    #: Additional read-only fields.
    shown: ClassVar[Sequence[str]] = ()

    list_filter = (KindFilter, StateFilter, ExpiryFilter, LastUseFilter)
    ordering = ("-created_at", "-id")
    sortable_by = ("created",)  # the other columns have no index to sort by
    search_fields = ("public_id",)  # makes Django show the search box; `matches` does the search
    begins = ("public_id", *TEXTS)
    change_form_template = "admin/apikeys/key/change_form.html"
    change_list_template = "admin/apikeys/key/change_list.html"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        return super().get_queryset(request).defer("root", "digest")

    # Permissions

    def is_editable(self, request: HttpRequest, key: AnyKey) -> bool:
        """Whether the user may edit ``key``, and its state allows it: it has not ended.

        A rotated key cannot be edited.
        """
        return (
            self.has_change_permission(request, key)
            and key.state() in (State.LIVE, State.PENDING, State.PAUSED)
            and key.rotated_at is None
        )

    def delete_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        raise PermissionDenied(
            _("Keys can be revoked but not deleted, because the history refers to them.")
        )

    def get_actions(self, request: HttpRequest, action_location: Any = None) -> dict[str, Any]:
        # Django 6.1 passes ``action_location``. Older versions do not accept it.
        where = {} if action_location is None else {"action_location": action_location}
        actions: dict[str, Any] = super().get_actions(request, **where)
        actions.pop("delete_selected", None)
        return actions

    # Create and edit

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        if obj is None:
            fields = [self.owner, *self._entered(), *self.workload_fields(None), "once"]
            return [(None, {"fields": fields})]
        edited = self.workload_fields(obj) if self.is_editable(request, obj) else ()
        entered = self._entered()
        if obj.is_rejected:
            entered = [name for name in entered if name != "expires_at"]
        elif obj.revoked_at is not None:
            entered = [_REVOKED.get(name, name) for name in entered]
        words = _REJECTED if obj.is_rejected else {}
        life = [words.get(name, name) for name in _LIFE if self._has_to_tell(obj, name)]
        shown = [n for n in self.shown if n not in _PROOF or getattr(obj, _PROOF[n])]
        return [
            (None, {"fields": ["public_id", "state", "owner_link", *shown]}),
            (_("Permissions"), {"fields": [*entered, *edited]}),
            (_("Use"), {"fields": _USE}),
            (_("Lifetime"), {"fields": life}),
        ]

    def _entered(self) -> list[str]:
        """Return ``edited`` without the restrictions that this site does not offer."""
        return [name for name in self.edited if name not in BY_NAME or BY_NAME[name].is_offered()]

    def workload_fields(self, key: AnyKey | None) -> tuple[str, ...]:
        """Return the form fields about the workload that may use ``key``."""
        return ()

    def _has_to_tell(self, key: AnyKey, name: str) -> bool:
        if name in ("replaced_key", "replacement"):
            return bool(getattr(self, name)(key))
        return name in ("created_at", "rotation_chain", "made_keys") or bool(getattr(key, name))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> tuple[str, ...]:
        if obj is None:
            return ()
        life = (*_LIFE, *_REVOKED.values(), *_REJECTED.values())
        fields = ("public_id", "state", "owner_link", *self.shown, *_USE, *life)
        return fields if self.is_editable(request, obj) else (*fields, *self.edited)

    def get_form(
        self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any
    ) -> Any:
        kwargs["form"] = EditForm if change else MintForm
        form: Any = super().get_form(request, obj, change, **kwargs)
        form.by = request.user
        return form

    def formfield_for_dbfield(self, db_field: Any, request: Any, **kwargs: Any) -> Any:
        if db_field.name in OPTIONAL:
            kwargs.setdefault("widget", theme.Textarea(attrs={"rows": 2}))
        return super().formfield_for_dbfield(db_field, request, **kwargs)

    def save_form(self, request: HttpRequest, form: Any, change: bool) -> Any:
        if not change:
            request._minted = form.minted  # type: ignore[attr-defined]
        return form.instance

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:
        pass  # the form has saved the key with lifecycle

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        pass

    def construct_change_message(
        self, request: HttpRequest, form: Any, formsets: Any, add: bool = False
    ) -> Any:
        if add:
            key = form.instance
            return _("Created with the scopes %(scopes)s.") % {"scopes": ", ".join(key.scopes)}
        sentences = [
            _("%(field)s changed from %(before)s to %(after)s.")
            % {"field": field, "before": _as_text(before, field), "after": _as_text(after, field)}
            for field, (before, after) in form.changes.items()
        ]
        return " ".join(sentences) or _("No fields changed.")

    def render_change_form(
        self, request: HttpRequest, context: Any, *args: Any, **kwargs: Any
    ) -> Any:
        key = context.get("original")
        context |= {"show_delete": False, "show_save_and_add_another": False}
        if key is None:
            context["show_save_and_continue"] = False
            context["title"] = _("Create a %(kind)s") % {"kind": self.opts.verbose_name}
        else:
            editable = self.is_editable(request, key)
            context |= {"show_save": editable, "show_save_and_continue": editable}
            context["key_actions"] = self._actions_for(request, key)
            context["events_url"] = self._events_url(request, key)
            filters = request.GET.get("_changelist_filters", "")
            context["list_filters"] = "" if token.holds_secret(filters) else filters
            if isinstance(key, ProjectKey):
                site = self.admin_site.name
                # A manager of the site may hide the project.
                project = get_project_model()._default_manager.filter(pk=key.project_id).first()
                context["access_url"] = project and access.url_of(request.user, site, project)
        return super().render_change_form(request, context, *args, **kwargs)

    def _events_url(self, request: HttpRequest, key: AnyKey) -> str:
        """Return the URL of the audit events of ``key``, or an empty string."""
        events = self.admin_site._registry.get(AuditEvent)
        if events is None or not events.has_view_permission(request):
            return ""
        url = reverse(f"{self.admin_site.name}:apikeys_auditevent_changelist")
        return f"{url}?q={key.public_id}"

    def _actions_for(self, request: HttpRequest, key: AnyKey) -> list[tuple[str, str]]:
        """Return the actions for the buttons of a key's page, as names and labels."""
        if not self.has_change_permission(request, key) or key.revoked_at is not None:
            return []
        actions = []
        if self.is_editable(request, key):
            if key.is_pending:
                actions += [("approve_selected", _("Approve")), ("reject_selected", _("Reject"))]
            actions += [("expire_selected", _("Expire"))]
        if key.state() != State.EXPIRED:
            if key.paused_at is not None:
                actions += [("resume_selected", _("Resume"))]
            if not key.is_held:
                actions += [("pause_selected", _("Pause"))]
        return [*actions, ("revoke_selected", _("Revoke"))]

    def response_add(
        self, request: HttpRequest, obj: Any, post_url_continue: str | None = None
    ) -> HttpResponse:
        """Return the page that shows the secret, in response to the POST that created the key."""
        context = {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "title": _("Copy the new token now")
            if self.model is PersonalAccessToken
            else _("Copy the new key now"),
            "opts": self.opts,
            "media": self.media,
            # Not the secret as a plain string: the error page of a template prints the context.
            "minted": request._minted,  # type: ignore[attr-defined]
            "setups": setups(obj),
            "url": self.url("change", quote(obj.pk)),
        }
        response = TemplateResponse(request, "admin/apikeys/key/minted.html", context)
        response["Cache-Control"] = "no-store, private"
        return response


def _as_text(value: Any, field: str) -> str:
    if isinstance(value, list):
        return ", ".join(value) or _("none")
    if field == "metadata":
        return f"“{as_text(value)}”" if value else _("none")
    if isinstance(value, dict):  # what a key trusts
        value = rules.describe(value)
    return _("none") if value is None else f"“{value}”"


#: The form fields about time, and the other restrictions.
_TIMES = (*(each.name for each in RESTRICTIONS if each.is_about_time), "expires_at")
_OTHERS = tuple(each.name for each in RESTRICTIONS if not each.is_about_time)


@manages(PersonalAccessToken)
class PersonalAccessTokenAdmin(access.AccessPages, InventoryPage, KeyAdmin):
    """Personal access tokens of all users."""

    owner = "user"
    edited = (*TEXTS, "scopes", "all_projects", "projects", *_TIMES, *_OTHERS, "stored_metadata")
    list_display = columns(PersonalAccessToken)
    list_select_related = ("user",)
    raw_id_fields = ("user", "projects")
    related = {"user": ""}  # its USERNAME_FIELD
    search_help_text = _search_help(
        gettext_lazy("username"), gettext_lazy("slug of a selected project")
    )

    def matches(self, term: str) -> Iterator[Q]:
        yield from super().matches(term)
        project = PersonalAccessToken._meta.get_field("projects").related_model
        with_token = PersonalAccessToken.objects.filter(projects=OuterRef("pk"))
        if reached := pks_beginning(project, slug_field(), term, with_token):
            restricted = PersonalAccessToken.objects.filter(projects__in=reached).order_by()
            yield Q(pk__in=restricted.values("pk"))


@manages(ProjectKey)
class ProjectKeyAdmin(KeyAdmin):
    """Keys of all projects."""

    owner = "project"
    edited = (*TEXTS, "scopes", *_TIMES, *_OTHERS, "stored_metadata")
    shown = ("created_by", "public_key", "workload")
    list_display = columns(ProjectKey)
    list_select_related = ("project", "created_by")
    raw_id_fields = ("project",)
    related = {"project": slug_field(), "created_by": ""}  # its USERNAME_FIELD
    search_help_text = _search_help(
        gettext_lazy("slug of the project"), gettext_lazy("username of the creator")
    )

    def workload_fields(self, key: AnyKey | None) -> tuple[str, ...]:
        is_one = trust_forms.is_offered() and (key is None or bool(key.trust))
        return trust_forms.FIELDS if is_one else ()

    # Hidden on a site without project keys. Deleting a project still deletes its keys.

    def has_module_permission(self, request: HttpRequest) -> bool:
        return app_settings.PROJECT_KEYS and super().has_module_permission(request)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return app_settings.PROJECT_KEYS and super().has_view_permission(request, obj)

    def has_add_permission(self, request: HttpRequest) -> bool:
        return app_settings.PROJECT_KEYS and super().has_add_permission(request)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        return app_settings.PROJECT_KEYS and super().has_change_permission(request, obj)
