"""What every subcommand of every management command has in common."""

import re
from argparse import SUPPRESS

import pytest

from tests.commands import commands, options, subcommands
from tests.factories import mint_pat

SUBCOMMANDS = [each for command in commands() for each in subcommands(*command)]


def test_the_walk_finds_both_commands():
    names = [name for name, _ in SUBCOMMANDS]
    assert {"apikeys mint", "apikeys verify", "apikeys_bindings list"} <= set(names)
    assert len(names) == len(set(names))


@pytest.mark.parametrize(("name", "parser"), SUBCOMMANDS, ids=[name for name, _ in SUBCOMMANDS])
def test_every_subcommand_takes_json(name, parser):
    assert "--json" in parser._option_string_actions


#: Arguments with which each subcommand runs, except for the option that takes the time.
ARGUMENTS = {
    "apikeys mint": [
        "--user", "ada", "--name", "x", "--scope", "payments:read", "--expires", "never",
    ],
    "apikeys rotate": ["ID"],
    "apikeys edit": ["ID"],
    "apikeys audit": [],
    "apikeys import": ["--from", "csv", "-"],
    "apikeys prune": [],
    "apikeys list": [],
    "apikeys revoke": ["--dry-run"],
    "apikeys pause": ["--dry-run"],
    "apikeys convert": ["ID", "--issuer", "github", "--claim", "repository_id=1"],
}  # fmt: skip


def options_of(metavar):
    return sorted(
        (name, action.option_strings[0]) for name, action in options() if action.metavar == metavar
    )


def run(apikeys, name, *words):
    """Run a subcommand on a key that does not expire."""
    key = mint_pat(expires_at=None).key
    arguments = [key.public_id if each == "ID" else each for each in ARGUMENTS[name]]
    command, _, subcommand = name.partition(" ")
    assert command == "apikeys"
    stdin = "key,user,scopes\n" if subcommand == "import" else ""
    return apikeys(subcommand, *arguments, *words, stdin=stdin)


@pytest.mark.parametrize(
    "when", ["30m", "12h", "30d", "4w", "1y", "2100-01-31", "2100-01-31T12:00Z"]
)
@pytest.mark.parametrize(("name", "option"), options_of("WHEN"))
def test_every_time_is_taken_as_a_duration_a_date_and_a_date_with_time(
    ada, apikeys, name, option, when
):
    done = run(apikeys, name, option, when)
    assert (done.code, done.err) == (0, "") or name == "apikeys import", done.err
    assert "does not understand" not in done.err


@pytest.mark.parametrize("when", ["soon", "30", "30D", "-1d", "999999y", "2100-13-01", ""])
@pytest.mark.parametrize(("name", "option"), options_of("WHEN"))
def test_every_time_that_is_not_understood_is_refused_with_an_example(
    ada, apikeys, name, option, when
):
    done = run(apikeys, name, f"{option}={when}")
    assert done.code == 1
    assert f"{option} does not understand {when!r}. It takes a duration such as 30m" in done.err


@pytest.mark.parametrize("duration", ["12h", "2d", "1w"])
@pytest.mark.parametrize(("name", "option"), options_of("DURATION"))
def test_every_duration_has_the_same_units(ada, apikeys, name, option, duration):
    done = run(apikeys, name, option, duration)
    assert "does not understand" not in done.err


def test_the_walk_finds_the_options_that_take_a_time():
    assert {("apikeys audit", "--since"), ("apikeys mint", "--expires")} <= set(options_of("WHEN"))
    assert {("apikeys rotate", "--overlap"), ("apikeys prune", "--daily")} <= set(
        options_of("DURATION")
    )


@pytest.mark.parametrize(("name", "action"), options(), ids=lambda e: getattr(e, "dest", e))
def test_every_argument_is_explained(name, action):
    assert action.help == SUPPRESS or re.fullmatch(r"[A-Z].+\.", action.help or "", re.DOTALL)


@pytest.mark.parametrize(
    "name", [n for n, _ in SUBCOMMANDS if n.startswith("apikeys ") and n != "apikeys verify"]
)
def test_the_help_says_which_options_are_required_without_a_terminal(ada, apikeys, name):
    subcommand = name.partition(" ")[2]
    given = ["ID" for n, action in options() if n == name and action.dest == "public_id"]
    given = [mint_pat(ada).key.public_id for _ in given]
    if subcommand == "import":
        given = ["--from", "csv", "-"]
    missing = re.search(r"Missing: (.*?)\.", apikeys(subcommand, *given).err)
    required = set(re.findall(r"--[a-z-]+", missing[1])) if missing else set()
    helps = {
        action.option_strings[0]: action.help
        for n, action in options()
        if n == name and action.option_strings
    }
    assert {option for option, text in helps.items() if "Required" in text} == required


@pytest.mark.parametrize(
    ("words", "bounds"),
    [
        (["prune", "--daily", "30d"], ["31d"]),
        (["prune", "--keep", "30d"], ["--daily"]),
        (["prune", "--keep", "1001y"], ["1000y"]),
        (["rotate", "ID", "--overlap", "8d"], ["0", "7d"]),
        (["list", "--limit", "0"], ["1"]),
        (["audit", "--limit", "0"], ["1"]),
        (["revoke", "ID", "--reason", "x" * 201], ["200 characters"]),
        (["reject", "ID", "--reason", "x" * 201], ["200 characters"]),
        (["edit", "ID", "--name", "x" * 101], ["100 characters"]),
    ],
)
def test_the_help_gives_the_bounds_of_a_value(ada, apikeys, words, bounds):
    key = mint_pat(ada).key
    key.is_pending = words[0] == "reject"
    key.save()
    done = apikeys(*[key.public_id if word == "ID" else word for word in words])
    assert done.code == 1
    assert not key.chain()[1:]
    helps = {
        action.option_strings[0]: action.help
        for name, action in options()
        if name == f"apikeys {words[0]}" and action.option_strings
    }
    for bound in bounds:
        assert bound in helps[words[-2]]
