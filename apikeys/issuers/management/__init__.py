"""The subcommands that this app adds to ``manage.py apikeys``.

What they share with others lives in ``apikeys.management``.
"""
