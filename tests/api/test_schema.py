"""The OpenAPI document is complete, and the API conforms to it."""

import inspect
import re
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from uuid import uuid4

import pytest
import schemathesis
from django.contrib.auth.models import Permission
from django.core.management import call_command
from django.core.signals import request_finished, request_started
from django.db import close_old_connections
from django.utils import timezone
from drf_spectacular.drainage import GENERATOR_STATS
from drf_spectacular.generators import SchemaGenerator
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.errors import Unsatisfiable
from schemathesis.generation import GenerationMode
from schemathesis.specs.openapi.checks import ignored_auth

from apikeys import lifecycle
from apikeys.api import serializers
from apikeys.api.base import JSONView
from apikeys.gateway.models import ResourceBinding
from apikeys.models import PersonalAccessToken, ProjectKey
from apikeys.restrictions import RESTRICTIONS
from example_project.wsgi import application
from tests.factories import mint_key, mint_pat
from tests.signing import ed25519_key, pem

pytestmark = pytest.mark.slow

OURS = "^/api/(tokens|projects/{slug}/keys|approvals|bindings)/"
#: The rest, whose answers need no record of a key.
OTHERS = "^/api/(token|leaked|payments|projects|reports)/"
#: How many cases each operation, caller and kind of data has, and one of the callers whose
#: requests are mostly refused before the data is read.
CASES = [pytest.param(2, 1, id="few"), pytest.param(6, 3, id="many", marks=pytest.mark.long)]
REFUSED = ("nobody", "read only", "restricted")


def test_schema_has_no_warnings(capsys):
    call_command("spectacular", "--validate", "--fail-on-warn")

    assert not GENERATOR_STATS


def test_each_operation_lists_its_required_scopes():
    paths = SchemaGenerator().get_schema(request=None, public=True)["paths"]
    ours = {p: o for p, o in paths.items() if re.match(OURS, p)}

    assert len(ours) == 26, list(ours)
    for path, operations in ours.items():
        noun = "bindings" if "bindings" in path else "keys"
        for method, operation in operations.items():
            if method != "parameters":
                scope = f"{noun}:read" if method == "get" else f"{noun}:write"
                assert operation["summary"]
                assert operation["security"] == [{"bearerAuth": [scope]}, {"session": []}]
                assert {"401", "403"} <= set(operation["responses"])


def test_descriptions_are_not_docstrings_of_base_classes():
    """drf-spectacular falls back to these docstrings, which are written for developers."""
    document = SchemaGenerator().get_schema(request=None, public=True)
    shapes = [each for each in vars(serializers).values() if isinstance(each, type)]
    views = [JSONView, *subclasses(JSONView)]
    bases = [each for each in views if any(c.__name__ != "Described" for c in subclasses(each))]
    of_bases = {inspect.cleandoc(view.__doc__) for view in bases if view.__doc__}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            if re.match(f"{OURS}|^/api/(token|leaked)/", path):
                said = operation["description"]
                assert said not in of_bases, (method, path)
                assert said.endswith("."), (method, path)
                assert "``" not in said
    for name, schema in document["components"]["schemas"].items():
        said = schema.get("description", "")
        assert "``" not in said, name
        for shape in shapes:
            own = shape.__name__.removesuffix("Serializer") in (name, name.removeprefix("Patched"))
            assert own or said != inspect.cleandoc(shape.__doc__ or "-"), name


def subclasses(view):
    for each in view.__subclasses__():
        yield each
        yield from subclasses(each)


@pytest.fixture
def one_connection(db):
    """Keep the database connection of the test open, as Django's test client does."""
    for signal in (request_started, request_finished):
        signal.disconnect(close_old_connections)
    yield
    for signal in (request_started, request_finished):
        signal.connect(close_old_connections)


@pytest.fixture
def callers(ada, engine, client, settings):
    more = {"bindings:read": "See bindings", "bindings:write": "Change bindings"}
    settings.APIKEYS = settings.APIKEYS | {"SCOPES": settings.APIKEYS["SCOPES"] | more}
    ada.user_permissions.set(Permission.objects.filter(content_type__app_label="apikeys_gateway"))
    manage = ["keys:write", "bindings:write", "payments:read"]
    client.force_login(ada)
    csrf = "a" * 32
    cookies = {"sessionid": client.cookies["sessionid"].value, "csrftoken": csrf}
    return {
        "nobody": {},
        "session": {"cookies": cookies, "headers": {"X-CSRFToken": csrf}},
        "token": bearer_of(mint_pat(ada, scopes=manage)),
        "restricted": bearer_of(
            mint_pat(
                ada,
                scopes=manage,
                projects=[engine],
                expires_at=timezone.now() + timedelta(days=9),
            )
        ),
        "project key": bearer_of(mint_key(engine, scopes=manage)),
        "read only": bearer_of(mint_pat(ada, scopes=["keys:read", "bindings:read"])),
    }


def bearer_of(minted):
    return {"headers": {"Authorization": f"Bearer {minted.token}"}}


def operations():
    document = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)
    document.config.generation.update(with_security_parameters=False)  # callers bring their own
    ours = document.include(path_regex=OURS)
    return [found.ok() for found in ours.get_all_operations()]


def existing(model, name="public_id", **those):
    return list(model.objects.filter(**those).order_by("-pk").values_list(name, flat=True)[:5])


