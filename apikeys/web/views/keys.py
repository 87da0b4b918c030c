"""The pages of one key: view, edit, rotate, pause, resume and revoke it."""

from dataclasses import replace
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, QueryDict
from django.urls import reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from ... import lifecycle, reach, restrictions, scopes, usage
from ...conf import app_settings
from ...errors import LifecycleError
from ...grants import Extent
from ...keys import trust_forms
from ...keys.setup import setups
from ...lifecycle import ending
from ...limits import networks
from ...models import AnyKey
from ...policy import get_policy
from ...templatetags.apikeys_pages import quoted
from ...workloads import rules
from ..expiry import KEEP
from ..forms import ConvertForm, KeyForm, PauseForm, RevokeForm, RotateForm
from .addresses import excludes_last_use, own_address_note, refused_addresses
from .created import created_with, revoked
from .pages import CONFLICTS, KeyPage, add_error
from .requests import is_mailed, is_own, why
from .rows import (
    UNENDED,
    chain_of,
    ended_uses_of,
    is_editable,
    is_in_use,
    is_rotatable,
    may_resume,
    rows_of,
)
from .secret import secret_page
from .uses import uses_of


def use_of(key: AnyKey) -> dict[str, Any]:
    """Return what the confirmation pages say about the use of ``key``."""
    counts = usage.daily(type(key), [key.pk])[key.pk]
    return {"counts": counts, "is_in_use": is_in_use(key, counts)}


class Key(KeyPage):
    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = key = self.find()
        (row,) = rows_of([key], self.owner)
        denials = reach.denials_of(key) if self.owner.project else row["denials"]
        may_decide = row["state"] == "pending" and get_policy().may_approve(self.user, key)
        row["is_mailed"] = may_decide and is_mailed(self.user, key)
        decide = reverse("apikeys:decide", kwargs={"kind": key.KIND, "key_id": key.public_id})
        return self.page(
            "key",
            row=row,
            chain=chain_of(key, self.owner),
            created=created_with([key], self.owner),
            ended_uses=ended_uses_of(key, self.owner),
            may_decide=may_decide,
            decide=decide,
            why=why(key) if may_decide else (),
            is_requester=is_own(self.user, key),
            setups=setups(key),
            trust=rules.read(key.trust),
            may_convert=may_convert(key),
            denials=denials,
            allowable=self.allowable([*(each.project for each in denials), *row["awaits"]]),
            refused=refused_addresses(key),
            **uses_of(key, self.owner),
        )

    def allowable(self, projects: list[Any]) -> set[Any]:
        """Return the primary keys of the projects in which the user may let the token in."""
        if not app_settings.PROJECT_KEYS:  # their pages do not exist
            return set()
        policy = get_policy()
        return {each.pk for each in projects if policy.may_deny(self.user, each)}


