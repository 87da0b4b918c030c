"""Audit events in words: a sentence for each event, in the language and time zone of the page."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date
from itertools import groupby
from typing import Any, Final

from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.text import capfirst
from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from .. import moments, token
from ..audit import Event
from ..models import AuditEvent
from ..models.audit import CLIENT
from ..models.metadata import as_text
from ..models.texts import TEXTS
from ..restrictions import BY_NAME
from .event_words import all_projects, at_time, in_code, in_em, in_list, in_words
from .project_names import Names, with_names

#: Empty values of a change: the event does not show them.
_EMPTY: Final[tuple[Any, ...]] = (None, "", [], {})


def by_day(
    events: Iterable[AuditEvent], url_of: Callable[[str], str], names: Names
) -> list[dict[str, Any]]:
    """Return template data of ``events`` by day. ``url_of`` returns the URL of a key by its ID."""

    def day_of(event: AuditEvent) -> date:
        return moments.local(event.at).date()

    return [
        {"day": day, "events": [_row(event, url_of, names) for event in of_day]}
        for day, of_day in groupby(events, day_of)
    ]


def _row(event: AuditEvent, url_of: Callable[[str], str], names: Names) -> dict[str, Any]:
    has_page = event.event != Event.DELETED and event.kind != CLIENT
    # The log of a project has tokens of members too, which have no page there.
    has_page &= bool(event.public_id) and event.event not in (Event.DENIED, Event.ALLOWED)
    return {
        "event": event,
        "sentence": sentence(event, names),
        "is_edit": event.event in (Event.EDITED, Event.CLIENT_EDITED),
        "url": url_of(event.public_id) if has_page else "",
        "id": event.changes.get("client_id") or event.public_id,
    }


def sentence(event: AuditEvent, names: Names) -> str:
    """Return what happened to the key, as HTML that follows its name. Without the user."""
    words = _WORDS.get(event.event)
    parts = list(words(_linked(with_names(event.changes, names)))) if words else []
    parts = parts or [f"{event.get_event_display()}."]
    return format_html_join(" ", "{}", ((_once_ended(part),) for part in parts))


def _linked(changes: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return ``changes`` with the IDs of other keys as links to their events."""
    found = {name: _link(changes[name]) for name in ("replaces", "successor") if name in changes}
    if isinstance(others := changes.get("successors"), list):
        found["successors"] = [_link(each) for each in others]
    return {**changes, **found}


def _link(public_id: Any) -> Any:
    if not isinstance(public_id, str) or not token.is_id(public_id):
        return public_id
    return format_html('<a href="?key={}">{}</a>', public_id, public_id)


def _once_ended(part: str) -> str:
    """Return a sentence with one full stop: a time may end with ``a.m.``."""
    if not part.endswith(".."):
        return part
    return mark_safe(part[:-1]) if isinstance(part, SafeString) else part[:-1]  # noqa: S308


def _minted(changes: Mapping[str, Any]) -> Iterator[str]:
    if old := changes.get("replaces"):
        yield format_html(_("was created to replace {}."), in_code(old))
    else:
        yield _("was created.")
    yield from _facts(changes)
    if changes.get("awaits_approval"):
        yield _("It needs approval before it works.")


def _imported(changes: Mapping[str, Any]) -> Iterator[str]:
    yield format_html(_("was imported from {}."), changes.get("scheme", ""))
    yield from _facts(changes)


def _facts(changes: Mapping[str, Any]) -> Iterator[str]:
    if names := changes.get("scopes"):
        yield format_html(_("Permissions: {}."), in_words(names))
    if "projects" in changes:
        projects = changes["projects"]
        yield format_html(
            _("Projects: {}."), all_projects() if projects is None else in_list(projects)
        )
    if "expires_at" in changes:
        when = changes["expires_at"]
        yield format_html(_("Expires on {}."), at_time(when)) if when else _("It never expires.")
    for name, restriction in BY_NAME.items():
        if name in changes and changes[name] not in (
            *_EMPTY,
            restriction.as_json(restriction.empty),
        ):
            yield format_html("{}: {}.", restriction.label, _value(name, changes[name]))
    if changes.get("public_key"):
        yield _("It signs requests and has no secret.")
    if changes.get("metadata"):
        yield format_html(_("Metadata: {}."), in_code(as_text(changes["metadata"])))
    if changes.get("trust"):
        yield format_html(_("It trusts {} and has no secret."), _trusted(changes["trust"]))


