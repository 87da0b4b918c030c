"""Declare the settings of OAuth. This module also imports without the extra ``oauth``."""

import re
from collections.abc import Collection, Mapping
from typing import Any, Final

from ..conf import rules
from ..conf.rules import Rule
from ..conf.setting import Setting, Table


def _is_audience(uri: Any) -> bool:
    match = isinstance(uri, str) and re.fullmatch(r"([a-z][a-z0-9+.-]*+)://[^/#][^#]*+", uri)
    return bool(match and rules.is_url(uri, [match[1]]))


class OAuthSettings(Table):
    CONSENT_SUDO = Setting(
        default=True,
        rule=rules.YES_OR_NO,
        about="Whether a user's first consent to a third-party OAuth client needs a login within "
        "[`SUDO_MAX_AGE`](#sudo_max_age). `FIRST_PARTY_CLIENTS` are exempt. "
        "See [consent](oauth.md#consent).",
        check="E073",
    )
    FIRST_PARTY_CLIENTS = Setting[Collection[str]](
        (),
        rules.list_of("a list of client IDs", lambda each: isinstance(each, str)),
        "Client IDs of your own pages. Only these clients can use the password grant.",
        check="E013",
        hint="Set it to, for example, ['webapp'].",
    )
    AUDIENCES = Setting[Collection[str] | None](
        None,
        rules.list_of("a list of absolute URIs without a fragment", _is_audience).or_none(),
        "URIs that `resource` and `audience` may restrict an access token to (RFC 8707, RFC "
        "8693), including all paths below them. `None` allows any absolute URI. A restricted "
        "token is refused by every other service.",
        check="E016",
        hint='Set it to, for example, ["https://api.example.com/"].',
    )
    RESOURCE_SERVERS = Setting[Mapping[str, Collection[str]]](
        {},
        Rule(
            "a dictionary of client IDs, each with a list of absolute URIs",
            lambda given: (
                isinstance(given, Mapping)
                and all(
                    isinstance(name, str) and rules.is_list(uris) and all(map(_is_audience, uris))
                    for name, uris in given.items()
                )
            ),
        ),
        "The URLs of your other services, by the ID of their confidential OAuth client, such as "
        "an MCP server in its own process. Such a client can exchange a token that was issued for "
        "one of its URLs for a token of your API or another service.",
        check="E131",
        hint='Set it to, for example, {"acme-mcp": ["https://mcp.example.com/mcp"]}.',
    )
    JWT_RESOURCES = Setting[Collection[str]](
        (),
        rules.list_of("a list of absolute URIs without a fragment", _is_audience),
        "URLs of services that cannot introspect, and verify access tokens only with your public "
        "keys, including all paths below them. A token that is restricted to one of them (RFC "
        "8707) is a JWT (RFC 9068), by every grant. All others are opaque. See [access tokens as "
        "JWTs](oauth.md#access-tokens-as-jwts).",
        check="E132",
        hint='Set it to, for example, ["https://mcp.example.com/mcp"].',
    )
    MOST_CLIENTS_WITHOUT_USER = Setting[int | None](
        10_000,
        rules.whole(0).or_none(),
        "Maximum number of OAuth clients that registered themselves without a user: by a metadata "
        "document, or anonymously. Further ones are refused until `apikeys prune` deletes those "
        "that were never used. `None` allows any number.",
        check="E130",
    )


oauth_settings: Final = OAuthSettings()
