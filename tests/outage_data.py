"""Makes the tables and the credentials that ``tests.test_outages`` uses; prints them."""

import json
import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.server_settings"
    django.setup()
    from django.core.management import call_command

    call_command("migrate", verbosity=0)
    from tests.factories import mint_key, mint_pat

    made = {
        "kept": mint_pat(),
        "fresh": mint_key(),
        "revoked": mint_pat(),
        "narrowed": mint_pat(),
        "deactivated": mint_pat(),
    }
    print(json.dumps({name: [m.token, m.key.public_id] for name, m in made.items()}))


if __name__ == "__main__":
    main()
