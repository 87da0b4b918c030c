"""``manage.py apikeys``: output, arguments, and one module for each subcommand.

The code that changes keys lives in ``lifecycle``, ``importing`` and ``mail``.
"""