class Edit(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not is_editable(self.key):
            return self.go(self.url)
        draft = self.draft()
        return self.ask(self.form(draft), is_back=draft is not None)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        form = self.form(request.POST)
        if not form.is_valid():
            return self.ask(form, 422)
        asked = form.asked()
        try:
            if self.widens(asked) and not self.is_recent:
                return self.ask_who()
            # The form with the warning contains the address, so it is confirmed once.
            if self.warns(form) and request.POST.get("excludes") != self.key.last_used_ip:
                return self.ask(form, 422)
            changes = lifecycle.edit(self.key, by=self.user, within=self.owner.grant(), **asked)
        except LifecycleError as error:
            if error.code in CONFLICTS:
                return self.conflict(error)
            add_error(form, self.worded(error))
            return self.ask(form, 422)
        done = (
            _("Saved. Changes to %(name)s apply to the next request.")
            if changes
            else _("%(name)s was not changed.")
        ) % {"name": quoted(self.key.name)}
        response = self.go(self.url, done)
        if "allowed_networks" in asked and (note := self.own_address_note()):
            messages.warning(request, note, fail_silently=True)
        return response

    def own_address_note(self) -> str:
        of_tokens = self.owner.project is None
        return own_address_note(self.key.allowed_networks, of_tokens=of_tokens)

    def ask(self, form: KeyForm, status: int = 200, **context: Any) -> HttpResponse:
        if not form.is_bound:
            context["address"] = self.own_address_note()
        context["excludes_last_use"] = excludes_last_use(self.key, self.entered_ranges(form))
        context["warns"] = self.warns(form)
        return self.page("edit", status, form=form, ip=networks.current_ip(), **context)

    def entered_ranges(self, form: KeyForm) -> str:
        """Return the allowed IP ranges as ``form`` would save them."""
        had = restrictions.of(self.key)
        if form.is_bound and form.is_valid():
            had = restrictions.parsed(form.asked(), had)
        return str(dict(zip(restrictions.NAMES, had, strict=True))["allowed_networks"])

    def warns(self, form: KeyForm) -> bool:
        """Return whether ``form`` would cut off the address from which the key was last used."""
        if excludes_last_use(self.key, self.key.allowed_networks):
            return False  # cut off already
        return excludes_last_use(self.key, self.entered_ranges(form))

    def form(self, data: QueryDict | None) -> KeyForm:
        return KeyForm(data, owner=self.owner.owner, grant=self.owner.grant(), key=self.key)

    def widens(self, asked: dict[str, Any]) -> bool:
        had = Extent.of(self.key)
        projects = asked.get("projects", had.projects)
        reached = None if projects is None else frozenset(projects)
        scope = scopes.join(asked["scopes"])
        has = replace(had, scope=scope, projects=reached, expires_at=asked["expires_at"])
        if asked.get("trust"):
            has = replace(has, trust=rules.clean(asked["trust"]))
        return has.restricted(asked).wider(had)


class Rotate(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not is_rotatable(self.key):
            return self.go(self.url)
        if not self.is_recent:
            return self.ask_who()
        draft = self.draft()
        return self.ask(self.form(draft), is_back=draft is not None)

    @sensitive_variables()
    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not self.is_recent:
            return self.ask_who()
        form = self.form(request.POST)
        if not form.is_valid():
            return self.ask(form, 422)
        kept = form.cleaned_data["expiry"] == KEEP
        try:
            minted: lifecycle.Minted[Any] = lifecycle.rotate(
                self.key,
                overlap=form.cleaned_data["overlap"],
                expires_at=lifecycle.KEEP if kept else form.cleaned_data["expires_at"],
                public_key=form.cleaned_data.get("public_key"),
                trust=form.cleaned_data.get("trust"),
                by=self.user,
                within=self.owner.within_of_rotation(),
            )
        except LifecycleError as error:
            if error.code in CONFLICTS:
                return self.conflict(error)
            add_error(form, self.worded(error))
            return self.ask(form, 422)
        return secret_page(self, minted, predecessor=self.key)

    def ask(self, form: RotateForm, status: int = 200, **context: Any) -> HttpResponse:
        ends = self.key.expires_at
        context["expires_first"] = ends and ends < timezone.now() + lifecycle.MAX_OVERLAP
        return self.page("rotate", status, form=form, **use_of(self.key), **context)

    def form(self, data: QueryDict | None) -> RotateForm:
        return RotateForm(data, owner=self.owner.owner, key=self.key)


def may_convert(key: AnyKey) -> bool:
    """Return whether the page of ``key`` offers to replace its secret by a workload."""
    is_plain = not (key.trust or key.public_key or key.former)
    return key.TAKES_PUBLIC_KEY and is_plain and is_editable(key) and trust_forms.is_offered()


class Convert(KeyPage):
    """Let a workload take the place of a key's secret."""

    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not may_convert(self.key):
            return self.go(self.url)
        if not self.is_recent:
            return self.ask_who()
        draft = self.draft()
        return self.page("convert", form=ConvertForm(draft), is_back=draft is not None)

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not may_convert(self.key):
            return self.go(self.url)
        if not self.is_recent:
            return self.ask_who()
        form = ConvertForm(request.POST)
        if not form.is_valid():
            return self.page("convert", 422, form=form)
        try:
            lifecycle.convert(
                self.key,
                trust=form.cleaned_data["trust"],
                overlap=form.cleaned_data["overlap"],
                by=self.user,
                within=self.owner.grant(),
            )
        except LifecycleError as error:
            if error.code in CONFLICTS:
                return self.conflict(error)
            add_error(form, self.worded(error))
            return self.page("convert", 422, form=form)
        return secret_page(self, lifecycle.Minted(self.key, ""))


class Pause(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if self.key.state() != "live":
            return self.go(self.url)
        return self.ask(PauseForm(of_tokens=self.owner.project is None))

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        form = PauseForm(request.POST, of_tokens=self.owner.project is None)
        if not form.is_valid():
            return self.ask(form, 422)
        try:
            lifecycle.pause(self.key, by=self.user, reason=form.cleaned_data["reason"])
        except LifecycleError as error:
            if error.code in CONFLICTS:
                return self.conflict(error)
            add_error(form, self.worded(error))
            return self.ask(form, 422)
        done = _("Paused %(name)s. Requests with it are refused until you resume it.")
        return self.go(self.url, done % {"name": quoted(self.key.name)})

    def ask(self, form: PauseForm, status: int = 200) -> HttpResponse:
        return self.page("pause", status, form=form, **use_of(self.key))


class Resume(KeyPage):
    """Resume a key. It gives access back, so it requires a recent log-in."""

    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not may_resume(self.key):
            return self.go(self.url)
        if not self.is_recent:
            return self.ask_who()
        return self.page("resume", **use_of(self.key))

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if not self.is_recent:
            return self.ask_who()
        try:
            lifecycle.resume(self.key, by=self.user)
        except LifecycleError as error:
            return self.conflict(error)
        done = _("Resumed %(name)s. It works from the next request.") % {
            "name": quoted(self.key.name)
        }
        return self.go(self.url, done)


class Revoke(KeyPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        if self.key.state() not in UNENDED:
            return self.go(self.url)
        return self.ask(RevokeForm(of_tokens=self.owner.project is None))

    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        self.key = self.find()
        form = RevokeForm(request.POST, of_tokens=self.owner.project is None)
        if not form.is_valid():
            return self.ask(form, 422)
        keys = [self.key, *(self.others() if form.cleaned_data["also"] else ())]
        created: list[AnyKey] = []
        try:
            for key in keys:
                created += ending.end(key, by=self.user, reason=form.cleaned_data["reason"]) or ()
        except LifecycleError as error:
            add_error(form, self.worded(error))
            return self.ask(form, 422)
        return self.go(self.owner.url("keys"), revoked(self.key, created))

    def ask(self, form: RevokeForm, status: int = 200) -> HttpResponse:
        """Return the page of the confirmation, with the use of the key and what ends with it."""
        created = created_with([self.key], self.owner)
        context = {"others": self.others(), "created": created, **use_of(self.key)}
        return self.page("revoke", status, form=form, **context)

    def others(self) -> list[AnyKey]:
        """Return the active keys just before and after this key in its rotation chain."""
        near: list[Any] = [*self.key.predecessors(1), *self.key.successors(1)]
        return [key for key in near if key.state() in ("live", "paused")]
