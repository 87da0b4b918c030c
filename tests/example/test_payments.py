"""The example's API: a caller's own projects, and its role in each."""

import pytest

from example_project.payments.models import Payment
from tests.factories import MembershipFactory, ProjectFactory, bearer, mint_key, mint_pat

WRITE = ["payments:write"]
NEW = {"amount": "12.50", "currency": "USD", "description": "Gears"}


class Caller:
    def __init__(self, client, minted):
        self._client, self._headers = client, bearer(minted.token)

    def get(self, path="/api/payments/"):
        return self._client.get(path, headers=self._headers)

    def post(self, **data):
        return self._client.post(
            "/api/payments/", data, content_type="application/json", headers=self._headers
        )


@pytest.fixture
def compiler(db):
    return ProjectFactory(slug="compiler")


@pytest.fixture
def payments(engine, compiler):
    own = [Payment.objects.create(project=engine, amount=n) for n in (1, 2, 3)]
    return [p.pk for p in own], [Payment.objects.create(project=compiler, amount=9).pk]


@pytest.fixture
def person(client, engine):
    """A caller with this role in the project `engine`."""

    def person(role="owner", **kwargs):
        user = MembershipFactory(project=engine, role=role).user
        caller = Caller(client, mint_pat(user, **{"scopes": WRITE} | kwargs))
        caller.user = user
        return caller

    return person


@pytest.fixture
def server(client, engine):
    return Caller(client, mint_key(engine, scopes=WRITE))


def numbers(response):
    assert response.status_code == 200
    return [payment["number"] for payment in response.json()]


class TestReading:
    def test_only_the_callers_projects(self, person, server, payments):
        own, _ = payments
        assert numbers(person().get()) == numbers(server.get()) == own

    @pytest.mark.parametrize("role", ["owner", "admin", "developer", "viewer"])
    def test_every_role_reads(self, person, payments, role):
        caller = person(role)
        own, strange = payments
        assert numbers(caller.get()) == own
        response = caller.get(f"/api/payments/{own[0]}/")
        assert response.status_code == 200
        body = response.json()
        assert body.pop("created_at")
        assert body == {
            "number": own[0],
            "project": "analytical-engine",
            "amount": "1.00",
            "currency": "EUR",
            "description": "",
        }
        assert caller.get(f"/api/payments/{strange[0]}/").status_code == 404

    def test_somebody_elses_payment_is_like_none_at_all(self, person, server, payments):
        _, (strange,) = payments
        for caller in (person(), server):
            there = caller.get(f"/api/payments/{strange}/")
            nowhere = caller.get("/api/payments/999999/")
            assert there.status_code == nowhere.status_code == 404
            assert there.content == nowhere.content

    @pytest.mark.parametrize("number", ["0", "9" * 18, "9" * 19, "9" * 40, "9" * 4000])
    def test_numbers_beyond_all_payments(self, person, number):
        assert person().get(f"/api/payments/{number}/").status_code == 404

    def test_a_token_for_selected_projects(self, person, payments, compiler, client):
        caller = person()
        MembershipFactory(user=caller.user, project=compiler)
        own, strange = payments
        assert numbers(caller.get()) == own + strange
        restricted = Caller(client, mint_pat(caller.user, projects=[compiler]))
        assert numbers(restricted.get()) == strange
        assert restricted.get(f"/api/payments/{own[0]}/").status_code == 404

    def test_who_leaves_sees_nothing(self, person, payments):
        caller = person()
        caller.user.project_memberships.all().delete()
        assert numbers(caller.get()) == []

    def test_the_payments_of_a_deactivated_project(self, person, payments, engine):
        caller = person()
        engine.is_active = False
        engine.save()
        assert numbers(caller.get()) == []

    def test_needs_the_scope(self, person, payments):
        caller = person(scopes=["reports:read"])
        for path in ("/api/payments/", f"/api/payments/{payments[0][0]}/"):
            response = caller.get(path)
            assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")

    def test_a_list_costs_two_queries(self, person, payments, django_assert_num_queries):
        caller = person()
        with django_assert_num_queries(2):
            caller.get()


