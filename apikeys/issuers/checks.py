"""System checks: report issuers that could not be trusted safely."""

from collections.abc import Iterator, Mapping, Sequence
from importlib.util import find_spec
from typing import Any

from django.apps import AppConfig
from django.core.checks import CheckMessage, Error, Warning, register

from ..conf.setting import given
from . import mapping, trusted
from .conf import IssuersSettings


@register("apikeys")
def check_issuers(
    app_configs: Sequence[AppConfig] | None = None, **kwargs: Any
) -> list[CheckMessage]:
    return [*IssuersSettings.errors(), *_library(), *_entries()]


def _library() -> Iterator[CheckMessage]:
    if find_spec("joserfc") is None:
        yield Error(
            "apikeys.issuers is installed, but joserfc is not.",
            hint='Install it with `pip install "apikeys[issuers]"`.',
            id="apikeys.E113",
        )


def _entries() -> Iterator[CheckMessage]:
    issuers = given().get("ISSUERS", {})
    if not isinstance(issuers, Mapping):
        return
    for url, entry in issuers.items():
        name = f"The issuer {url!s:.100} in APIKEYS['ISSUERS']"
        for fault in trusted.faults(url, entry):
            yield Error(
                f"{name} is invalid. {fault}",
                hint="Correct the entry. Until then, tokens of this issuer are refused.",
                id="apikeys.E111",
            )
        if isinstance(entry, Mapping):
            yield from _audiences(name, entry)
            yield from _match(name, entry.get("MATCH"))


def _audiences(name: str, entry: Mapping[str, Any]) -> Iterator[CheckMessage]:
    if not (entry.get("AUDIENCES") or entry.get("CLIENT_IDS")):
        yield Error(
            f"{name} has no AUDIENCES, so a token for any other API would be accepted.",
            hint="Set AUDIENCES to the `aud` of access tokens for this API. If they have none, set "
            "CLIENT_IDS to the clients whose tokens you accept.",
            id="apikeys.E112",
        )


def _match(name: str, match: Any) -> Iterator[CheckMessage]:
    if not isinstance(match, Mapping) or len(match) != 1:
        return
    claim, fault = next(iter(match)), mapping.fault(match)
    if fault is mapping.Fault.FIELD:
        yield Error(
            f"{name} has MATCH with a name that is not a text field of the user model.",
            hint="Name a field of the user model that holds text, such as 'username'. Until you "
            "fix it, tokens of this issuer are refused.",
            id="apikeys.E114",
        )
    elif fault is mapping.Fault.ADDRESS:
        yield Error(
            f"{name} has MATCH from the claim {claim!r} to an e-mail address.",
            hint="Only the claim 'email' is accepted, because only for it the issuer says in "
            "`email_verified` whether it is verified. Until you fix it, tokens of this issuer are "
            "refused.",
            id="apikeys.E115",
        )
    else:
        yield Warning(
            f"{name} has MATCH, so anyone who can set the claim {claim!r} at the issuer can take "
            "over the account with that value, until its user has logged in once.",
            hint="Create the identities in the admin instead. Or silence this check if users "
            "cannot change the claim, the issuer never gives it to another user, and your own "
            "field is verified.",
            id="apikeys.W110",
        )
