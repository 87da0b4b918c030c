"""Accept JWTs of trusted issuers: identity providers whose tokens this site does not issue.

This package reads issuers' entries in the settings, fetches their public keys, and verifies
their tokens. It is a separate app that plugs itself into ``apikeys.verify``; sites without it
import nothing of it. It needs the extra ``issuers``.

It does not issue tokens. That is ``apikeys.oauth``.
"""
