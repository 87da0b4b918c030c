"""What a rule may be about, and which tokens it matches."""

import pytest

from apikeys.errors import LifecycleError
from apikeys.workloads import rules
from tests.workloads.issuer import CLUSTER, GITHUB, KUBERNETES, SITE, TRUST, URL

pytestmark = pytest.mark.usefixtures("workloads")


def clean(issuer="github", **claims):
    return rules.clean({"issuer": issuer, "claims": claims})


def refusal(given):
    with pytest.raises(LifecycleError) as caught:
        rules.clean(given)
    assert caught.value.field == "trust"
    return caught.value


def test_issuer_is_found_by_name_and_url_and_shown_as_url():
    assert rules.clean(TRUST) == rules.clean(TRUST | {"issuer": URL})
    assert rules.clean(TRUST).as_json() == {
        "issuer": URL,
        "audience": SITE,
        "claims": {"environment": "production", "repository_id": "123456789"},
    }


def test_stored_text_is_read_again():
    trust = rules.clean(TRUST)
    assert rules.read(trust.as_text()) == trust
    assert rules.read("") is None


@pytest.mark.parametrize(
    ("issuer", "claims"),
    [
        ("github", {}),
        ("github", {"environment": "production"}),
        ("github", {"ref": "refs/heads/main", "event_name": "push"}),
        ("kubernetes", {"namespace": "production"}),
        ("kubernetes", {"service_account": "default"}),
        ("github", {"repository_id": "1", "ref": "**"}),
        ("github", {"repository_id": "1", "ref": "*main"}),
    ],
)
def test_rules_that_trust_everybody_are_refused(issuer, claims):
    assert refusal({"issuer": issuer, "claims": claims}).code == "trust_too_broad"


def test_reason_names_whom_the_rules_would_trust():
    message = refusal({"issuer": "github", "claims": {"ref": "refs/heads/main"}}).message
    assert "Every repository on GitHub" in message
    assert "repository_id" in message


@pytest.mark.parametrize(
    ("name", "instead"),
    [
        ("repository", "repository_id"),
        ("repository_owner", "repository_owner_id"),
        ("sub", "repository_id"),
        ("actor", "actor_id"),
    ],
)
def test_names_are_refused_with_the_id_to_use_instead(name, instead):
    claims = {"repository_id": "1", name: "acme/app"}
    error = refusal({"issuer": "github", "claims": claims})
    assert error.code == "claim_not_allowed"
    assert f"Use {instead} instead" in error.message


@pytest.mark.parametrize(
    ("claims", "code"),
    [
        ({"repository_id": "12*"}, "glob_not_allowed"),
        ({"repository_id": "1", "environment": "prod*"}, "glob_not_allowed"),
        ({"repository_id": "acme/app"}, "invalid_claim"),
        ({"repository_id": "\uff11"}, "invalid_claim"),
        ({"repository_id": ""}, "invalid_claim"),
        ({"repository_id": None}, "invalid_claim"),
        ({"repository_id": ["1", "2"]}, "invalid_claim"),
        ({"repository_id": 1.5}, "invalid_claim"),
        ({"repository_id": "1", "environment": "a\nb"}, "invalid_claim"),
        ({"repository_id": "1", "environment": "a" * 256}, "invalid_claim"),
        ({"repository_id": "1", "exp": "1"}, "claim_not_allowed"),
        ({"repository_id": "1", "aud": SITE}, "claim_not_allowed"),
        (["repository_id"], "invalid_trust"),
    ],
)
def test_unsafe_or_invalid_values_are_refused(claims, code):
    assert refusal({"issuer": "github", "claims": claims}).code == code


@pytest.mark.parametrize("given", [None, "github", [], 7, {"issuer": "github", "claimz": {}}])
def test_other_shapes_are_refused(given):
    assert refusal(given).code == "invalid_trust"


@pytest.mark.parametrize(
    "issuer", [None, "", "gitlab", URL + "/", "https://evil.example", ["github"], {"github": {}}]
)
def test_issuers_outside_the_settings_are_refused(issuer):
    assert refusal({"issuer": issuer, "claims": {"repository_id": "1"}}).code == (
        "issuer_not_trusted"
    )


@pytest.mark.parametrize(
    "audience", ["https://github.com/acme", "https://other.example", SITE + ".evil.example", 7]
)
def test_audience_of_another_site_is_refused(audience):
    assert refusal(TRUST | {"audience": audience}).code == "audience_not_allowed"


def test_trust_needs_the_url_of_the_site(settings):
    settings.APIKEYS = {**settings.APIKEYS, "SITE_URL": None}
    assert refusal(TRUST).code == "audience_required"


def test_site_without_issuers_refuses_every_trust(settings):
    settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
    assert refusal(TRUST).code == "workloads_disabled"


