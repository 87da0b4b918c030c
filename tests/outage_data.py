"""Makes the tables and the credentials that ``tests.test_outages`` uses; prints them."""

import json
import os

import django


def main() -> None:
    os.environ["DJANGO_SETTINGS_MODULE"] = "tests.server_settings"
    django.setup()
    from tests.factories import mint_key, mint_pat
    from tests.prepared import create_tables

    create_tables()

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
