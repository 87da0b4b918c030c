from ..command import CommandWithSubcommands
from ..subcommands import SUBCOMMANDS, of_apps


class Command(CommandWithSubcommands):
    help = "Personal access tokens and project keys: create, find, rotate, revoke and check them."
    subcommands = {**SUBCOMMANDS, **of_apps()}
