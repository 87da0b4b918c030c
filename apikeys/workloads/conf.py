"""Declare the settings of workloads, and build the issuers that they trust."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from ..conf import app_settings, rules
from ..conf.rules import Rule
from ..conf.setting import Setting, Table
from .presets import PRESETS, Claim, Preset

#: The options of an entry that do not say how to find the issuer's keys.
OPTIONS: Final = (
    "PRESET", "ISSUER", "AUDIENCE", "LABEL", "CLAIMS", "GLOBS", "REQUIRED", "DIRECT_USE",
)  # fmt: skip


@dataclass(frozen=True, eq=False)
class WorkloadIssuer:
    """An entry of ``WORKLOAD_ISSUERS``."""

    #: How the entry is named in the settings. Rules may use it in place of the URL.
    name: str
    #: The exact value of the claim ``iss``.
    url: str
    preset: Preset
    #: The audience of its tokens, if it is not the URL of the site.
    audience: str | None
    direct_use: bool
    #: How the issuer's keys are found; see ``apikeys.issuers.entries``.
    options: Mapping[str, Any]

    @property
    def kind(self) -> str:
        """The name of the preset, or an empty string."""
        return next((name for name, each in PRESETS.items() if each is self.preset), "")


def _is_entry(name: Any, entry: Any) -> bool:
    if not isinstance(name, str) or not isinstance(entry, Mapping):
        return False
    named = entry.get("PRESET", name if name in PRESETS else None)
    if named is not None and named not in PRESETS:
        return False
    url = entry.get("ISSUER", PRESETS[named].issuer if name == named else name)
    own = named is not None or (entry.get("CLAIMS") and entry.get("REQUIRED"))
    return bool(
        rules.is_url(url)
        and own
        and "*" not in url
        and all(
            rules.is_list(entry.get(option, ())) and all(isinstance(n, str) for n in entry[option])
            for option in ("CLAIMS", "GLOBS", "REQUIRED")
            if option in entry
        )
        and set(entry.get("GLOBS", ())) <= set(entry.get("CLAIMS", ()))
        and set(entry.get("REQUIRED", ())) <= set(entry.get("CLAIMS", ()))
        and (named is None or not {"CLAIMS", "GLOBS", "REQUIRED"} & set(entry))
        and isinstance(entry.get("DIRECT_USE", False), bool)
        and isinstance(entry.get("LABEL", ""), str)
        and ("AUDIENCE" not in entry or (isinstance(entry["AUDIENCE"], str) and entry["AUDIENCE"]))
    )


def _are_entries(given: Any) -> bool:
    return all(_is_entry(name, entry) for name, entry in given.items()) and len(
        {each.url for each in _built(given).values()}
    ) == len(given)


def _built(given: Mapping[str, Mapping[str, Any]]) -> Mapping[str, WorkloadIssuer]:
    built = (_build(name, entry) for name, entry in given.items())
    return {each.url: each for each in built}


def _build(name: str, entry: Mapping[str, Any]) -> WorkloadIssuer:
    named = entry.get("PRESET", name if name in PRESETS else None)
    if named is not None:
        preset = PRESETS[named]
    else:
        globs = entry.get("GLOBS", ())
        preset = Preset(
            name,
            {claim: Claim((claim,), glob=claim in globs) for claim in entry["CLAIMS"]},
            tuple((claim,) for claim in entry["REQUIRED"]),
        )
    url = entry.get("ISSUER", preset.issuer if name == named else name)
    if "LABEL" in entry and named is None:
        preset = replace(preset, label=entry["LABEL"])
    options = {option: value for option, value in entry.items() if option not in OPTIONS}
    direct = bool(entry.get("DIRECT_USE", False))
    return WorkloadIssuer(name, url, preset, entry.get("AUDIENCE"), direct, options)


class WorkloadSettings(Table):
    WORKLOAD_ISSUERS = Setting[Mapping[str, WorkloadIssuer]](
        {},
        Rule(
            "a dictionary of issuers: a preset or an exact URL, with a dictionary of options",
            lambda given: isinstance(given, Mapping) and _are_entries(given),
            _built,
        ),
        "The issuers whose workloads a project key may trust instead of holding a secret: "
        '`{"github": {}, "gitlab": {"ISSUER": "https://gitlab.acme.example"}}`. '
        "See [workloads](../how-to/workloads.md).",
        check="E120",
        hint='Set it to, for example, {"github": {}}. '
        f"The presets are {', '.join(PRESETS)}. Presets without an issuer of their own, such as "
        "kubernetes, need ISSUER. Other issuers need CLAIMS and REQUIRED.",
    )
    WORKLOAD_AUDIENCES = Setting[Collection[str] | None](
        None,
        rules.list_of("a list of URLs of this site", rules.is_url).or_none(),
        "The audiences that tokens of workloads may name, the one for new keys first. `None` "
        "means [`SITE_URL`](#site_url).",
        check="E121",
        hint="Set it to, for example, ['https://api.acme.example'].",
    )


workload_settings: Final = WorkloadSettings()


def audiences(issuer: WorkloadIssuer) -> list[str]:
    """Return the audiences that tokens of ``issuer`` may name, the usual one first."""
    if issuer.audience is not None:
        return [issuer.audience]
    if workload_settings.WORKLOAD_AUDIENCES is not None:
        return [each.rstrip("/") for each in workload_settings.WORKLOAD_AUDIENCES]
    return [app_settings.SITE_URL.rstrip("/")] if app_settings.SITE_URL else []
