from collections.abc import Iterable, Mapping
from typing import Any, Final

from django import forms
from django.db import models
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from ..conf import app_settings
from ..errors import LifecycleError
from ..limits import networks
from ..refusals import IP_NOT_ALLOWED, Refused
from .base import Circumstances, Fields, Json, Option, Phase, Restriction

MAX_NETWORKS: Final = 100
_MOST_NAMED: Final = 10  # wrong networks in one error

# OpenAPI has formats of addresses, and none of CIDRs.
_BYTE = "(0|[1-9][0-9]?|1[0-9]{2}|2[0-4][0-9]|25[0-5])"
_SCHEMA: Final = {
    "anyOf": [
        {"type": "string", "format": "ipv4"},
        {"type": "string", "format": "ipv6"},
        {"type": "string", "pattern": rf"^{_BYTE}\.{_BYTE}\.{_BYTE}\.0/24$"},
    ],
    "description": "A CIDR of any size, or an address.",
}


class Columns(models.Model):
    allowed_networks = models.TextField(
        gettext_lazy("allowed IP ranges"),
        blank=True,
        default="",
        help_text=gettext_lazy(
            "IP ranges in CIDR notation, separated by spaces. Empty allows any address."
        ),
    )

    class Meta:
        abstract = True


class AllowedNetworks(Restriction):
    """The addresses from which a key may be used."""

    name = "allowed_networks"
    is_common = True
    phase = Phase.REQUEST
    empty = ""
    columns = Columns
    label = gettext_lazy("Allowed IP ranges")
    is_code = True
    option = Option(
        "--allow-network",
        "An IP range or address to accept requests from (default: any address). Repeat the option "
        "for several.",
        "An IP range or address to accept requests from. Those that you give replace those of the "
        "key; any accepts every address. Repeat the option for several.",
        metavar="CIDR",
        clear="any",
        absent="any",
    )
    json = Json(
        list[str],
        "The allowed IP ranges, as CIDRs. Empty for any address.",
        f"Only accept requests from these CIDRs or addresses, up to {MAX_NETWORKS}. Empty for any "
        "address.",
        item=_SCHEMA,
    )

    refusal = IP_NOT_ALLOWED

    def parse(self, given: Iterable[str]) -> str:
        found, wrong = [], []
        for text in given:
            try:
                found.append(networks.parse_network(text))
            except ValueError:
                wrong.append(text[:60])
        if wrong:
            raise LifecycleError("invalid_network", _why_not(wrong), self.name)
        if len(set(found)) > MAX_NETWORKS:
            message = _("Enter at most %(most)d IP ranges.") % {"most": MAX_NETWORKS}
            raise LifecycleError("too_many_networks", message, self.name)
        return networks.join(found)

    def clean(self, given: Iterable[str], owner: Any) -> str:
        text = self.parse(given)
        imposed = networks.parse_all(" ".join(app_settings.POLICY.allowed_networks(owner)))
        for network in networks.parse_all(text):
            if imposed and not any(
                networks.is_within(network, [each]) or networks.is_within(each, [network])
                for each in imposed
            ):
                message = _(
                    "%(network)s is outside the IP ranges that this site allows: %(all)s."
                ) % {
                    "all": ", ".join(map(str, imposed)),
                    "network": network,
                }
                raise LifecycleError("network_not_allowed", message, self.name)
        return text

    def covers(self, bound: str, value: str) -> bool:
        if not bound:
            return True
        outer, own = networks.parse_all(bound), networks.parse_all(value)
        return bool(own) and all(networks.is_within(each, outer) for each in own)

    def both(self, one: str, other: str) -> str:
        if not one or not other:
            return one or other
        ours, theirs = networks.parse_all(one), networks.parse_all(other)
        common = [each for each in ours if networks.is_within(each, theirs)]
        common += [each for each in theirs if networks.is_within(each, ours)]
        if not common:  # no range at all would mean any address
            raise Refused(self.refusal)
        return networks.join(common)

    def check(self, value: str, circumstances: Circumstances) -> None:
        if not networks.allowed_from((value,), circumstances.ip):
            raise Refused(self.refusal)

    def not_grantable(self, bound: str) -> LifecycleError:
        message = _("The allowed IP ranges must be within those of your credential: %(all)s.")
        names = {"all": ", ".join(bound.split())}
        return LifecycleError("network_not_grantable", message % names, self.name)

    def field(self, fields: Fields) -> forms.Field:
        return fields.words(
            label=self.label,
            lines=2,
            help_text=gettext_lazy(
                "Only accept requests from these IP ranges, one per line, such as "
                "203.0.113.0/24. Leave empty to allow any address."
            ),
        )

    def sentence(self, value: str) -> str:
        return _("Works only from %(names)s.") % {"names": ", ".join(value.split())}

    def display(self, value: str) -> str:
        return value

    def claims(self, value: str) -> Mapping[str, Any]:
        return {"allowed_networks": value.split()}

    def as_json(self, value: str) -> list[str]:
        return value.split()


def _why_not(wrong: list[str]) -> str:
    """Return why each text in ``wrong`` is not a network, and which network may be meant."""
    sentences, others = [], []
    for text in wrong[:_MOST_NAMED]:
        if (meant := networks.without_host_bits(text)) is None:
            others.append(text)
        else:
            message = _("%(text)s has host bits set. Did you mean %(network)s?")
            sentences.append(message % {"text": text, "network": meant})
    more = " …" if len(wrong) > _MOST_NAMED else ""
    if others:
        message = ngettext(
            "%(text)s is not an IP range. Enter a range such as 203.0.113.0/24 or "
            "2001:db8::/32, or a single address.",
            "%(text)s are not IP ranges. Enter ranges such as 203.0.113.0/24 or "
            "2001:db8::/32, or single addresses.",
            len(others),
        )
        return " ".join([*sentences, message % {"text": ", ".join(others) + more}])
    return " ".join(sentences) + more