def _edited(changes: Mapping[str, Any]) -> Iterator[str]:
    if "kept_used" in changes:
        yield _("was narrowed to what it used.")
    if "undone" in changes:
        yield _("got back what was removed as unused.")
    for name, change in changes.items():
        if not isinstance(change, Mapping) or name == "kept_used":
            continue
        before, after = change.get("before"), change.get("after")
        if name == "name":
            yield format_html(_("Renamed from {} to {}."), in_em(before), in_em(after))
        elif name == "scopes":
            yield _access(before or [], after or [])
        else:
            yield _changed(name, before, after)


def _access(before: list[str], after: list[str]) -> str:
    removed = [name for name in before if name not in after]
    added = [name for name in after if name not in before]
    if removed and added:
        words = _("Access changed: removed {}, added {}.")
        return format_html(words, in_words(removed), in_words(added))
    if removed:
        return format_html(_("Access changed: removed {}."), in_words(removed))
    return format_html(_("Access changed: added {}."), in_words(added))


def _changed(name: str, before: Any, after: Any) -> str:
    field = capfirst(str(_label(name)))
    if name == "projects":
        words = _("Projects changed: before {}; now {}.")
        return format_html(words, _projects(before), _projects(after))
    before, after = _value(name, before), _value(name, after)
    if before and after:
        return format_html(_("{} changed from {} to {}."), field, before, after)
    if after:
        return format_html(_("{} set to {}."), field, after)
    return format_html(_("{} removed. It was {}."), field, before)


def _projects(slugs: list[str] | None) -> str:
    """Return the projects of a token as HTML; ``None`` for all."""
    return in_em(_("all projects, also future ones")) if slugs is None else in_list(slugs)


def _label(name: str) -> Any:
    if name in BY_NAME:
        return BY_NAME[name].label
    if name in TEXTS:
        return TEXTS[name].verbose_name
    return {
        "expires_at": _("Expiry"),
        "trust": _("Workload"),
        "approves_tokens": _("Approval of personal access tokens"),
        "metadata": _("Metadata"),
        "secret_ends_at": _("End of the secret"),
        "redirect_uris": _("Redirect URIs"),
        "grant_types": _("Grant types"),
        "homepage": _("Homepage"),
        "max_scopes": _("Maximum permissions"),
    }.get(name, name)


def _trusted(trust: Mapping[str, Any]) -> str:
    """Return what a key trusts as HTML."""
    claims = [f"{name}={value}" for name, value in trust.get("claims", {}).items()]
    return format_html("{} ({})", in_code(trust.get("issuer", "")), ", ".join(claims))


def _value(name: str, value: Any) -> str:
    """Return a value of JSON as HTML; an empty string for no value."""
    if name == "expires_at":
        return at_time(value) if value else _("never")
    if isinstance(value, bool):
        is_set = BY_NAME[name].to_form(value) if name in BY_NAME else value  # as its label says
        return _("yes") if is_set else _("no")
    if value in _EMPTY:
        return ""
    if isinstance(value, list):
        return in_list(value)
    if name == "metadata":
        return in_code(as_text(value))
    if name == "trust":
        return _trusted(value)
    return (
        at_time(value)
        if name in ("not_before", "secret_ends_at")
        else in_em(str(value).removesuffix("."))
    )


def _rotated(changes: Mapping[str, Any]) -> Iterator[str]:
    words = _("was rotated. {} replaces it.")
    if changes.get("by_itself"):
        words = _("was rotated with the key itself. {} replaces it.")
    yield format_html(words, in_code(changes.get("successor")))
    if when := changes.get("expires_at"):
        yield format_html(_("The old secret works until {}."), at_time(when))