class TestMatch:
    def test_all_rules_must_match(self):
        trust = rules.clean(TRUST)
        assert rules.matches(trust, GITHUB.claims())
        for name, value in (
            ("repository_id", "1234567890"),
            ("repository_id", None),
            ("environment", "staging"),
            ("environment", None),
            ("iss", CLUSTER),
        ):
            assert not rules.matches(trust, GITHUB.claims(**{name: value})), name

    def test_repository_with_the_same_name_and_another_id_does_not_match(self):
        """Somebody takes the name ``acme/app`` after a rename."""
        trust = clean(repository_id=123456789)
        assert not rules.matches(trust, GITHUB.claims(repository_id="555"))
        assert rules.matches(trust, GITHUB.claims(repository="acme/renamed", sub="repo:x"))

    @pytest.mark.parametrize("value", [123456789, "123456789"])
    def test_numbers_and_text_are_the_same(self, value):
        assert rules.matches(clean(repository_id="123456789"), GITHUB.claims(repository_id=value))

    @pytest.mark.parametrize("value", [["123456789"], {"id": "123456789"}, 123456789.0, True])
    def test_other_types_never_match(self, value):
        assert not rules.matches(
            clean(repository_id="123456789"), GITHUB.claims(repository_id=value)
        )

    @pytest.mark.parametrize(
        ("pattern", "ref", "is_match"),
        [
            ("refs/heads/release/*", "refs/heads/release/1.2", True),
            ("refs/heads/release/*", "refs/heads/release/1/2", False),
            ("refs/heads/release/*", "refs/heads/release", False),
            ("refs/heads/**", "refs/heads/release/1/2", True),
            ("refs/heads/main", "refs/heads/main2", False),
            ("refs/heads/main", "REFS/heads/main", False),
            ("refs/tags/v*.0", "refs/tags/v1.0", True),
            ("refs/tags/v*.0", "refs/tags/v1.0\n", False),
            ("refs/tags/v*.0", "refs/tags/v1x0", False),
            ("refs/heads/a?c", "refs/heads/abc", False),
            ("refs/heads/[ab]", "refs/heads/a", False),
        ],
    )
    def test_glob(self, pattern, ref, is_match):
        trust = clean(repository_id="123456789", ref=pattern)
        assert rules.matches(trust, GITHUB.claims(ref=ref)) is is_match

    def test_claim_of_a_token_is_never_a_pattern(self):
        trust = clean(repository_id="123456789", ref="refs/heads/main")
        assert not rules.matches(trust, GITHUB.claims(ref="refs/heads/*"))

    def test_nested_claims(self):
        trust = clean("kubernetes", namespace="production", service_account="deploy")
        assert rules.matches(trust, KUBERNETES.claims())
        for other in (None, "production", {"namespace": "production"}, {"serviceaccount": []}):
            assert not rules.matches(trust, KUBERNETES.claims(**{"kubernetes.io": other}))

    def test_issuer_that_the_site_no_longer_trusts_matches_nothing(self, settings):
        trust = rules.clean(TRUST)
        settings.APIKEYS = {**settings.APIKEYS, "WORKLOAD_ISSUERS": {}}
        assert not rules.matches(trust, GITHUB.claims())


class TestPullRequests:
    @pytest.mark.parametrize(
        "claims",
        [
            {"event_name": "pull_request"},
            {"event_name": "pull_request_target"},
            {"ref": "refs/pull/7/merge"},
        ],
    )
    def test_runs_are_recognised(self, claims):
        assert rules.is_pull_request(rules.clean(TRUST), GITHUB.claims(**claims))

    def test_other_runs_are_not(self):
        assert not rules.is_pull_request(rules.clean(TRUST), GITHUB.claims())

    def test_a_rule_about_the_event_allows_them(self):
        trust = clean(repository_id="123456789", event_name="pull_request")
        assert not rules.is_pull_request(trust, GITHUB.claims(event_name="pull_request"))
        assert rules.matches(trust, GITHUB.claims(event_name="pull_request"))
        assert not rules.matches(trust, GITHUB.claims(event_name="pull_request_target"))


class TestCovers:
    def test_a_further_rule_narrows(self):
        wide, narrow = clean(repository_id="1"), clean(repository_id="1", environment="production")
        assert wide.covers(narrow)
        assert not narrow.covers(wide)

    def test_a_pattern_covers_its_texts(self):
        wide = clean(repository_id="1", ref="refs/heads/*")
        assert wide.covers(clean(repository_id="1", ref="refs/heads/main"))
        assert not wide.covers(clean(repository_id="1", ref="refs/heads/**"))
        assert not wide.covers(clean(repository_id="1", ref="refs/tags/v1"))

    def test_another_repository_issuer_or_audience_is_not_covered(self):
        trust = clean(repository_id="1")
        assert not trust.covers(clean(repository_id="2"))
        assert not trust.covers(clean("kubernetes", sub="system:serviceaccount:a:b"))

    def test_a_rule_that_lets_pull_requests_in_is_not_covered(self):
        trust = clean(repository_id="1")
        assert not trust.covers(clean(repository_id="1", event_name="pull_request"))


def test_keys_are_found_by_the_claim_that_identifies_the_workload():
    entry = rules.find_issuer("github")
    assert rules.clean(TRUST).anchor in rules.anchors_of(entry, GITHUB.claims())
    assert clean(repository_owner_id="9919").anchor in rules.anchors_of(entry, GITHUB.claims())
    assert rules.clean(TRUST).anchor not in rules.anchors_of(
        entry, GITHUB.claims(repository_id="5")
    )
