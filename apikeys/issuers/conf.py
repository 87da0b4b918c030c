"""Declare the settings of trusted issuers."""

from collections.abc import Mapping
from typing import Any, Final

from ..conf.rules import Rule
from ..conf.setting import Setting, Table
from . import mapping, trusted
from .trusted import TrustedIssuer


def _build(given: Any) -> Mapping[str, TrustedIssuer]:
    """Return the valid entries. An entry with a fault trusts nothing."""
    if not isinstance(given, Mapping):
        return {}
    return {
        url: trusted.build(url, entry)
        for url, entry in given.items()
        if not trusted.faults(url, entry) and mapping.fault(entry.get("MATCH")) is None
    }


class IssuersSettings(Table):
    ISSUERS = Setting[Mapping[str, TrustedIssuer]](
        {},
        Rule(
            "a dictionary from issuer URLs to entries",
            lambda given: isinstance(given, Mapping),
            _build,
        ),
        "The identity providers whose access tokens the API accepts: "
        '`{"https://id.example.com/realms/acme": {"AUDIENCES": ["https://api.example.com"]}}`. '
        "See [options of an issuer](issuers.md#options).",
        check="E110",
        hint="Set it to, for example, {'https://id.example.com/realms/acme': {'AUDIENCES': "
        "['https://api.example.com']}}.",
    )


issuers_settings: Final = IssuersSettings()
