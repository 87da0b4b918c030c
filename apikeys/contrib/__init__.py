"""Connect this package to others: each module is named after the package that it needs.

Nothing imports these modules; a site names their classes in its settings. Adapters of web
frameworks, such as ``apikeys.ninja``, are at the root of ``apikeys``.
"""
