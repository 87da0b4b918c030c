"""The admin page that counts all keys and shows the keys to look at."""

from datetime import datetime
from typing import Any

from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse, HttpResponseBase, JsonResponse
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.http import urlencode
from django.utils.translation import gettext as _

from .. import moments
from ..keys import inventory
from ..keys.facts import KINDS
from ..reach.entries import KINDS as KINDS_OF_ENTRIES
from . import access
from .lists import ListAdmin


class InventoryPage(ListAdmin):
    """Add the page to the URLs of the list of tokens. It is about both kinds of key."""

    def get_urls(self) -> list[Any]:
        view = self.own_view(self.inventory_view)
        return [path("inventory/", view, name="apikeys_inventory"), *super().get_urls()]

    def inventory_view(self, request: HttpRequest) -> HttpResponseBase:
        """Show the inventory, or return it as ``?format=csv`` or ``?format=json``."""
        if not access.may(request.user, "view"):
            raise PermissionDenied
        form = request.GET.get("format", "")
        if form not in ("", "csv", "json"):
            return HttpResponse(_("Unknown format. Choose csv or json."), status=400)
        found = inventory.report()
        response: HttpResponse
        if form == "json":
            response = JsonResponse(found)
        elif form == "csv":
            response = HttpResponse("".join(inventory.as_csv(found)), "text/csv; charset=utf-8")
        else:
            response = TemplateResponse(
                request, "admin/apikeys/key/inventory.html", self._context(request, found)
            )
        if form:
            response["Content-Disposition"] = f'attachment; filename="inventory.{form}"'
        response["Cache-Control"] = "no-store, private"
        return response

    def _context(self, request: HttpRequest, found: dict[str, Any]) -> dict[str, Any]:
        kinds = list(found["keys"])
        names: list[str] = list(next(iter(found["keys"].values())))
        return {
            **self.admin_site.each_context(request),
            "theme": self.theme,
            "title": _("Inventory"),
            "opts": self.opts,
            "media": self.media,
            "kinds": [KINDS[kind]._meta.verbose_name_plural for kind in kinds],
            "numbers": [
                (inventory.LABELS[name], [found["keys"][kind][name] for kind in kinds])
                for name in names
            ],
            "others": {
                part: [(inventory.LABELS[name], number) for name, number in numbers.items()]
                for part, numbers in found["others"].items()
            },
            "widest": [
                key
                | {
                    "url": self._url(key),
                    "label": KINDS[key["kind"]]._meta.verbose_name,
                    "used_at": _moment(key["last_used_at"]),
                }
                for key in found["widest"]
            ],
            "denials": found["denials"],
            "newest": [
                each | {"label": KINDS_OF_ENTRIES[each["kind"]], "moment": _moment(each["at"])}
                for each in found["denials"]["newest"]
            ],
            "access_url": access.url_of(request.user, self.admin_site.name),
        }

    def _url(self, key: dict[str, Any]) -> str:
        name = KINDS[key["kind"]]._meta.model_name
        url = reverse(f"admin:apikeys_{name}_changelist", current_app=self.admin_site.name)
        return f"{url}?{urlencode({'q': key['id']})}"


def _moment(text: str | None) -> datetime | None:
    """Return a time of the inventory, which is ready for JSON, as a stored ``datetime``."""
    return None if text is None else moments.stored(datetime.fromisoformat(text))
