"""``manage.py apikeys_bindings``: its arguments, and a module for each subcommand.

Code that both commands share lives in ``apikeys.management``.
"""
