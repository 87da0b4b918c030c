"""The entry point of ``manage.py apikeys_bindings``, in the folder where Django looks for it.

The subcommands live in ``apikeys.gateway.management.subcommands``.
"""
