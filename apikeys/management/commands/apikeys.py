import heapq
import json
import os
import re
from argparse import SUPPRESS
from collections.abc import Iterable, Iterator, Mapping
from datetime import timedelta
from itertools import islice
from operator import attrgetter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser
from django.views.decorators.debug import sensitive_variables

from ... import audit, lifecycle, notices, refusals, usage
from ...audit import FORMATS
from ...lifecycle import LifecycleError
from ...models import AuditEvent, PersonalAccessToken, State, live
from ...records import KINDS, AnyKey, record, with_facts
from ...refusals import Refused
from ...verify import verify
from .. import arguments
from ..output import Screen, show
from ..policy_audit import violations
from ..prompts import ask, ask_scopes, is_interactive, not_empty, read_credential

_PAT_LIFETIME = "90d"
_CHUNK = 500  # rows in memory at a time

_COLUMNS = (
    "ID", "KIND", "NAME", "OWNER", "PROJECTS", "SCOPES", "EXPIRES", "LAST USED", "STATE",
)  # fmt: skip
_AUDIT_FIELDS = ("at", "event", "key", "name", "owner", "by", "using", "ip")
_EXPENDABLE = ("PROJECTS", "LAST USED", "SCOPES")

_LONG_WORD = re.compile(r"[\w.~+/=-]{24,}")

_SHOWN_ONCE = """
The token is shown this once: put it where it is needed now. It goes into the header
`Authorization: Bearer <token>`.
"""


class _Parser(CommandParser):
    """argparse repeats what it does not understand; a credential must not come out again."""

    def error(self, message: str) -> Any:
        super().error(_LONG_WORD.sub("…", message))


