import atexit

import httpx
import psycopg
from django.contrib.auth import get_user_model
from django.core.management import call_command
from django.db import connection, connections
from django_tenants.utils import schema_context

from tests.tenants.customers.models import Client, Domain

NAME = connection.settings_dict["NAME"]


def administer(statement):
    names = {"user": "USER", "password": "PASSWORD", "host": "HOST"}
    to = {name: connection.settings_dict[key] for name, key in names.items()}
    with psycopg.connect(dbname="postgres", autocommit=True, **to) as server:
        server.execute(statement)


def drop():
    connections.close_all()
    administer(f"DROP DATABASE {NAME} WITH (FORCE)")


def migrate(*words, **options):
    administer(f"CREATE DATABASE {NAME}")
    atexit.register(drop)
    call_command("migrate_schemas", shared=True, **options)
    for name, domain in (("one", "127.0.0.1"), ("two", "localhost")):
        client = Client(schema_name=name, name=name)
        client.save(verbosity=0)  # migrates the schema
        Domain.objects.create(domain=domain, tenant=client)
    connection.set_tenant(Client.objects.get(name="one"))


def walk(site):
    other = site.url.replace("127.0.0.1", "localhost")
    one = site.program("--user", "ada")
    with schema_context("two"):
        get_user_model().objects.create_user("ada")
        two = site.program("--user", "ada")
    for client, own, foreign in ((one, site.url, other), (two, other, site.url)):
        assert client.get(f"{own}/api/who/").status_code == 200
        answer = client.get(f"{foreign}/api/who/")
        assert (answer.status_code, answer.json()["code"]) == (401, "invalid_key")
    assert site.browser.get(f"{site.url}/settings/keys/").status_code == 200
    answer = httpx.get(f"{other}/settings/keys/", cookies=dict(site.browser.cookies))
    assert answer.status_code == 302  # the session is of the other customer
