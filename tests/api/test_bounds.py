from apikeys.models import PersonalAccessToken
from tests.api.conftest import Caller


def test_ip_ranges_and_rate_limits_are_created_and_changed(ada):
    caller = Caller(user=ada)
    body = {"name": "ci", "scopes": ["payments:read"], "rate_limits": ["10/s", "1000 per hour"]}
    made = caller("POST", "tokens/", body | {"allowed_networks": ["203.0.113.0/24"]})
    assert made.status_code == 201, made.content
    assert made.json()["allowed_networks"] == ["203.0.113.0/24"]
    assert made.json()["rate_limits"] == ["10/second", "1000/hour"]

    path = f"tokens/{made.json()['id']}/"
    changed = caller("PATCH", path, {"allowed_networks": ["203.0.113.7"]})
    assert changed.json()["allowed_networks"] == ["203.0.113.7/32"]
    assert changed.json()["rate_limits"] == ["10/second", "1000/hour"]
    assert caller("PATCH", path, {"allowed_networks": []}).json()["allowed_networks"] == []


def test_invalid_ip_ranges_and_rate_limits_are_refused(ada):
    caller = Caller(user=ada)
    body = {"name": "ci", "scopes": ["payments:read"]}
    for field, value, code in (
        ("allowed_networks", ["203.0.113.7/24"], "invalid_network"),
        ("allowed_networks", ["x" * 5000], "invalid_network"),
        ("allowed_networks", "203.0.113.7", "not_a_list"),
        ("allowed_networks", [7], "invalid"),
        ("rate_limits", ["often"], "invalid_rate_limit"),
        ("rate_limits", ["0/hour"], "invalid_rate_limit"),
        ("rate_limits", [f"{n}/hour" for n in range(1, 7)], "max_length"),
    ):
        answer = caller("POST", "tokens/", body | {field: value})
        assert (answer.status_code, answer.json()["code"]) == (400, code)
        assert answer.json()["field"].startswith(field)
    assert not PersonalAccessToken.objects.exists()
