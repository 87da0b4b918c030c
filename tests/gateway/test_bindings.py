"""Manage bindings in the admin, the JSON API and the command, and require them in DRF views."""

import io
import json

import pytest
from django.contrib.auth.models import Permission
from django.core.exceptions import ValidationError
from django.core.management import CommandError, call_command
from django.db import IntegrityError, transaction
from django.test import Client
from rest_framework.response import Response
from rest_framework.test import APIRequestFactory, force_authenticate
from rest_framework.views import APIView

from apikeys import reach, usage
from apikeys.drf import BearerAuthentication, HasBinding
from apikeys.gateway.models import ResourceBinding, Route
from apikeys.models import EndedUse
from tests.factories import ProjectFactory, UserFactory, bearer, mint_key, mint_pat


def bound():
    return set(
        ResourceBinding.objects.values_list("user__username", "project__slug", "kind", "identifier")
    )


# Validation


@pytest.mark.parametrize("owner", ["nobody", "both"])
def test_a_binding_has_exactly_one_owner(owner, engine, ada):
    owners = {} if owner == "nobody" else {"user": ada, "project": engine}
    binding = ResourceBinding(kind="subscriber_id", identifier="1", **owners)
    with pytest.raises(ValidationError):
        binding.full_clean()
    with pytest.raises(IntegrityError), transaction.atomic():
        binding.save()


@pytest.mark.parametrize(
    "identifier", ["", "a b", "a/b", "..", "a.", "a%2e", "a;b", "a\x00", "\uff0f"]
)
def test_an_identifier_without_a_path_spelling_is_refused(identifier, ada):
    with pytest.raises(ValidationError):
        ResourceBinding(user=ada, kind="subscriber_id", identifier=identifier).full_clean()


def test_a_binding_is_stored_once(ada, engine, bind):
    for owner in ({"user": ada}, {"project": engine}):
        bind("1", **owner)
        with pytest.raises(IntegrityError), transaction.atomic():
            bind("1", **owner)


# DRF


class Offers(APIView):
    authentication_classes = [BearerAuthentication]
    permission_classes = [HasBinding]
    required_scopes = ["payments:read"]
    bindings = ["subscriber_id"]

    def get(self, request, **kwargs):
        return Response({})


def ask(token=None, user=None, view=Offers, **kwargs):
    request = APIRequestFactory().get("/", headers=bearer(token) if token else {})
    if user is not None:
        force_authenticate(request, user=user)
    response = view.as_view()(request, **kwargs).render()
    return response.status_code, response.data.get("code")


def test_a_view_requires_a_binding(key, pat):
    for token in (key, pat):
        assert ask(token, subscriber_id="1001") == (200, None)
        assert ask(token, subscriber_id="1002") == (403, "not_bound")
    assert ask(subscriber_id="1001")[0] == 401


def test_a_denied_token_is_refused_by_name_and_counted(key, ada, engine):
    minted = mint_pat(ada)
    reach.deny(engine, reach.find(engine, minted.key.public_id))
    assert ask(minted.token, subscriber_id="1001") == (403, "denied_in_project")
    assert ask(minted.token, subscriber_id="1002") == (403, "not_bound")
    assert ask(key, subscriber_id="1002") == (403, "not_bound")
    usage.flush()
    assert EndedUse.objects.get().count == 1


def test_a_view_can_map_keywords_to_kinds(engine, bind):
    class Other(Offers):
        bindings = {"pk": "subscriber_id"}

    bind("7", project=engine)
    token = mint_key(engine).token
    assert ask(token, view=Other, pk=7) == (200, None)
    assert ask(token, view=Other, pk=8) == (403, "not_bound")


def test_a_missing_scope_is_refused_first(engine, bind):
    bind("1001", project=engine)
    token = mint_key(engine, scopes=["reports:read"]).token
    assert ask(token, subscriber_id="1001") == (403, "insufficient_scope")


@pytest.mark.parametrize("declared", [None, [], {}, "subscriber_id"])
def test_a_view_without_a_binding_refuses_every_request(key, ada, declared):
    class Undeclared(Offers):
        bindings = declared

    assert ask(key, view=Undeclared, subscriber_id="1001") == (403, "scope_not_declared")
    assert ask(user=ada, view=Undeclared, subscriber_id="1001")[0] == 403


def test_session_users_need_a_binding(key, ada):
    assert ask(user=ada, subscriber_id="1001") == (200, None)
    assert ask(user=UserFactory(), subscriber_id="1001") == (403, "not_bound")


# The JSON API


