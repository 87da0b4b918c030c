"""List the pending keys that the user may approve, and approve or reject them."""

from itertools import islice

from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.utils.translation import gettext as _

from ... import lifecycle
from ...errors import LifecycleError
from ...keys import facts
from ...keys.queries import in_state
from ...models import KEY_MODELS, AnyKey, PersonalAccessToken, ProjectKey, State
from ...policy import get_policy
from ...reach.listing import awaiting
from ...templatetags.apikeys_pages import quoted
from .. import sudo
from ..owners import ProjectKeys, owner_of
from .pages import CONFLICTS, SettingsPage
from .rows import rows_of

_MODELS: tuple[type[AnyKey], ...] = (ProjectKey, PersonalAccessToken)


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


class Approvals(SettingsPage):
    """List the pending keys that the user may approve, oldest first."""

    section = "approvals"
    size = 20

    def get(self, request: HttpRequest) -> HttpResponse:
        policy = get_policy()
        found: list[AnyKey] = []
        models = (PersonalAccessToken,) if self.hides_project_keys else _MODELS
        for model in models:
            pending = in_state(facts.with_facts(model), State.PENDING).order_by("pk")
            # Filter before slicing. Otherwise the keys of other owners could fill the page.
            waiting = policy.approvable(self.user, pending).iterator(chunk_size=100)
            decidable = (key for key in waiting if policy.may_approve(self.user, key))
            found += islice(decidable, self.size)
        rows = []
        for key in found:
            owner, columns = owner_of(self.user, key), facts.COLUMNS_OF_APPROVALS
            (row,) = rows_of([key], owner, columns=columns, with_usage=False)
            kwargs = {"kind": key.KIND, "key_id": key.public_id}
            # The pages of a user's token are the user's alone.
            is_seen = owner.project is not None or owner.user.pk == key.owner.pk
            row |= {"page": row["url"] if is_seen else ""}
            rows.append(row | {"decide": reverse("apikeys:decide", kwargs=kwargs)})
        in_projects = [
            {
                "project": project,
                "number": number,
                "url": f"{ProjectKeys(self.user, project).url('access')}?denied=awaiting",
            }
            for project, number in ([] if self.hides_project_keys else awaiting(self.user))
        ]
        return self.page("approvals", rows=rows, waiting=in_projects)