def _revoked(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("was rejected.") if changes.get("rejected") else _("was revoked.")
    if reason := changes.get("reason"):
        yield format_html(_("Reason: {}"), reason)


def _paused(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("was paused.")
    if changes.get("held"):
        yield _("Only a site admin can resume it.")
    if reason := changes.get("reason"):
        yield format_html(_("Reason: {}"), reason)


def _denied(changes: Mapping[str, Any]) -> Iterator[str]:
    words = _("was rejected in {}.") if changes.get("requested") else _("was denied in {}.")
    yield format_html(words, in_em(changes.get("project", "")))
    if reason := changes.get("reason"):
        yield format_html(_("Reason: {}"), reason)
    if others := changes.get("with"):
        yield format_html(_("Denied together with it: {}."), in_list(others))


def _allowed(changes: Mapping[str, Any]) -> Iterator[str]:
    words = _("was approved in {}.") if changes.get("requested") else _("was allowed in {}.")
    yield format_html(words, in_em(changes.get("project", "")))
    if others := changes.get("with"):
        yield format_html(_("Allowed together with it: {}."), in_list(others))


def _new_network(changes: Mapping[str, Any]) -> Iterator[str]:
    yield format_html(_("was used from a new network: {}."), in_code(changes.get("network", "")))


def _refused_network(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("was refused: the request came from an address outside its allowed IP ranges.")
    yield _("Only the first such request of a day is listed.")


def _used_after_end(changes: Mapping[str, Any]) -> Iterator[str]:
    code = changes.get("code")
    if code == "denied_in_project":
        text = _("was used in {}, where it is denied. The request was refused.")
        yield format_html(text, in_em(changes.get("project", "")))
    elif code == "paused_key":
        yield _("was used while it was paused. The request was refused.")
    else:
        yield _("was used after its end. The request was refused.")
    yield _("Only the first such request is listed.")


def _notified(changes: Mapping[str, Any]) -> Iterator[str]:
    days = changes.get("days")
    if days and changes.get("idle"):
        yield _("is unused, and will be paused or revoked if it stays so.")
        if when := changes.get("ends_at"):
            yield format_html(_("That will be on {}."), at_time(when))
    elif days:
        yield ngettext(
            "expires within a day. The owner was notified.",
            "expires within %(days)d days. The owner was notified.",
            days,
        ) % {"days": days}
    elif scheme := changes.get("scheme"):
        text = _("will be refused in the old header of {}. The owner was notified.")
        yield format_html(text, scheme)


def _leaked(changes: Mapping[str, Any]) -> Iterator[str]:
    yield format_html(_("was reported as leaked by {}."), changes.get("source", ""))
    if url := changes.get("url"):
        yield format_html(_("Found at {}."), url)
    if ended := changes.get("successors"):
        yield format_html(_("Its successors were revoked too: {}."), in_list(ended))
    if not changes.get("revoked"):
        yield _("It was not revoked by this report.")


def _exchanged(changes: Mapping[str, Any]) -> Iterator[str]:
    if application := changes.get("application"):
        yield format_html(_("was exchanged by {} for a short-lived token."), in_em(application))
    else:
        yield _("was exchanged for a short-lived token.")
    yield _("Only the first exchange of a day is listed.")
    yield from _facts(changes)


def _consented(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("was authorized.")
    yield from _facts(changes)


def _narrowed(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("was limited.")
    yield from _edited(changes)


def _token_issued(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("logged in.")
    yield from _facts(changes)


def _client_registered(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _REGISTERED.get(str(changes.get("source")), lambda: _("was registered."))()


_REGISTERED: Final[dict[str, Callable[[], str]]] = {
    "dcr": lambda: _("was registered by a program."),
    "cimd": lambda: _("was registered by its metadata document."),
}


def _client_rotated(changes: Mapping[str, Any]) -> Iterator[str]:
    yield _("got a new secret.")
    if when := changes.get("expires_at"):
        yield format_html(_("The old secret works until {}."), at_time(when))
    else:
        yield _("The old secret stopped working.")


def _plain(text: Callable[[], str]) -> Callable[[Mapping[str, Any]], Iterator[str]]:
    return lambda changes: iter([text()])


_WORDS: Final[dict[str, Callable[[Mapping[str, Any]], Iterator[str]]]] = {
    Event.MINTED: _minted,
    Event.IMPORTED: _imported,
    Event.EDITED: _edited,
    Event.APPROVED: _plain(lambda: _("was approved.")),
    Event.ROTATED: _rotated,
    Event.REVOKED: _revoked,
    Event.PAUSED: _paused,
    Event.RESUMED: _plain(lambda: _("was resumed.")),
    Event.DENIED: _denied,
    Event.ALLOWED: _allowed,
    Event.EXPIRED: _plain(lambda: _("expired.")),
    Event.DELETED: _plain(lambda: _("was deleted.")),
    Event.FIRST_USED: _plain(lambda: _("was used for the first time.")),
    Event.NEW_NETWORK: _new_network,
    Event.REFUSED_NETWORK: _refused_network,
    Event.USED_AFTER_END: _used_after_end,
    Event.NOTIFIED: _notified,
    Event.LEAKED: _leaked,
    Event.EXCHANGED: _exchanged,
    Event.CONSENTED: _consented,
    Event.NARROWED: _narrowed,
    Event.WITHDRAWN: _plain(lambda: _("was revoked. It can no longer act on your behalf.")),
    Event.TOKEN_ISSUED: _token_issued,
    Event.CLIENT_REGISTERED: _client_registered,
    Event.CLIENT_EDITED: _edited,
    Event.CLIENT_ROTATED: _client_rotated,
    Event.CLIENT_DELETED: _plain(lambda: _("was deleted with all its tokens.")),
}
