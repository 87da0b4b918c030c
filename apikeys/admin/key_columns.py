"""Columns of the admin's lists and read-only fields of its pages, with links between keys."""

from typing import Any

from django.contrib import admin
from django.contrib.admin.utils import quote
from django.urls import NoReverseMatch, reverse
from django.utils import timezone
from django.utils.formats import localize
from django.utils.html import format_html, format_html_join
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from .. import moments, restrictions, usage
from ..keys import ended
from ..keys.facts import BY_NAME, COLUMNS_OF_ADMIN
from ..models import KEY_MODELS, AbstractKey, AnyKey, State
from ..models.metadata import as_text
from ..templatetags.apikeys_pages import ago, some, stamp, until
from ..workloads import rules
from .lists import ListAdmin, name_and_id

_MOST_SHOWN = 50
_MOST_OF_CHAIN = 20  # keys in each direction, one query each
_BARS = "▁▂▃▄▅▆▇█"


#: The attributes of ``KeyColumns`` and of the models that are not called as their fact.
_ATTRIBUTES = {
    "name": "title",
    "expires_at": "expires",
    "last_used_at": "last_used",
    "created_at": "created",
}


def columns(model: type[AnyKey]) -> tuple[str, ...]:
    """Return the columns of the list of keys of ``model``, for ``list_display``."""
    attributes = _ATTRIBUTES | {"owner": model.OWNER}
    return tuple(attributes.get(name, name) for name in COLUMNS_OF_ADMIN[model.KIND])