class Command(BaseCommand):
    help = "Personal access tokens and project keys: make, find, rotate, revoke and check them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.__class__ = _Parser
        commands = parser.add_subparsers(
            dest="subcommand", required=True, title="commands", metavar="COMMAND"
        )

        def command(name: str, text: str, more: str = "") -> Any:
            added = commands.add_parser(name, help=text, description=f"{text} {more}")
            added.add_argument("--json", action="store_true", help="Print JSON, and ask nothing.")
            return added

        mint = command(
            "mint",
            "Make a key and show its token, once.",
            "With --user it is a personal access token, which acts on behalf of that user, in "
            "the given projects only if there are any. With --project alone it is a key of that "
            "project. What is left out is asked for on a terminal.",
        )
        mint.add_argument("--user", metavar="USERNAME", help="Whose personal access token it is.")
        mint.add_argument(
            "--project",
            metavar="SLUG",
            action="append",
            help="The project of a project key; or one that a personal access token is "
            "restricted to (may be given several times).",
        )
        mint.add_argument("--name", help="What it is for, to tell it from others.")
        mint.add_argument(
            "--scope",
            metavar="SCOPE",
            action="append",
            help="What it may be used for (may be given several times).",
        )
        mint.add_argument(
            "--expires",
            metavar="WHEN",
            help="A duration (30m, 12h, 90d, 4w, 1y), an ISO 8601 date or date and time, or "
            f"never. By default {_PAT_LIFETIME} for a personal access token, never for a "
            "project key.",
        )

        mint.add_argument(
            "--allow-network",
            metavar="CIDR",
            action="append",
            help="A network from which alone it may be used (may be given several times).",
        )
        mint.add_argument(
            "--rate-limit",
            metavar="RATE",
            action="append",
            help="How often it may be used, such as 1000/hour (may be given several times).",
        )
        mint.add_argument(
            "--no-direct-use",
            action="store_true",
            help="Keep it for exchange: requests with it are refused, and only the token "
            "endpoint takes it, for a short access token (needs apikeys.oauth).",
        )

        listing = command("list", "List keys, newest first.")
        listing.add_argument("--user", metavar="USERNAME", help="Only this user's.")
        listing.add_argument(
            "--project",
            metavar="SLUG",
            help="Only this project's keys, and personal access tokens restricted to it.",
        )
        listing.add_argument("--kind", choices=list(KINDS), help="Only keys of this kind.")
        listing.add_argument("--all", action="store_true", help="Also revoked and expired ones.")
        listing.add_argument(
            "--limit", type=int, default=100, help="At most so many (default: %(default)s)."
        )

        def takes_id(parser: Any) -> None:
            parser.add_argument(
                "public_id", metavar="ID", help="The 16 characters that `list` shows."
            )

        takes_id(command("show", "Show all there is to know about a key but its secret."))

        rotate = command(
            "rotate",
            "Replace a key by one with a new secret.",
            "The new token is shown, once; the old one goes on working for a while.",
        )
        takes_id(rotate)
        rotate.add_argument(
            "--overlap",
            metavar="DURATION",
            help="How long the old key stays valid, from 0 to 7d; by default the setting "
            "ROTATION_OVERLAP.",
        )
        rotate.add_argument(
            "--expires",
            metavar="WHEN",
            help="When the new key expires, as for mint; by default when the old one would have.",
        )

        revoke = command("revoke", "End a key now, for good.")
        takes_id(revoke)
        revoke.add_argument("--reason", help="Why, for whoever asks later.")
        revoke.add_argument("--by", metavar="USERNAME", help="The user who revokes it.")

        audit = command(
            "audit",
            "Tell what happened to keys, oldest first.",
            "All of it as CSV or JSON lines with --format, else the newest events as a table.",
        )
        audit.add_argument(
            "--format", choices=list(FORMATS), help="Print every event, for other programs."
        )
        audit.add_argument("--user", metavar="USERNAME", help="Of this user's tokens only.")
        audit.add_argument("--project", metavar="SLUG", help="Of this project's keys only.")
        audit.add_argument("--key", metavar="ID", help="Of this key only, even a deleted one.")
        audit.add_argument("--event", choices=AuditEvent.Event.values, help="Of this kind only.")
        audit.add_argument("--since", metavar="WHEN", help="From this date, or date and time, on.")
        audit.add_argument("--until", metavar="WHEN", help="Before this date, or date and time.")
        audit.add_argument(
            "--limit", type=int, default=100, help="At most so many in the table or --json."
        )

        prune = command(
            "prune",
            "Roll up and delete old counts of use.",
            "Run it every night or every week: it keeps the tables of daily counts small.",
        )
        prune.add_argument(
            "--daily",
            metavar="DURATION",
            default="90d",
            help="For how long there is a count a day; then there is one a month "
            "(default: %(default)s).",
        )
        prune.add_argument(
            "--keep",
            metavar="DURATION",
            default="2y",
            help="When even those are deleted (default: %(default)s).",
        )

        command(
            "notify",
            "Mail the owners of keys that end within 7 days, and again within one.",
            "Run it daily. Each is told once, however often and wherever it runs. The audit log "
            "is told of the keys that have expired.",
        )

        edit = command(
            "edit",
            "Change a key's name, scopes, projects or expiry, from the next request on.",
            "What is not given stays as it is.",
        )
        takes_id(edit)
        edit.add_argument("--name", help="A new name.")
        edit.add_argument(
            "--scope",
            metavar="SCOPE",
            action="append",
            help="All scopes that it is to have (may be given several times).",
        )
        edit.add_argument(
            "--project",
            metavar="SLUG",
            action="append",
            help="All projects that a personal access token is to be restricted to (may be given "
            "several times).",
        )
        edit.add_argument(
            "--all-projects",
            action="store_true",
            help="Lift a personal access token's restriction to some projects.",
        )
        edit.add_argument("--expires", metavar="WHEN", help="When it expires, as for mint.")
        edit.add_argument(
            "--allow-network",
            metavar="CIDR",
            action="append",
            help="All networks from which it is to be allowed; `any` for no bound.",
        )
        edit.add_argument(
            "--rate-limit",
            metavar="RATE",
            action="append",
            help="All rate limits that it is to have; `none` for no bound.",
        )
        edit.add_argument("--by", metavar="USERNAME", help="The user who changes it.")

        approve = command("approve", "Let a key be used that awaits approval.")
        takes_id(approve)
        approve.add_argument("--by", metavar="USERNAME", help="The user who approves it.")

        reject = command("reject", "Revoke a key that awaits approval.")
        takes_id(reject)
        reject.add_argument("--reason", help="Why, for whoever asks later.")
        reject.add_argument("--by", metavar="USERNAME", help="The user who rejects it.")

        command(
            "audit-policy",
            "List keys that the policy of today would not let be made, and why.",
            "Exits with 1 if there are any.",
        )

        verify = command(
            "verify",
            "Tell whose credential comes on standard input.",
            "Exits with 0 if it is good, and with 1 and the name of the refusal if not. It does "
            "not count as a use of the key.",
        )
        verify.add_argument("misplaced", nargs="*", help=SUPPRESS)

    def handle(self, *args: Any, **options: Any) -> None:
        colors = self.style.SUCCESS("x") != "x" and not os.environ.get("NO_COLOR")
        self._screen = Screen(
            self.stdout, color=options["force_color"] or (colors and self.stdout.isatty())
        )
        self._notes = Screen(self.stderr, color=False)
        self._as_json: bool = options["json"]
        self._interactive = not self._as_json and is_interactive()
        try:
            arguments.refuse_secrets(options.values())
            getattr(self, "_" + options["subcommand"].replace("-", "_"))(**options)
        except LifecycleError as error:
            if self._as_json:
                self._json({"code": error.code, "detail": error.message, "field": error.field})
            raise CommandError(error.message) from error

    def _mint(
        self,
        *,
        user: str | None,
        project: list[str] | None,
        name: str | None,
        scope: list[str] | None,
        expires: str | None,
        allow_network: list[str] | None,
        rate_limit: list[str] | None,
        no_direct_use: bool,
        **options: Any,
    ) -> None:
        bounds: dict[str, Any] = {
            "allowed_networks": allow_network or (),
            "rate_limits": rate_limit or (),
            "direct_use": not no_direct_use,
        }
        names = [word for words in scope or () for word in words.split()]
        if not self._interactive:
            _require({"--user or --project": user or project, "--name": name, "--scope": names})
        owner = arguments.find_user(user) if user else None
        projects = [arguments.find_project(slug) for slug in project or ()]
        if owner is None and not projects:
            owner, projects = self._ask_owner()
        if owner is None and len(projects) > 1:
            message = "A project key belongs to one project: give one --project, or a --user."
            raise LifecycleError("several_projects", message, "project")
        name = name or ask(self._notes, "Name: ", not_empty)
        names = names or ask_scopes(self._notes)
        if owner is None:
            expires_at = arguments.expiry("never" if expires is None else expires)
            minted: lifecycle.Minted[Any] = lifecycle.mint(
                project=projects[0], name=name, scopes=names, expires_at=expires_at, **bounds
            )
        else:
            expires_at = arguments.expiry(_PAT_LIFETIME if expires is None else expires)
            minted = lifecycle.mint(
                user=owner,
                projects=projects or None,
                name=name,
                scopes=names,
                expires_at=expires_at,
                **bounds,
            )
        self._reveal(minted)

    def _ask_owner(self) -> tuple[Any, list[Any]]:
        user = ask(
            self._notes,
            "Username (empty for a project key): ",
            lambda answer: arguments.find_user(answer) if answer else None,
        )
        if user is not None:
            return user, []
        return None, [ask(self._notes, "Slug of the project: ", arguments.find_project)]

    def _list(
        self,
        *,
        user: str | None,
        project: str | None,
        kind: str | None,
        limit: int,
        **options: Any,
    ) -> None:
        if limit < 1:
            raise LifecycleError("invalid_limit", "--limit takes a number from 1.", "limit")
        kinds = [kind] if kind else list(KINDS)
        owner = arguments.find_user(user) if user else None
        inside = arguments.find_project(project) if project else None
        found = heapq.merge(
            *(_keys(each, owner, inside, options["all"], limit + 1) for each in kinds),
            key=attrgetter("created_at"),
            reverse=True,
        )
        records = map(record, islice(found, limit))
        if self._as_json:
            self._json_list(records)
        elif rows := [_row(each) for each in records]:
            self._screen.table(_COLUMNS, rows, _EXPENDABLE)
        else:
            self._screen.line(
                "No keys." if options["all"] else "No live keys; --all lists the others too."
            )
        if next(found, None) is not None:
            self._notes.line(f"There are more than these {limit}; --limit sets how many to list.")

    def _show(self, *, public_id: str, **options: Any) -> None:
        key = arguments.find_key(public_id)
        facts, chain = record(key), [each.public_id for each in key.chain()]
        if self._as_json:
            self._json(facts | {"rotation_chain": chain})
        else:
            self._screen.facts(facts | {"rotation_chain": " -> ".join(chain)})

    def _rotate(
        self, *, public_id: str, overlap: str | None, expires: str | None, **options: Any
    ) -> None:
        key = arguments.find_key(public_id)
        if self._interactive:
            self._preview("To be rotated", key)
        minted: lifecycle.Minted[Any] = lifecycle.rotate(
            key,
            overlap=arguments.overlap(overlap) if overlap is not None else None,
            expires_at=arguments.expiry(expires) if expires is not None else lifecycle.KEEP,
        )
        ends = record(key)["expires_at"]
        self._reveal(minted, replaces_expires_at=ends)
        if not self._as_json:
            self._screen.line(
                f"\nIt replaces {public_id}, which ends at {show('expires_at', ends)}."
            )

    def _revoke(
        self, *, public_id: str, reason: str | None, by: str | None, **options: Any
    ) -> None:
        if not self._interactive:
            _require({"--reason": reason})
        key = arguments.find_key(public_id)
        user = arguments.find_user(by) if by else None
        if self._interactive:
            self._preview("To be revoked", key)
            reason = reason or ask(self._notes, "Reason: ", not_empty)
        revoked = lifecycle.revoke(key, by=user, reason=reason or "")
        facts = record(key)
        if self._as_json:
            self._json(facts)
        elif revoked:
            self._screen.line(f"Revoked {key}: every request with it is refused from now on.")
        else:
            when = show("revoked_at", facts["revoked_at"])
            self._screen.line(
                f"{key} was revoked already, at {when}, and that stays so: {key.revoked_reason}"
            )
        for other in key.chain():
            if other.state() is State.LIVE:
                self._notes.line(f"{other.public_id}, of the same chain of rotations, is live.")

    def _notify(self, **options: Any) -> None:
        done = notices.notify()
        if self._as_json:
            self._json(done)
        else:
            self._screen.line(
                f"Told the owners of {done['notified']} keys that they end soon; "
                f"{done['expired']} have expired."
            )
        if done["failed"]:
            raise CommandError(f"{done['failed']} mails could not be sent; the log says why.")

    def _audit(self, *, limit: int, **options: Any) -> None:
        events = _events(**options)
        if options["format"]:
            lines, _media_type = FORMATS[options["format"]]
            for line in lines(events.order_by("pk").iterator(chunk_size=_CHUNK)):
                self.stdout.write(line, ending="")
            return
        if limit < 1:
            raise LifecycleError("invalid_limit", "--limit takes a number from 1.", "limit")
        newest = [audit.record(event) for event in events.order_by("-pk")[:limit]]
        facts = newest[::-1]
        if self._as_json:
            self._json_list(facts)
        elif facts:
            rows = [[show(name, each[name]) for name in _AUDIT_FIELDS] for each in facts]
            self._screen.table([name.upper() for name in _AUDIT_FIELDS], rows, ("NAME", "USING"))
        else:
            self._screen.line("Nothing happened.")

    def _edit(
        self,
        *,
        public_id: str,
        name: str | None,
        scope: list[str] | None,
        project: list[str] | None,
        all_projects: bool,
        expires: str | None,
        allow_network: list[str] | None,
        rate_limit: list[str] | None,
        by: str | None,
        **options: Any,
    ) -> None:
        key = arguments.find_key(public_id)
        if project and all_projects:
            message = "Either --project or --all-projects."
            raise LifecycleError("contradictory_arguments", message, "projects")
        changes: dict[str, Any] = {}
        if name is not None:
            changes["name"] = name
        if scope is not None:
            changes["scopes"] = [word for words in scope for word in words.split()]
        if project or all_projects:
            if not isinstance(key, PersonalAccessToken):
                message = "A project key belongs to one project, for good: mint another."
                raise LifecycleError("not_editable", message, "projects")
            changes["projects"] = None
            if project:
                changes["projects"] = [arguments.find_project(slug) for slug in project]
        if expires is not None:
            changes["expires_at"] = arguments.expiry(expires)
        if allow_network is not None:
            changes["allowed_networks"] = [] if allow_network == ["any"] else allow_network
        if rate_limit is not None:
            changes["rate_limits"] = [] if rate_limit == ["none"] else rate_limit
        if not changes:
            options_ = (
                "--name, --scope, --project, --all-projects, --expires, --allow-network, "
                "--rate-limit"
            )
            message = f"Say what to change, with one or more of {options_}."
            raise LifecycleError("missing_argument", message)
        user = arguments.find_user(by) if by else None
        changed = lifecycle.edit(key, by=user, **changes)
        facts = record(arguments.find_key(public_id))
        if self._as_json:
            before_and_after = {f: {"before": b, "after": a} for f, (b, a) in changed.items()}
            return self._json(facts | {"changes": before_and_after})
        for field, (before, after) in changed.items():
            told = (show(field, value) for value in (before, after))
            self._screen.line(f"{field.replace('_', ' ')}: {' -> '.join(told)}")
        if not changed:
            self._screen.line("It was so already; nothing was changed.")
        return None

    def _approve(self, *, public_id: str, by: str | None, **options: Any) -> None:
        key = arguments.find_key(public_id)
        lifecycle.approve(key, by=arguments.find_user(by) if by else None)
        if self._as_json:
            self._json(record(key))
        else:
            self._screen.line(f"Approved {key}: it may be used from now on.")

    def _reject(
        self, *, public_id: str, reason: str | None, by: str | None, **options: Any
    ) -> None:
        if not self._interactive:
            _require({"--reason": reason})
        key = arguments.find_key(public_id)
        user = arguments.find_user(by) if by else None
        reason = reason or ask(self._notes, "Reason: ", not_empty)
        lifecycle.reject(key, by=user, reason=reason)
        if self._as_json:
            self._json(record(key))
        else:
            self._screen.line(f"Rejected {key}: it is revoked.")

    def _audit_policy(self, **options: Any) -> None:
        count = 0

        def counted() -> Iterator[dict[str, Any]]:
            nonlocal count
            for each in violations():
                count += 1
                yield each

        if self._as_json:
            self._json_list(counted())
        else:
            for each in counted():
                owner = each["user"] or each["project"]
                self._screen.line(f"{each['id']}  {each['kind']}  {owner}  {each['name']}")
                for violation in each["violations"]:
                    self._screen.line(f"    {violation['code']}: {violation['detail']}")
        if count:
            raise CommandError(f"{count} live keys that the policy would not let be made today.")
        self._notes.line("The policy would let all live keys be made today.")

    def _prune(self, *, daily: str, keep: str, **options: Any) -> None:
        daily_for = arguments.duration(daily, "daily")
        kept_for = arguments.duration(keep, "keep")
        if not timedelta(days=31) <= daily_for <= kept_for:
            message = "--daily takes 31d or more, and --keep no less than that."
            raise LifecycleError("invalid_duration", message, "daily")
        deleted = usage.prune(daily_for, kept_for)
        if self._as_json:
            self._json({"deleted": deleted})
        else:
            self._screen.line(f"{deleted} rows fewer.")

    @sensitive_variables("text")
    def _verify(self, *, misplaced: list[str], **options: Any) -> None:
        if misplaced:
            raise arguments.secret_in_arguments()
        text = read_credential()
        try:
            if not text:
                raise Refused(refusals.NOT_AUTHENTICATED)
            access = verify(text, counts_as_use=False)
        except Refused as refused:
            refusal = refused.refusal
        else:
            facts = access.facts()
            return self._json(facts) if self._as_json else self._screen.facts(facts)
        detail = str(refusal.message) if text else "Nothing came on standard input."
        if self._as_json:
            self._json({"code": refusal.code, "detail": detail})
        else:
            self._screen.line(refusal.code)
        raise CommandError(detail)

    def _reveal(self, minted: lifecycle.Minted[Any], **more: Any) -> None:
        """Show a new key's token: the only place that does."""
        facts = record(minted.key)
        if self._as_json:
            self._json({"token": minted.token} | facts | more)
        else:
            self._screen.line(minted.token)
            self._screen.line(_SHOWN_ONCE)
            self._screen.facts(facts)

    def _preview(self, title: str, key: AnyKey) -> None:
        self._notes.line(f"{title}:")
        self._notes.facts(record(key))
        self._notes.line()

    def _json(self, value: Any) -> None:
        self.stdout.write(json.dumps(value, indent=2))

    def _json_list(self, records: Iterable[dict[str, Any]]) -> None:
        """A record to a line, written as they come."""
        self.stdout.write("[", ending="")
        separator = "\n"
        for each in records:
            self.stdout.write(separator + json.dumps(each), ending="")
            separator = ",\n"
        self.stdout.write("\n]")


