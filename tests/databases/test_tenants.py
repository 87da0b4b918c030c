"""The cached rows and the uses of tenants stay separate."""

import pytest
from django.core import checks
from django.db import ProgrammingError, connection, connections

from apikeys import cache, lifecycle, usage
from apikeys.cache.checks import check_cache
from apikeys.databases import tenants
from apikeys.databases.tenants import Place
from apikeys.models import PersonalAccessToken
from apikeys.refusals import Refused
from apikeys.verify import recall, verify
from tests.factories import mint_pat


@pytest.fixture(autouse=True)
def forgotten(monkeypatch):
    monkeypatch.setattr(tenants, "_has_schemas", {})
    monkeypatch.setattr(tenants, "_changed_by_sql", False)


@pytest.fixture
def cached(settings, transactional_db):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}


class Engine:
    """The attributes that an engine for tenants adds to a connection."""

    def __init__(self):
        self.enter("one")
        connection.set_schema = self.enter

    def enter(self, name):
        connection.schema_name = name


@pytest.fixture
def schemas(transactional_db):
    yield Engine()
    del connection.schema_name, connection.set_schema


def test_rows_are_cached_per_schema(cached, schemas, django_assert_num_queries):
    minted = mint_pat()
    verify(minted.token)
    with django_assert_num_queries(0):
        verify(minted.token)
    schemas.enter("two")
    with django_assert_num_queries(1):
        verify(minted.token)
    schemas.enter("one")
    with django_assert_num_queries(0):
        verify(minted.token)


def test_a_revocation_drops_the_row_in_its_schema(cached, schemas):
    minted = mint_pat()
    verify(minted.token)
    lifecycle.revoke(minted.key)
    with pytest.raises(Refused, match="revoked_key"):
        verify(minted.token)


def test_the_event_loop_uses_no_cached_rows_of_tenants(cached, schemas):
    minted = mint_pat()
    verify(minted.token)
    assert recall(minted.token) is None


class TwoDatabases:
    """A router that selects a separate database for each tenant."""

    tenant = "default"

    def db_for_read(self, model, **hints):
        return self.tenant

    db_for_write = db_for_read


def test_rows_are_cached_per_database(cached, settings, monkeypatch):
    router = TwoDatabases()
    settings.DATABASE_ROUTERS = [router]
    minted = mint_pat()
    verify(minted.token)
    assert cache.peek(*lookup_of(minted)) is not None
    # The same database under another alias.
    monkeypatch.setitem(connections.settings, "other", connections.settings["default"])
    monkeypatch.setattr(tenants, "_has_schemas", {"default": False, "other": False})
    router.tenant = "other"
    assert tenants.place_of(PersonalAccessToken) == Place("other")
    assert cache.peek(*lookup_of(minted)) is None
    router.tenant = "default"


def lookup_of(minted):
    from apikeys.verify import _LOOKUPS

    return _LOOKUPS["pat"], minted.key.public_id


def test_uses_are_written_in_the_schema_of_the_key(transactional_db, schemas):
    minted = mint_pat()
    verify(minted.token)
    schemas.enter("two")
    entered = []
    connection.set_schema = lambda name: (entered.append(name), schemas.enter(name))
    usage.flush()
    assert entered == ["one", "two"]
    minted.key.refresh_from_db()
    assert minted.key.last_used_at is not None


def test_uses_of_a_deleted_tenant_are_dropped(transactional_db, schemas, caplog):
    gone, there = mint_pat(), mint_pat()
    verify(gone.token)
    schemas.enter("two")
    verify(there.token)

    def enter(name):
        schemas.enter(name)
        if name == "one":
            raise ProgrammingError("no such schema")

    connection.set_schema = enter
    usage.flush()
    there.key.refresh_from_db()
    assert there.key.last_used_at is not None
    assert "one" in caplog.text
    assert usage.flush() == 0


@pytest.mark.skipif(connection.vendor != "postgresql", reason="a setting of PostgreSQL")
class TestSearchPath:
    """The site changes the search path with SQL, without an engine for tenants."""

    @pytest.fixture(autouse=True)
    def schema(self, cached):
        with connection.cursor() as cursor:
            cursor.execute("CREATE SCHEMA tenant")
            for model in (PersonalAccessToken, *usage.counts.USAGE.values()):
                table = model._meta.db_table
                cursor.execute(f"CREATE TABLE tenant.{table} (LIKE public.{table} INCLUDING ALL)")
        yield
        with connection.cursor() as cursor:
            cursor.execute("SET search_path = public")
            cursor.execute("DROP SCHEMA tenant CASCADE")

    def enter(self, name):
        with connection.cursor() as cursor:
            cursor.execute(f"SET search_path = {name}, public")

    def test_nothing_is_kept_in_memory(self):
        minted = mint_pat()
        verify(minted.token)
        self.enter("tenant")
        with pytest.raises(Refused, match="invalid_key"):
            verify(minted.token)
        self.enter("public")
        assert verify(minted.token).user == minted.key.user

    def test_uses_are_written_to_the_schema_of_the_key(self):
        minted = mint_pat()
        self.enter("tenant")
        minted.key.save(force_insert=True)  # another tenant's key with the same primary key
        self.enter("public")
        verify(minted.token)
        self.enter("tenant")
        usage.flush()
        assert PersonalAccessToken.objects.get().last_used_at is None
        self.enter("public")
        assert PersonalAccessToken.objects.get().last_used_at is not None


def errors(settings, **databases):
    settings.DATABASES = {**settings.DATABASES, **databases}
    return {each.id for each in check_cache() if isinstance(each, checks.Error)}


@pytest.mark.filterwarnings("ignore:Overriding setting DATABASES")
@pytest.mark.parametrize(
    "engine", ["django_tenants.postgresql_backend", "django_pgschemas.postgresql"]
)
def test_the_cache_is_refused_with_a_schema_for_each_tenant(settings, engine):
    tenant = {"ENGINE": engine, "NAME": "x"}
    assert "apikeys.E026" not in errors(settings, tenants=tenant)
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
    assert "apikeys.E026" in errors(settings, tenants=tenant)


def test_the_cache_is_taken_with_one_schema(settings):
    settings.APIKEYS = {**settings.APIKEYS, "CACHE": {"TIMEOUT": 60}}
    assert "apikeys.E026" not in {each.id for each in check_cache()}