@pytest.fixture
def keeper(db, settings):
    """Create a user with Django's permissions on bindings and every scope."""
    more = {"bindings:read": "See bindings", "bindings:write": "Change bindings"}
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": settings.APIKEYS["SCOPES"] | more}
    user = UserFactory(username="keeper")
    user.user_permissions.set(
        Permission.objects.filter(
            content_type__app_label="apikeys_gateway", content_type__model="resourcebinding"
        )
    )
    return user


def call(method, path="", body=None, token=None, user=None, **headers):
    client = Client()
    if user is not None:
        client.force_login(user)
    data = b"" if body is None else json.dumps(body)
    headers |= bearer(token) if token else {}
    return client.generic(
        method, f"/api/bindings/{path}", data, "application/json", headers=headers
    )


def test_bindings_are_created_listed_and_deleted(keeper, engine):
    token = mint_pat(keeper, scopes=["bindings:write"]).token
    body = {"project": "analytical-engine", "kind": "subscriber_id", "identifier": "1001"}
    made = call("POST", body=body, token=token)
    assert made.status_code == 201, made.content
    assert made.json()["user"] is None
    assert bound() == {(None, "analytical-engine", "subscriber_id", "1001")}

    assert [b["id"] for b in call("GET", token=token).json()["results"]] == [made.json()["id"]]
    found = call("GET", "?identifier=1001&project=analytical-engine", token=token).json()
    assert len(found["results"]) == 1
    assert call("GET", "?identifier=1002", token=token).json()["results"] == []
    assert call("GET", "?user=%00", token=token).status_code == 400
    one = f"{made.json()['id']}/"
    assert call("GET", one, token=token).json() == made.json()
    assert call("DELETE", one, token=token).status_code == 204
    assert bound() == set()


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({"kind": "k", "identifier": "1"}, None),
        ({"user": "keeper", "project": "analytical-engine", "kind": "k", "identifier": "1"}, None),
        ({"user": "nobody", "kind": "k", "identifier": "1"}, "user"),
        ({"user": "a\x00b", "kind": "k", "identifier": "1"}, "user"),
        ({"user": "keeper", "kind": "k k", "identifier": "1"}, "kind"),
        ({"user": "keeper", "kind": "k", "identifier": "../1"}, "identifier"),
        ({"user": "keeper", "kind": "k", "identifier": "1", "scope": "x"}, "scope"),
        ({"user": "keeper", "kind": "k"}, "identifier"),
        ([], None),
    ],
)
def test_an_invalid_body_is_refused(keeper, engine, body, field):
    token = mint_pat(keeper, scopes=["bindings:write"]).token
    answer = call("POST", body=body, token=token)
    assert answer.status_code == 400, answer.content
    assert answer.json().get("field") == field
    assert bound() == set()


def test_an_existing_binding_is_refused(keeper, bind):
    bind("1", user=keeper)
    token = mint_pat(keeper, scopes=["bindings:write"]).token
    body = {"user": "keeper", "kind": "subscriber_id", "identifier": "1"}
    answer = call("POST", body=body, token=token)
    assert answer.status_code == 400
    assert answer.json()["detail"] == "This resource is already bound to this user."


def test_callers_without_permission_cannot_create_bindings(keeper, ada, engine):
    """A project key, a user without permission, and a token without the scope are refused."""
    own = {"project": "analytical-engine", "kind": "subscriber_id", "identifier": "1002"}
    scopes = ["bindings:write"]
    tokens = [
        (mint_key(engine, scopes=scopes).token, "may_not_manage_bindings"),
        (mint_pat(ada, scopes=scopes).token, "may_not_manage_bindings"),
        (mint_pat(keeper, scopes=["bindings:read"]).token, "insufficient_scope"),
        (mint_pat(keeper, scopes=["payments:write"]).token, "insufficient_scope"),
    ]
    for token, code in tokens:
        answer = call("POST", body=own, token=token)
        assert (answer.status_code, answer.json()["code"]) == (403, code)
    assert call("GET", token=tokens[0][0]).status_code == 403
    assert call("POST", body=own).status_code == 401
    assert call("POST", body=own, user=ada).status_code == 403
    assert bound() == set()


def test_a_token_restricted_to_projects_is_refused(keeper, engine):
    engine.memberships.create(user=keeper, role="owner")
    token = mint_pat(keeper, scopes=["bindings:write"], projects=[engine]).token
    assert call("GET", token=token).status_code == 403


def test_a_session_with_permission_is_allowed(keeper):
    body = {"user": "keeper", "kind": "subscriber_id", "identifier": "1"}
    client = Client(enforce_csrf_checks=True)
    client.force_login(keeper)
    forged = client.post("/api/bindings/", body, "application/json")
    assert (forged.status_code, forged.json()["code"]) == (403, "csrf_failed")
    assert call("POST", body=body, user=keeper).status_code == 201


