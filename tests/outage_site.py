"""Makes what ``tests.test_outage_table`` sends: ``python -m tests.outage_site STATES DOOMED``.

Prints JSON: credentials of every kind that stay, and new ones for each state.
"""

import json
import os
import sys

import django


def main(states: int, doomed: int) -> str:
    from django.test.utils import setup_test_environment

    setup_test_environment()
    from apikeys import lifecycle
    from tests.endpoints import Site
    from tests.factories import mint_key, mint_pat, with_wrong_secret
    from tests.prepared import create_tables

    create_tables()
    site = Site()

    def of_every_kind() -> dict[str, str]:
        token = mint_pat(site.user)
        answer = site.send(site.exchange(token.token)).json()
        return {
            "token": token.token,
            "key": mint_key(site.project).token,
            "OAuth token": answer["access_token"],
        }

    def for_a_state() -> dict[str, object]:
        ended = mint_pat(site.user)
        lifecycle.revoke(ended.key)
        revoked_later = [mint_pat(site.user) for _ in range(doomed)]
        return {
            "fresh": of_every_kind(),
            "wrong": with_wrong_secret(mint_pat(site.user).token),
            "ended": ended.token,
            "subject": mint_pat(site.user).token,
            "by_api": mint_pat(site.user).key.public_id,
            "by_command": mint_pat(site.user).key.public_id,
            "doomed": [(each.token, each.key.public_id) for each in revoked_later],
        }

    facts = {
        "kept": of_every_kind(),
        "manager": site.manager.token,
        "session": site.browser.cookies["sessionid"].value,
        "states": [for_a_state() for _ in range(states)],
    }
    return json.dumps(facts)


if __name__ == "__main__":
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.server_settings"
    django.setup()
    from apikeys.testing import fast_hashing

    with fast_hashing():
        print(main(*map(int, sys.argv[1:])))
