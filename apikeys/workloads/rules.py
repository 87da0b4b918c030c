"""The rules by which a key trusts a workload: read them, store them, and compare tokens.

A rule names a claim and a value: equal, or with ``*`` where the preset allows it. All rules must
match. Reads no database.
"""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from django.utils.translation import gettext as _

from ..errors import LifecycleError
from . import globs
from .conf import WorkloadIssuer, audiences, workload_settings
from .presets import Claim, Preset

#: Maximum number of rules, and maximum length of a value, in characters.
MOST: Final = 20
LONGEST: Final = 255
#: Maximum length of a claim that a pattern with ``*`` is compared with.
_LONGEST_CLAIM: Final = 2000
_MEMBERS: Final = ("issuer", "audience", "claims")


@dataclass(frozen=True)
class Trust:
    """The trust of a key: an issuer, the audience of its tokens, and rules about their claims."""

    issuer: str
    audience: str
    claims: Mapping[str, str]

    def as_json(self) -> dict[str, Any]:
        """Return the trust as the JSON API shows it."""
        return {"issuer": self.issuer, "audience": self.audience, "claims": dict(self.claims)}

    def as_text(self) -> str:
        """Return the text that is stored."""
        return json.dumps(self.as_json(), sort_keys=True, separators=(",", ":"))

    @property
    def anchor(self) -> str:
        """The digest by which a token finds the key. Empty without a required claim."""
        entry = workload_settings.WORKLOAD_ISSUERS.get(self.issuer)
        names = _identifying(entry.preset, self.claims) if entry else None
        return _digest(self.issuer, {name: self.claims[name] for name in names}) if names else ""

    def covers(self, other: "Trust") -> bool:
        """Return whether this trust accepts every token that ``other`` accepts."""
        return (
            (self.issuer, self.audience) == (other.issuer, other.audience)
            and all(
                name in other.claims and self._covers(name, value, other.claims[name])
                for name, value in self.claims.items()
            )
            # A rule about this claim lets runs for pull requests in.
            and not self._allows_more(other)
        )

    def _covers(self, name: str, value: str, other: str) -> bool:
        return value == other or (_takes_glob(self.issuer, name) and globs.covers(value, other))

    def _allows_more(self, other: "Trust") -> bool:
        entry = workload_settings.WORKLOAD_ISSUERS.get(self.issuer)
        allows = entry.preset.allows_pull_requests if entry else ""
        return bool(allows) and allows in other.claims and allows not in self.claims


def read(text: str) -> Trust | None:
    """Return the trust that ``as_text`` stored; ``None`` for an empty text."""
    return Trust(**json.loads(text)) if text else None


def describe(trust: Mapping[str, Any]) -> str:
    """Return a trust, as JSON has it, in one line."""
    claims = " ".join(f"{name}={value}" for name, value in trust.get("claims", {}).items())
    return f"{trust.get('issuer', '')} {claims} aud={trust.get('audience', '')}"


def clean(given: Any) -> Trust:
    """Return the trust that a caller asks for. Raise ``LifecycleError`` at the field ``trust``."""
    if not isinstance(given, Mapping):
        raise _invalid(_("Send an object with issuer and claims."))
    if unknown := sorted(str(name) for name in given if name not in _MEMBERS):
        message = _("Unknown: %(names)s. Valid: %(valid)s.")
        names = ", ".join(map(_shown, unknown))[:100]
        raise _invalid(message % {"names": names, "valid": ", ".join(_MEMBERS)})
    entry = find_issuer(given.get("issuer"))
    claims = given.get("claims") or {}
    if not isinstance(claims, Mapping) or not all(isinstance(name, str) for name in claims):
        raise _invalid(_("The claims must be an object with names and values."))
    if len(claims) > MOST:
        raise _invalid(_("Use at most %(most)d claims.") % {"most": MOST})
    rules = {name: _value(entry.preset, name, value) for name, value in sorted(claims.items())}
    _check_required(entry.preset, rules)
    return Trust(entry.url, _audience(entry, given.get("audience")), rules)


def find_issuer(given: Any) -> WorkloadIssuer:
    """Return the entry with this name or URL. Raise ``LifecycleError``."""
    issuers = workload_settings.WORKLOAD_ISSUERS
    for url, entry in issuers.items():
        if given in (url, entry.name):
            return entry
    if not issuers:
        message = _("This site does not accept workloads. Create a key with a secret.")
        raise LifecycleError("workloads_disabled", message, "trust")
    message = _("This site does not trust this issuer for workloads. Use one of: %(issuers)s.")
    names = ", ".join(entry.name for entry in issuers.values())
    raise LifecycleError("issuer_not_trusted", message % {"issuers": names}, "trust")


def _audience(entry: WorkloadIssuer, given: Any) -> str:
    allowed = audiences(entry)
    if not allowed:
        message = _("This site has no URL to be the audience. Ask a site admin to set SITE_URL.")
        raise LifecycleError("audience_required", message, "trust")
    if given is None or given == "":
        return allowed[0]
    if given not in allowed:
        # Tokens for another audience are for another site, which could then act as the workload.
        message = _("The audience must be the URL of this site: %(allowed)s.")
        names = {"allowed": ", ".join(allowed)}
        raise LifecycleError("audience_not_allowed", message % names, "trust")
    return str(given)