def made_real(case, draw):
    """Make the request valid: use existing IDs and future times, which no document can know."""
    path, query, body = case.path_parameters, case.query, case.body
    if "bindings" in case.operation.path:
        if "id" in path and draw(st.booleans()):
            path["id"] = draw(st.sampled_from(existing(ResourceBinding, "pk")))
        if isinstance(body, dict):
            owner = draw(st.sampled_from(["user", "project"]))
            body |= {"user": None, "project": None, "kind": "offer"}
            body |= {owner: {"user": "ada", "project": "analytical-engine"}[owner]}
            body["identifier"] = str(uuid4())
        if query:
            query.pop("cursor", None)
        return
    if "slug" in path and draw(st.booleans()):
        path["slug"] = "analytical-engine"
    if "id" in path and draw(st.booleans()):
        # The valid bodies depend on whether the old key signs or has no direct use.
        common = {"public_key": "", "direct_use": True}
        tokens, keys = existing(PersonalAccessToken), existing(ProjectKey, **common)
        path["id"] = draw(st.sampled_from(keys if "slug" in path else tokens))
    if query:
        query.pop("cursor", None)
    if isinstance(body, dict):
        if body.get("scopes") and draw(st.booleans()):
            body |= {"scopes": ["payments:read"], "expires_at": "soon"}
        if body.get("expires_at"):
            days = draw(st.integers(1, 8) | st.integers(1, 9999))
            body["expires_at"] = (timezone.now() + timedelta(days=days)).isoformat()
        for each in RESTRICTIONS:
            if each.json.type is datetime and body.get(each.name):  # one that fits the expiry
                hours = draw(st.integers(1, 23) | st.integers(-9999, 0))
                body[each.name] = (timezone.now() + timedelta(hours=hours)).isoformat()
        if body.get("projects"):
            body["projects"] = ["analytical-engine"]
        body.pop("trust", None)  # the site trusts no issuer of workloads
        if body.get("metadata"):  # the schema cannot say how deep and how large it may be
            body["metadata"] = {"team": "billing", "tickets": [7]}
        if body.get("description"):  # nor that a description has visible characters
            body["description"] = "x" + body["description"][1:]
        if body.get("public_key") is not None:
            body["public_key"] = pem(ed25519_key())
            body.pop("direct_use", None)


@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize(("cases", "fewer"), CASES)
def test_api_conforms_to_the_document(callers, ada, engine, record_property, cases, fewer):
    for key in (mint_pat(ada), mint_pat(ada, projects=[engine]), mint_key(engine)):
        lifecycle.rotate(key.key)
    for number in range(9):
        ResourceBinding.objects.create(user=ada, kind="subscriber_id", identifier=str(number))
    counts = Counter()

    def check(caller, operation, case, data):
        if case.meta.generation.mode is GenerationMode.POSITIVE:
            made_real(case, data.draw)
        response = case.call(**caller)
        case.validate_response(
            response,
            headers=caller.get("headers"),
            # The check takes the session cookie for a generated one.
            excluded_checks=[ignored_auth] if "cookies" in caller else [],
        )
        counts[operation.method, operation.path, response.status_code] += 1

    for operation in operations():
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)
            for name, caller in callers.items():

                @settings(
                    max_examples=fewer if name in REFUSED else cases,
                    derandomize=True,
                    database=None,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=strategy, data=st.data())
                def run(case, data):
                    check(caller, operation, case, data)  # noqa: B023 - run at once

                run()
    statuses = Counter()
    for (_method, _path, status), number in counts.items():
        statuses[status] += number
    record_property("cases", counts.total())
    print(f"{counts.total()} cases: {dict(sorted(statuses.items()))}")
    # The requests got past authentication: every status was returned at least once.
    assert {200, 201, 204, 400, 401, 403, 404, 409} <= set(statuses)
    assert counts.total() > 500


@pytest.mark.usefixtures("one_connection")
@pytest.mark.parametrize(("cases", "fewer"), CASES)
def test_other_operations_conform_to_the_document(callers, cases, fewer):
    """Run every check of schemathesis, for all operations except the document itself."""
    document = schemathesis.openapi.from_wsgi("/api/schema/?format=json", application)
    document.config.generation.update(with_security_parameters=False)
    operations = [found.ok() for found in document.get_all_operations()]
    others = [each for each in operations if not re.match(OURS, each.path)]
    unknown = {each.path for each in others if not re.match(OTHERS, each.path)}
    assert unknown <= {"/api/schema/"}
    statuses = Counter()
    for operation in others:
        for mode in GenerationMode:
            strategy = operation.as_strategy(generation_mode=mode)
            for name, caller in callers.items():
                if name == "session" or operation.path == "/api/schema/":
                    continue

                @settings(
                    max_examples=fewer if name in REFUSED else cases,
                    derandomize=True,
                    database=None,
                    deadline=None,
                    suppress_health_check=list(HealthCheck),
                )
                @given(case=strategy)
                def run(case):
                    response = case.call(**caller)  # noqa: B023 - run at once
                    case.validate_response(response, headers=caller.get("headers"))  # noqa: B023
                    statuses[response.status_code] += 1

                with suppress(Unsatisfiable):  # a GET without parameters has no invalid data
                    run()
    assert {200, 400, 401, 403, 404} <= set(statuses)


@pytest.mark.parametrize(
    "path", ["/api/tokens/audit/", "/api/projects/analytical-engine/keys/audit/"]
)
@pytest.mark.parametrize("name", ["key", "event", "cursor"])
def test_empty_parameter_is_refused(client, callers, path, name):
    headers = callers["token"]["headers"]
    response = client.get(path, {name: ""}, headers=headers)
    assert response.status_code == 400, response.content