class KeyColumns(ListAdmin):
    """Add the columns of the lists and the read-only fields of a key's page."""

    @admin.display(description=BY_NAME["state"].label)
    def state(self, key: AbstractKey) -> str:
        state = key.state()
        if state is State.LIVE and key.rotated_at:
            return _("active, rotated")
        pauses = restrictions.pauses(restrictions.of(key), timezone.now())
        if state is State.LIVE and pauses:
            return ", ".join(pause.words for pause in pauses)
        if state is State.PAUSED and key.is_held:
            return _("paused, held")
        return str(key.state_label())

    @admin.display(description=BY_NAME["name"].label)
    def title(self, key: AnyKey) -> str:
        """Show the name, the ID and the first scopes, so that a row fits on a small screen."""
        return format_html("{}<small>{}</small>", name_and_id(key), self.scopes(key))

    @admin.display(description=BY_NAME["scopes"].label)
    def scopes(self, key: AnyKey) -> str:
        return some(key.scopes)

    @admin.display(description=BY_NAME["expires_at"].label)
    def expires(self, key: AnyKey) -> str:
        if key.revoked_at is not None:
            return format_html("{} {}", key.state_label(), ago(key.revoked_at))
        ends = BY_NAME["expires_at"].of(key)
        if ends is None:
            return str(BY_NAME["expires_at"].absent)
        return ago(ends) if ends <= timezone.now() else until(ends)

    @admin.display(description=gettext_lazy("would have expired"))
    def would_have_expired(self, key: AnyKey) -> str:
        """Show the expiry of a revoked key in its details."""
        ends = BY_NAME["expires_at"].of(key)
        return str(BY_NAME["expires_at"].absent) if ends is None else localize(moments.local(ends))

    @admin.display(description=BY_NAME["last_used_at"].label)
    def last_used(self, key: AnyKey) -> str:
        used = BY_NAME["last_used_at"].of(key)
        return str(BY_NAME["last_used_at"].absent) if used is None else ago(used)

    @admin.display(description=BY_NAME["created_at"].label, ordering="created_at")
    def created(self, key: AnyKey) -> str:
        """Show the day, and below it the creator of a project key."""
        day = stamp(key.created_at, "DATE_FORMAT")
        by = getattr(key, "created_by", None)
        if by is None:
            return day
        return format_html("{}<small>{}</small>", day, _("by %(user)s") % {"user": by})

    @admin.display(description=gettext_lazy("owner"))
    def owner_link(self, key: AnyKey) -> str:
        return self._link(key.owner)

    @admin.display(description=gettext_lazy("Workload"))
    def workload(self, key: AnyKey) -> str | None:
        trust = rules.read(key.trust)
        return None if trust is None else rules.describe(trust.as_json())

    @admin.display(description=BY_NAME["metadata"].label)
    def stored_metadata(self, key: AnyKey) -> str:
        return as_text(key.metadata) if key.metadata else ""

    @admin.display(description=gettext_lazy("imported from"))
    def former(self, key: AnyKey) -> Any:
        return key.former

    @admin.display(description=gettext_lazy("replaces"))
    def replaced_key(self, key: AnyKey) -> str:
        """Link to the ended key that ``key`` replaced without a rotation."""
        old = key.replaces
        return "" if old is None or old.rotated_at is not None else self._in_chain(old)

    @admin.display(description=gettext_lazy("replaced by"))
    def replacement(self, key: AnyKey) -> str:
        """Link to the key that replaced ``key`` after its end, without a rotation."""
        new = None if key.rotated_at is not None else key.successor
        return "" if new is None else self._in_chain(new)

    @admin.display(description=gettext_lazy("rejected at"))
    def rejected_at(self, key: AnyKey) -> Any:
        return key.revoked_at

    @admin.display(description=gettext_lazy("rejected by"))
    def rejected_by(self, key: AnyKey) -> Any:
        return key.revoked_by

    @admin.display(description=gettext_lazy("reason of rejection"))
    def rejected_reason(self, key: AnyKey) -> str:
        return key.revoked_reason

    def _in_chain(self, key: Any, is_shown: bool = False) -> str:
        return format_html(
            "{} ({}, {})",
            format_html("<b>{}</b>", key.public_id) if is_shown else self._link(key, key.public_id),
            self.state(key),
            localize(moments.local(key.created_at)),
        )

    @admin.display(description=gettext_lazy("rotation chain"))
    def rotation_chain(self, key: AnyKey) -> str:
        older = key.predecessors(_MOST_OF_CHAIN + 1)
        newer = key.successors(_MOST_OF_CHAIN + 1)
        if not older and not newer:
            return _("Never rotated.")
        rows: list[str] = [
            self._in_chain(each, is_shown=each == key)
            for each in [*older[:_MOST_OF_CHAIN][::-1], key, *newer[:_MOST_OF_CHAIN]]
        ]
        if len(older) > _MOST_OF_CHAIN:
            rows.insert(0, "…")
        if len(newer) > _MOST_OF_CHAIN:
            rows.append("…")
        return format_html(
            '<ol class="apikeys-chain">{}</ol>',
            format_html_join("", "<li>{}</li>", ((row,) for row in rows)),
        )

    @admin.display(description=gettext_lazy("created with this key"))
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
        text = _("%(total)s in total, %(most)s on the busiest day, %(today)s today (UTC)") % {
            "total": localize(sum(counts)),
            "most": localize(most),
            "today": localize(counts[-1]),
        }
        return format_html(
            "<span class='apikeys-usage' aria-hidden='true'>{}</span> {}", bars, text
        )

    @admin.display(description=gettext_lazy("used after its end"))
    def used_after_end(self, key: AnyKey) -> str:
        keys: list[Any] = [key, *key.predecessors(_MOST_OF_CHAIN)]
        texts = (
            _(
                "%(key)s: %(count)s times, first %(first)s from %(first_ip)s, last %(last)s from "
                "%(last_ip)s"
            ),
            _(
                "%(key)s, denied in %(project)s: %(count)s times, first %(first)s from "
                "%(first_ip)s, last %(last)s from %(last_ip)s"
            ),
        )
        rows = [
            texts[project is not None]
            % {
                "key": each.public_id,
                "project": project,
                "count": localize(use.count),
                "first": localize(moments.local(use.first_used_at)),
                "first_ip": use.first_ip or _("unknown"),
                "last": localize(moments.local(use.last_used_at)),
                "last_ip": use.last_ip or _("unknown"),
            }
            for each, use, project in ended.ended_uses(keys)
        ]
        return "; ".join(rows) or _("No.")

    def _link(self, row: Any, text: str = "") -> str:
        meta = row._meta
        name = f"admin:{meta.app_label}_{meta.model_name}_change"
        try:
            url = reverse(name, args=[quote(row.pk)], current_app=self.admin_site.name)
        except NoReverseMatch:  # the model is not registered in this admin
            return text or str(row)
        return format_html('<a href="{}">{}</a>', url, text or str(row))
