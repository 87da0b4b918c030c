"""Trust a workload's identity token instead of a secret: presets, rules, settings, texts to paste.

A project key may name an issuer of ``WORKLOAD_ISSUERS`` and rules about the claims of its
tokens. ``presets`` and ``rules`` read no database. The signatures of tokens are checked in
``apikeys.issuers``, and ``apikeys.oauth`` exchanges tokens at the token endpoint.
"""
