"""``manage.py apikeys inventory`` prints a table, JSON or CSV."""

import csv
import io

from apikeys.keys import inventory
from tests.factories import UserFactory, mint_key, mint_pat


def test_table_names_states_and_widest_keys(apikeys):
    key = mint_pat(UserFactory(username="ada"), scopes=["payments:read", "reports:read"]).key
    mint_key()
    done = apikeys("inventory")

    assert done.code == 0
    lines = [line.split() for line in done.out.splitlines()]
    assert ["KEYS", "PERSONAL", "ACCESS", "TOKEN", "PROJECT", "KEY"] in lines
    assert ["paused", "0", "0"] in lines
    assert ["active,", "never", "used", "1", "1"] in lines
    assert ["clients", "0"] in lines
    assert [key.public_id, "personal_access_token", "ci", "ada", "2", "yes"] in [
        line[:6] for line in lines
    ] or key.public_id in done.out
    assert "Denials in projects: 0" in done.out


def test_json_and_csv_have_the_same_numbers(apikeys):
    mint_pat()
    found = apikeys("inventory", "--json").json
    rows = list(csv.DictReader(io.StringIO(apikeys("inventory", "--csv").out)))

    assert found["keys"]["personal_access_token"]["live"] == 1
    assert set(found) == {"at", "keys", "widest", "denials", "others"}
    assert tuple(rows[0]) == inventory.COLUMNS
    assert {"list": "live", "kind": "personal_access_token", "number": "1"}.items() <= next(
        row for row in rows if row["list"] == "live"
    ).items()


def test_an_empty_site_has_an_inventory(apikeys):
    done = apikeys("inventory")
    assert done.code == 0
    assert ["total", "0", "0"] in [line.split() for line in done.out.splitlines()]