# The command


def run(*words):
    out, err = io.StringIO(), io.StringIO()
    error = None
    try:
        call_command("apikeys_bindings", *words, stdout=out, stderr=err)
    except CommandError as raised:
        error = str(raised)
    return out.getvalue(), err.getvalue(), error


@pytest.fixture
def csv_file(tmp_path):
    def csv_file(text, encoding="utf-8"):
        path = tmp_path / "bindings.csv"
        path.write_bytes(text.encode(encoding))
        return str(path)

    return csv_file


GOOD = "user,project,kind,identifier\nada,,subscriber_id,1\n,analytical-engine,subscriber_id,2\n"


def test_an_import_can_be_repeated(ada, csv_file):
    file = csv_file(GOOD)
    assert run("import", file, "--dry-run") == (
        "2 lines: 2 would be created, 0 already there, 0 wrong.\n",
        "",
        None,
    )
    assert bound() == set()
    assert run("import", file)[0] == "2 lines: 2 created, 0 already there, 0 wrong.\n"
    assert run("import", file)[0] == "2 lines: 0 created, 2 already there, 0 wrong.\n"
    assert bound() == {
        ("ada", None, "subscriber_id", "1"),
        (None, "analytical-engine", "subscriber_id", "2"),
    }


def test_invalid_lines_are_reported_and_skipped(ada, csv_file):
    file = csv_file(
        GOOD
        + "nobody,,subscriber_id,3\n"
        + "ada,analytical-engine,subscriber_id,4\n"
        + ",,subscriber_id,5\n"
        + "ada,,subscriber_id,../6\n"
        + "ada,,subscriber id,7\n"
        + "ada,,subscriber_id\n"
        + "a\x00a,,subscriber_id,8\n"
        + '"ada",,subscriber_id,"9"\n'
        + "\n"
        + "ada,,subscriber_id,9\n"
    )
    out, err, error = run("import", file)

    assert out == "11 lines: 3 created, 1 already there, 7 wrong.\n"
    assert [line.partition(":")[0] for line in err.splitlines()] == [
        f"Line {number}" for number in (4, 5, 6, 7, 8, 9, 10)
    ]
    assert "Unknown user 'nobody'" in err
    assert error is not None
    assert {identifier for *_, identifier in bound()} == {"1", "2", "9"}


@pytest.mark.parametrize(
    "text", ["", "\n", "ada,,x,1\n", "user,kind\n", "user,user,kind,identifier\n", "user,kind,id\n"]
)
def test_a_file_without_the_columns_is_refused(ada, csv_file, text):
    _, _, error = run("import", csv_file(text))
    assert error is not None
    assert "column" in error


def test_an_unreadable_file_is_refused(ada, csv_file, tmp_path):
    assert "cannot be read" in run("import", str(tmp_path / "nothing.csv"))[2]
    assert "UTF-8" in run("import", csv_file("é,kind,identifier\nada,k,1\n", "latin-1"))[2]


@pytest.mark.parametrize(
    ("wrong", "encoding", "told"),
    [("ada,,k,é", "latin-1", "not UTF-8"), ("ada,,k," + "x" * 200_000, "utf-8", "not CSV")],
)
def test_lines_before_an_unreadable_line_are_saved(ada, csv_file, wrong, encoding, told):
    out, err, error = run("import", csv_file(f"{GOOD}{wrong}\n", encoding))
    assert out == "3 lines: 2 created, 0 already there, 1 wrong.\n"
    assert err.startswith("Line 4: ")
    assert told in err
    assert error is not None
    assert {identifier for *_, identifier in bound()} == {"1", "2"}


@pytest.mark.slow
def test_a_long_file_takes_few_statements(ada, csv_file, django_assert_max_num_queries):
    lines = [f"ada,subscriber_id,{number}\n" for number in range(5000)]
    file = csv_file("\ufeffuser,kind,identifier\n" + "".join(lines))
    with django_assert_max_num_queries(40):
        out, _, _ = run("import", file)
    assert out == "5,000 lines: 5,000 created, 0 already there, 0 wrong.\n"
    assert ResourceBinding.objects.count() == 5000


def test_add_list_and_remove(ada):
    assert run("add", "subscriber_id", "1", "--user", "ada")[0] == "Bound subscriber_id 1.\n"
    assert "subscriber_id  1" in run("list", "--user", "ada")[0]
    assert "already" in run("add", "subscriber_id", "1", "--user", "ada")[2]
    assert "--user or --project" in run("add", "subscriber_id", "1")[2]
    assert "Unknown user" in run("add", "subscriber_id", "1", "--user", "nobody")[2]
    assert "identifier" in run("add", "subscriber_id", "../1", "--user", "ada")[2]
    assert run("remove", "subscriber_id", "1", "--user", "ada")[0] == "Unbound subscriber_id 1.\n"
    assert run("remove", "subscriber_id", "1", "--user", "ada")[2] == "This binding does not exist."
    assert run("list")[0] == "No bindings.\n"


