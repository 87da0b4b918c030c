"""Work with the site's databases: routing, tenants, transactions and errors.

Models and queries of keys are in ``apikeys.models`` and ``apikeys.keys``.
"""
