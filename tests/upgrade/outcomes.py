"""What becomes of the credentials of first.json: who each is and where it reaches, or why not."""

import json
from pathlib import Path

HERE = Path(__file__).parent

SETTINGS = {"SECRET_KEY": "current", "SECRET_KEY_FALLBACKS": ["previous"]}

READ, WRITE = "payments:read", "payments:write reports:read"
BOTH = ["compiler", "engine"]
EXPECTED = {
    "token whose pepper is lost": [READ, "ada", BOTH],
    "key whose pepper is lost": [WRITE, "project:engine", ["engine"]],
    "token of the previous pepper": [WRITE, "ada", BOTH],
    "key of the previous pepper": [READ, "project:engine", ["engine"]],
    "token": [WRITE, "ada", BOTH],
    "token for one project": [WRITE, "ada", ["engine"]],
    "token with an end": [READ, "ada", BOTH],
    "key": [WRITE, "project:engine", ["engine"]],
    "key with an end": [READ, "project:compiler", ["compiler"]],
    "successor of the token": [READ, "ada", ["compiler"]],
    "successor of the key": [WRITE, "project:compiler", ["compiler"]],
    "OAuth token": [READ, "ada", BOTH],
    "expired token": "expired_key",
    "expired key": "expired_key",
    "revoked token": "revoked_key",
    "revoked key": "revoked_key",
    "rotated token": "expired_key",
    "rotated key": "expired_key",
    "token of who left": "inactive_user",
    "key of a closed project": "inactive_project",
}


def texts() -> dict[str, str]:
    found: dict[str, str] = json.loads((HERE / "first.json").read_text(encoding="utf-8"))
    return found


def outcomes() -> dict[str, list[object] | str]:
    from apikeys.refusals import Refused
    from apikeys.verify import verify

    found: dict[str, list[object] | str] = {}
    for name, text in texts().items():
        try:
            access = verify(text)
        except Refused as refused:
            found[name] = refused.refusal.code
        else:
            reached = sorted(access.projects("payments:read").values_list("slug", flat=True))
            found[name] = [access.scope, access.principal.username, reached]
    return found


def main() -> None:
    """Migrate the database that the settings name, and tell."""
    import django

    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    call_command("check", fail_level="WARNING", databases=["default"])
    print(json.dumps(outcomes()))


if __name__ == "__main__":
    main()
