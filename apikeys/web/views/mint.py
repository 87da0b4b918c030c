"""Create a key: the form, its review, and the page with the secret."""

from typing import Any, Final

from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404
from django.utils.translation import gettext as _
from django.views.decorators.debug import sensitive_variables

from ... import restrictions, scopes, token
from ...errors import LifecycleError
from ...keys import once
from ...limits import networks
from ...models import AnyKey, live
from ...policy import get_policy
from ...templatetags.apikeys_pages import quoted
from ...workloads import rules
from .. import prefill
from ..forms import KeyForm
from .addresses import own_address_note
from .pages import OwnerPage, add_error
from .rows import is_replaceable, labelled
from .secret import secret_page

_SALT: Final = "apikeys.web.mint"


class Mint(OwnerPage):
    manages = True

    def get(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        if self.holds_secret():
            return self.go_without_secret()
        if not self.is_recent:
            return self.ask_who()
        draft = self.draft()
        form = self.form(draft)
        filled = prefill.fill(form, request.GET, self.owner) if draft is None else {}
        if (source := filled.get("copy_of")) is not None and is_replaceable(source):
            form.initial["replaces"] = source.public_id
            filled["replaced"] = source
        return self.form_page(form, is_back=draft is not None, **filled)

    @sensitive_variables()
    def post(self, request: HttpRequest, **kwargs: Any) -> HttpResponse:
        form, step = self.form(request.POST), request.POST.get("step")
        if step == "summary":  # the script shows it while the user fills in the form
            return self.page("_summary", summary=self.summary(form))
        if not self.is_recent:
            return self.ask_who()
        if step == "edit":
            return self.form_page(form)
        if preset := request.POST.get("preset"):
            return self.start_with(preset)
        public_id = self.once()
        if public_id and (made := self.owner.keys().filter(public_id=public_id).first()):
            return self.made_already(made)
        if not form.is_valid():
            return self.form_page(form, 422)
        if public_id is None:
            form.add_error(
                None, _("This form was open for too long. Check your entries and submit it again.")
            )
            return self.form_page(form, 422)
        if step == "review":
            sent = request.POST["once"]
            return self.page("review", form=form, summary=self.summary(form), once=sent)
        try:
            replaced = self.replaced()
            minted = self.owner.mint(public_id=public_id, replaces=replaced, **form.asked())
        except LifecycleError as error:
            if error.code == "made_already":  # the same form, submitted twice at the same time
                return self.made_already(get_object_or_404(self.owner.keys(), public_id=public_id))
            add_error(form, self.worded(error))
            return self.form_page(form, 422)
        return secret_page(self, minted, predecessor=minted.key.replaces)

    def start_with(self, preset: str) -> HttpResponse:
        """Return the form with ``preset``, and with what the user has already entered."""
        form, asked = self.form(None), QueryDict(mutable=True)
        asked["preset"] = preset
        kept = prefill.keep(form, self.request.POST)
        return self.form_page(form, **prefill.fill(form, asked, self.owner, kept))

    def replaced(self) -> AnyKey | None:
        """Return the ended key of this owner that the submitted form replaces, if it still can."""
        public_id = self.request.POST.get("replaces", "")
        found = self.owner.keys().filter(public_id=public_id) if token.is_id(public_id) else ()
        return next((key for key in found if is_replaceable(key)), None)

    def form(self, data: QueryDict | None) -> KeyForm:
        return KeyForm(data, owner=self.owner.owner, grant=self.owner.grant())

    def form_page(self, form: KeyForm, status: int = 200, **context: Any) -> HttpResponse:
        # The form fixes the ID of the new key, so that each form creates one key.
        to_sign = [token.generate_id(), str(self.user.pk), self.owner.label]
        context |= {"once": once.sign(to_sign, _SALT), "summary": self.summary(form)}
        # A preset would replace what another key filled in, and leave it a replacement.
        if not form.is_bound and "copy_of" not in context:
            context["presets"] = prefill.presets()
        context |= {"limit": self.limit(), "ip": networks.current_ip()}
        return self.page("mint", status, form=form, **context)

    def limit(self) -> dict[str, Any] | None:
        """Return how many active keys the owner has and may have, unless there is no limit."""
        most = get_policy().most_live_keys(self.owner.owner)
        if most is None:
            return None
        number = self.live().order_by()[:most].count()  # as ``lifecycle`` counts them
        return {"number": number, "most": most, "is_reached": number >= most}

    def live(self) -> QuerySet[Any]:
        return self.owner.keys().filter(live(), rotated_at=None)

    def once(self) -> str | None:
        """Return the ID of the key that this form creates.

        Return ``None`` if its signature is invalid or too old, or if the form was issued to
        another user or for another owner.
        """
        said = once.read(self.request.POST.get("once", ""), _SALT)
        if said is None or said[1:] != [str(self.user.pk), self.owner.label]:
            return None
        return str(said[0])

    def made_already(self, key: AnyKey) -> HttpResponse:
        message = _(
            "This form already created %(name)s. Its secret was shown once and cannot be "
            "shown again."
        )
        url = self.owner.url("key", key)
        return self.refused(message % {"name": quoted(key.name)}, 409, key=key, url=url)

    def summary(self, form: KeyForm) -> dict[str, Any] | None:
        if not form.is_bound or not form.is_valid():
            return None
        asked = form.asked()
        policy = get_policy()
        chosen = scopes.join(asked["scopes"])
        values = restrictions.parsed(asked, restrictions.EMPTY)
        restricted = restrictions.nonempty(values)
        allowed = dict(zip(restrictions.NAMES, values, strict=True))["allowed_networks"]
        return asked | {
            "trust": rules.clean(asked["trust"]) if "trust" in asked else None,
            "restrictions": [(each, each.sentence(value)) for each, value in restricted],
            "scopes": labelled(scopes.split(chosen)),
            "address": own_address_note(allowed, of_tokens=self.owner.project is None),
            "replaced": self.replaced(),
            "has_namesake": self.live().filter(name=" ".join(asked["name"].split())).exists(),
            "to_approve": [
                name
                for name in sorted(scopes.expand(chosen))
                if policy.needs_approval(self.owner.owner, name)
            ],
        }