def run_json(*words):
    out, _, error = run(*words, "--json")
    return json.loads(out), error


def test_add_list_and_remove_print_json(ada, engine):
    added, _ = run_json("add", "subscriber_id", "1", "--user", "ada")
    assert added | {"id": 0, "created_at": ""} == {
        "id": 0, "user": "ada", "project": None, "kind": "subscriber_id", "identifier": "1",
        "created_at": "",
    }  # fmt: skip
    second, _ = run_json("add", "subscriber_id", "2", "--project", "analytical-engine")
    assert (second["user"], second["project"]) == (None, "analytical-engine")
    assert run_json("list") == ([second, added], None)
    assert run_json("list", "--user", "ada") == ([added], None)
    assert run_json("remove", "subscriber_id", "1", "--user", "ada") == (added, None)
    assert run_json("list", "--kind", "other") == ([], None)


@pytest.mark.parametrize(
    ("words", "code", "field"),
    [
        (["add", "subscriber_id", "1"], "invalid_arguments", "user"),
        (["add", "subscriber_id", "1", "--user", "nobody"], "unknown_user", "user"),
        (["add", "subscriber_id", "../1", "--user", "ada"], "invalid_binding", None),
        (["remove", "subscriber_id", "1", "--user", "ada"], "unknown_binding", None),
        (["list", "--limit", "0"], "invalid_limit", "limit"),
        (["import", "nothing.csv"], "unreadable", "file"),
    ],
)
def test_a_refusal_in_json_has_a_code(ada, words, code, field):
    told, error = run_json(*words)
    assert told == {"code": code, "detail": error, "field": field}


def test_an_import_in_json_names_the_wrong_lines(ada, csv_file):
    file = csv_file(f"{GOOD}nobody,,subscriber_id,3\nada,,subscriber_id,../6\n")
    told, error = run_json("import", file)
    assert [each["line"] for each in told["errors"]] == [4, 5]
    assert "Unknown user 'nobody'" in told["errors"][0]["detail"]
    assert told | {"errors": []} == {
        "errors": [], "dry_run": False, "read": 4, "created": 2, "existing": 0, "wrong": 2,
    }  # fmt: skip
    assert error is not None
    dry, error = run_json("import", csv_file(GOOD), "--dry-run")
    assert (dry["dry_run"], dry["existing"], dry["errors"], error) == (True, 2, [], None)


def test_an_import_in_json_without_columns_is_one_refusal(ada, csv_file):
    told, error = run_json("import", csv_file("ada,,x,1\n"))
    assert told == {"code": "invalid_csv", "detail": error, "field": None}


def test_a_secret_is_not_taken_as_an_identifier(ada):
    token = mint_pat(ada).token
    told, error = run_json("add", "subscriber_id", token, "--user", "ada")
    assert told["code"] == "secret_in_arguments"
    assert token not in error


# The admin


@pytest.mark.slow
def test_the_admin_lists_bindings(admin_client, ada, bind):
    bind("1001", user=ada)
    url = "/admin/apikeys_gateway/resourcebinding/"
    for found in ("1001", "10", "ada"):
        assert "1001" in admin_client.get(url, {"q": found}).content.decode()
    assert "1001</a>" not in admin_client.get(url, {"q": "x"}).content.decode()

    form = {"kind": "subscriber_id", "identifier": "1002", "user": ada.pk, "project": ""}
    assert admin_client.post(f"{url}add/", form).status_code == 302
    wrong = admin_client.post(f"{url}add/", form | {"user": ""})
    assert "Select either a user or a project" in wrong.content.decode()
    assert ResourceBinding.objects.count() == 2


def test_the_admin_creates_a_route(admin_client):
    url = "/admin/apikeys_gateway/route/add/"
    form = {"method": "GET", "path": "/a/{b}", "scope": "payments:read", "bindings": ""}
    assert admin_client.post(url, form | {"is_active": "on"}).status_code == 302
    assert Route.objects.get().path == "/a/{b}"
    for change in ({"method": "get"}, {"path": "a"}, {"scope": "none:such"}, {"bindings": "c"}):
        assert admin_client.post(url, form | change).status_code == 200
    assert Route.objects.count() == 1


def test_deleting_an_owner_deletes_its_bindings(ada, bind):
    bind("1", user=ada)
    project = ProjectFactory()
    bind("1", project=project)
    ada.delete()
    project.delete()
    assert bound() == set()