def _events(
    *,
    user: str | None,
    project: str | None,
    key: str | None,
    event: str | None,
    since: str | None,
    until: str | None,
    **options: Any,
) -> Any:
    events = AuditEvent.objects.all()
    if user:
        events = events.of(arguments.find_user(user))
    if project:
        events = events.of(arguments.find_project(project))
    if key:
        events = events.filter(public_id=arguments.clean_id(key))
    if event:
        events = events.filter(event=event)
    if since:
        events = events.filter(at__gte=arguments.moment(since, "since"))
    if until:
        events = events.filter(at__lt=arguments.moment(until, "until"))
    return events


def _require(given: Mapping[str, object]) -> None:
    if missing := [option for option, value in given.items() if not value]:
        message = f"Missing: {', '.join(missing)}. On a terminal you would be asked."
        raise LifecycleError("missing_argument", message, missing[0].split()[0].lstrip("-"))


def _keys(kind: str, owner: Any, project: Any, everything: bool, limit: int) -> Iterator[AnyKey]:
    """Newest first."""
    model = KINDS[kind]
    is_pat = model is PersonalAccessToken
    keys = with_facts(model)
    if owner is not None:
        keys = keys.filter(user=owner) if is_pat else keys.none()
    if project is not None:
        keys = keys.filter(projects=project) if is_pat else keys.filter(project=project)
    if not everything:
        keys = keys.filter(live())
    return iter(keys[:limit].iterator(chunk_size=_CHUNK))


def _row(facts: dict[str, Any]) -> list[str]:
    rotated = facts["state"] == State.LIVE and facts["rotated_at"]
    return [
        facts["id"],
        KINDS[facts["kind"]].KIND,
        facts["name"],
        facts["user"] or facts["project"],
        *(show(name, facts[name]) for name in ("projects", "scopes", "expires_at", "last_used_at")),
        facts["state"] + (" (rotated)" if rotated else ""),
    ]
