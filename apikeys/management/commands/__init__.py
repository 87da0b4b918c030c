"""The entry point of ``manage.py apikeys``, in the folder where Django looks for commands.

The subcommands live in ``apikeys.management.subcommands``.
"""
