from ....management.command import CommandWithSubcommands
from ..subcommands import SUBCOMMANDS


class Command(CommandWithSubcommands):
    help = "Bind the resources that the gateway protects to users and projects."
    subcommands = SUBCOMMANDS
