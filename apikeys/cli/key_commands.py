"""The commands that manage the key pair with which a machine signs requests."""

import re

import click

from .failing import exits_with_a_line
from .session import Session


@click.group()
def key() -> None:
    """Manage the key pair with which this machine signs requests."""


@key.command()
@click.option(
    "--algorithm", type=click.Choice(["ed25519", "p256"]), default="ed25519", show_default=True
)
@click.pass_obj
@exits_with_a_line
def new(session: Session, algorithm: str) -> None:
    """Create a key pair. Stores the private key here and prints the public key to register."""
    identity = session.identity
    click.echo(identity.make(algorithm), nl=False)
    click.echo(identity.where, err=True)
    click.echo(
        "Create a project key with this public key on the project's settings page, then enter its "
        "ID here: key use ID",
        err=True,
    )


@key.command()
@click.pass_obj
@exits_with_a_line
def show(session: Session) -> None:
    """Print the public key, which is not secret."""
    identity = session.identity
    click.echo(identity.public_key, nl=False)
    click.echo(f"Its ID is {identity.id or 'not set. Set it with: key use ID'}.", err=True)


@key.command()
@click.argument("key_id", metavar="ID")
@click.pass_obj
@exits_with_a_line
def use(session: Session, key_id: str) -> None:
    """Set the ID of the project key that has the public key."""
    if not re.fullmatch(r"[0-9a-z]{16}", key_id):
        raise click.UsageError("An ID has 16 characters of a-z and 0-9.")
    session.identity.use(key_id)


@key.command()
@click.pass_obj
@exits_with_a_line
def forget(session: Session) -> None:
    """Delete the private key from this machine. Also revoke its project key on the site."""
    session.identity.delete()
    click.echo("The private key was deleted.", err=True)