def _value(preset: Preset, name: str, given: Any) -> str:
    if (claim := preset.claims.get(name)) is None:
        raise _not_allowed(preset, name)
    if (value := text_of(given)) is None or not 0 < len(value) <= LONGEST:
        message = _("The value of %(claim)s must be text or a number, up to %(most)d characters.")
        raise _invalid(message % {"claim": name, "most": LONGEST}, "invalid_claim")
    if globs.is_glob(value) and not claim.glob:
        message = _("The value of %(claim)s must be exact. It cannot contain *.")
        raise _invalid(message % {"claim": name}, "glob_not_allowed")
    if globs.is_open(value):
        message = _("The value of %(claim)s must not begin with *, which matches anything.")
        raise _invalid(message % {"claim": name}, "trust_too_broad")
    if not value.isprintable() or not re.fullmatch(claim.pattern, value):
        message = _("This is not a value of %(claim)s.") % {"claim": name}
        if claim.example:
            message = f"{message} {_('An example: %(example)s.') % {'example': claim.example}}"
        raise _invalid(message, "invalid_claim")
    return value


def _not_allowed(preset: Preset, name: str) -> LifecycleError:
    shown = _shown(name)
    if name in preset.refused:
        reason, instead = preset.refused[name]
        message = _("Do not trust %(claim)s. %(reason)s") % {
            "claim": shown,
            "reason": str(reason) % {"instead": instead},
        }
    else:
        message = _("Rules cannot be about %(claim)s. Valid: %(valid)s.") % {
            "claim": shown,
            "valid": ", ".join(preset.claims),
        }
    return LifecycleError("claim_not_allowed", message, "trust")


def _shown(name: str) -> str:
    return name[:50] if name.isprintable() else "?"


def _check_required(preset: Preset, rules: Mapping[str, str]) -> None:
    if _identifying(preset, rules) is not None:
        return
    ways = " / ".join(" + ".join(names) for names in preset.required)
    message = str(preset.too_broad) or _("These rules would trust too many. Add %(ways)s.") % {
        "ways": ways
    }
    raise LifecycleError("trust_too_broad", message, "trust")


def _invalid(message: str, code: str = "invalid_trust") -> LifecycleError:
    return LifecycleError(code, message, "trust")


def text_of(value: Any) -> str | None:
    """Return a claim as text, as rules store it; ``None`` for an object, a list or null."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int) and abs(value) < 2**63:
        return str(value)
    return value if isinstance(value, str) else None


def value_of(claim: Claim, claims: Mapping[str, Any]) -> str | None:
    """Return the value of ``claim`` in the claims of a token, as text; ``None`` without one."""
    found: Any = claims
    for name in claim.path:
        if not isinstance(found, Mapping) or name not in found:
            return None
        found = found[name]
    return text_of(found)


def matches(trust: Trust, claims: Mapping[str, Any]) -> bool:
    """Return whether the verified ``claims`` of a token pass all rules of ``trust``."""
    entry = workload_settings.WORKLOAD_ISSUERS.get(trust.issuer)
    if entry is None or claims.get("iss") != trust.issuer or not trust.claims:
        return False
    # A rule that the preset no longer has, or whose value it no longer requires, matches nothing.
    if _identifying(entry.preset, trust.claims) is None:
        return False
    return all(
        _matches(entry.preset.claims.get(name), value, claims)
        for name, value in trust.claims.items()
    )


def _matches(claim: Claim | None, value: str, claims: Mapping[str, Any]) -> bool:
    if claim is None or (found := value_of(claim, claims)) is None:
        return False
    if not claim.glob:
        return found == value
    return len(found) <= _LONGEST_CLAIM and globs.matches(value, found)


def is_pull_request(trust: Trust, claims: Mapping[str, Any]) -> bool:
    """Return whether a token is of a run for a pull request that ``trust`` does not allow."""
    preset = workload_settings.WORKLOAD_ISSUERS[trust.issuer].preset
    if preset.allows_pull_requests in trust.claims:
        return False  # the rule about this claim says which runs
    return any(
        isinstance(claims.get(name), str) and claims[name].startswith(starts)
        for name, starts in preset.pull_requests.items()
    )


def anchors_of(entry: WorkloadIssuer, claims: Mapping[str, Any]) -> list[str]:
    """Return the digests of keys that may trust a token with these claims."""
    found = []
    for names in entry.preset.required:
        values = {name: value_of(entry.preset.claims[name], claims) for name in names}
        if None not in values.values():
            found.append(_digest(entry.url, values))
    return found


def _identifying(preset: Preset, rules: Mapping[str, str]) -> tuple[str, ...] | None:
    """Return the required claims by which ``rules`` identify a workload, each exactly."""
    for names in preset.required:
        if all(name in rules and not globs.is_glob(rules[name]) for name in names):
            return names
    return None


def _takes_glob(issuer: str, name: str) -> bool:
    entry = workload_settings.WORKLOAD_ISSUERS.get(issuer)
    claim = entry.preset.claims.get(name) if entry else None
    return claim is not None and claim.glob


def _digest(issuer: str, claims: Mapping[str, str | None]) -> str:
    return hashlib.sha256(json.dumps([issuer, claims], sort_keys=True).encode()).hexdigest()
