"""Limit credentials: allowed IP ranges, rate limits, and attempts at guessing a secret.

The adapters, such as ``apikeys.drf`` and ``apikeys.http``, build the response to a request over
its limit.
"""