class TestPaying:
    @pytest.mark.parametrize("role", ["owner", "admin", "developer"])
    def test_who_may_write(self, person, engine, role):
        response = person(role).post(**NEW)
        assert response.status_code == 201
        payment = Payment.objects.get()
        assert payment.project == engine
        assert response.json() | {"created_at": ""} == NEW | {
            "number": payment.pk,
            "project": "analytical-engine",
            "created_at": "",
        }

    def test_a_project_key(self, server, engine):
        assert server.post(**NEW).status_code == 201
        assert server.post(**NEW, project="analytical-engine").status_code == 201
        assert Payment.objects.filter(project=engine).count() == 2

    @pytest.mark.parametrize("more", [{}, {"project": "analytical-engine"}])
    def test_a_viewer_does_not_though_the_token_could(self, person, more):
        response = person("viewer").post(**NEW, **more)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
        assert 'scope="payments:write"' in response["WWW-Authenticate"]
        assert not Payment.objects.exists()

    def test_a_token_that_only_reads(self, person):
        response = person(scopes=["payments:read"]).post(**NEW)
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
        assert not Payment.objects.exists()

    def test_of_several_projects_one_must_be_said(self, person, engine, compiler):
        caller = person()
        MembershipFactory(user=caller.user, project=compiler, role="developer")
        response = caller.post(**NEW)
        assert response.status_code == 400
        assert list(response.json()) == ["project"]
        assert caller.post(**NEW, project="compiler").json()["project"] == "compiler"

    def test_of_several_projects_the_one_with_the_right_is_meant(self, person, compiler):
        caller = person("viewer")
        MembershipFactory(user=caller.user, project=compiler, role="developer")
        assert caller.post(**NEW).json()["project"] == "compiler"
        response = caller.post(**NEW, project="analytical-engine")
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")

    def test_somebody_elses_project_does_not_exist(self, person, server, compiler):
        for caller in (person(), server):
            there, nowhere = (caller.post(**NEW, project=s) for s in ("compiler", "moon"))
            assert there.status_code == nowhere.status_code == 400
            assert there.json() == {
                k: [m.replace("moon", "compiler") for m in v] for k, v in nowhere.json().items()
            }
        assert not Payment.objects.exists()

    @pytest.mark.parametrize(
        "project",
        [None, "", "\x00", "a\x00b", "\ud800", 7, 1.5, True, [], ["analytical-engine"], {},
         {"slug": "analytical-engine"},
         "analytical-engine ' OR 1=1 --", "e" * 10_000, "analytical-engine\n"],
    )  # fmt: skip
    def test_a_strange_project(self, person, project):
        response = person().post(**NEW, project=project)
        assert response.status_code == 400
        assert list(response.json()) == ["project"]
        assert not Payment.objects.exists()

    @pytest.mark.parametrize(
        ("field", "value"),
        [
            ("amount", None), ("amount", ""), ("amount", "0"), ("amount", "-1"),
            ("amount", "0.001"), ("amount", "NaN"), ("amount", "Infinity"), ("amount", "1e400"),
            ("amount", "99999999999.00"), ("amount", "9" * 5000), ("amount", "one"),
            ("amount", []), ("amount", {}), ("amount", "1\x00"),
            ("currency", "usd"), ("currency", "US"), ("currency", "EURO"), ("currency", ""),
            ("currency", None), ("currency", "\xc9UR"), ("currency", "E\x00R"),
            ("description", "x" * 201), ("description", "\x00"), ("description", "\ud800"),
            ("description", None), ("description", {}), ("description", []),
        ],
    )  # fmt: skip
    def test_validation(self, person, field, value):
        response = person().post(**NEW | {field: value})
        assert response.status_code == 400
        assert list(response.json()) == [field]
        assert not Payment.objects.exists()

    @pytest.mark.parametrize("body", [b"", b"{", b"[]", b"7", b'"x"', b"null", b"\xff\xfe", b"[1]"])
    def test_a_body_that_is_not_an_object(self, client, engine, body):
        key = mint_key(engine, scopes=WRITE)
        response = client.generic(
            "POST", "/api/payments/", body, "application/json", headers=bearer(key.token)
        )
        assert response.status_code == 400
        assert response["Content-Type"] == "application/json"

    def test_what_the_server_decides_is_not_taken(self, person):
        body = person().post(**NEW, number=77, created_at="2000-01-01T00:00:00Z").json()
        assert body["number"] != 77
        assert not body["created_at"].startswith("2000")

    def test_any_text_is_kept(self, person):
        text = "Ünïcödé 🦆 <b>'\"; DROP TABLE"
        assert person().post(**NEW | {"description": text}).json()["description"] == text
        assert Payment.objects.get().description == text


class TestReport:
    def test_the_callers_projects(self, person, payments):
        assert person(scopes=["reports:read"]).get("/api/reports/").json() == [
            {"project": "analytical-engine", "currency": "EUR", "payments": 3, "total": "6.00"}
        ]

    def test_needs_its_own_scope(self, person):
        response = person(scopes=["payments:write"]).get("/api/reports/")
        assert (response.status_code, response.json()["code"]) == (403, "insufficient_scope")
