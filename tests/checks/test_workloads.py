"""System checks of the setting ``WORKLOAD_ISSUERS``."""

import pytest

from apikeys.checks.workloads import check_workloads
from apikeys.issuers.workload_checks import check_workload_issuers
from apikeys.workloads.conf import workload_settings
from tests.workloads.issuer import SETTINGS, SITE


def found(settings, issuers, **changes):
    settings.APIKEYS = {
        **settings.APIKEYS,
        "SITE_URL": SITE,
        "WORKLOAD_ISSUERS": issuers,
        **changes,
    }
    return [each.id for each in (*check_workloads(), *check_workload_issuers())]


@pytest.mark.parametrize(
    "issuers",
    [
        {},
        SETTINGS["WORKLOAD_ISSUERS"],
        {"github": {}, "gitlab": {}, "google": {}},
        {"gitlab": {"ISSUER": "https://gitlab.acme.example"}},
        {"https://gitlab.acme.example": {"PRESET": "gitlab"}},
        {"ours": {"PRESET": "gitlab", "ISSUER": "https://gitlab.acme.example"}},
        {"https://ci.example": {"CLAIMS": ["job"], "REQUIRED": ["job"], "LABEL": "Our CI"}},
    ],
)
def test_valid_entries(settings, issuers):
    assert found(settings, issuers) == []
    assert len(workload_settings.WORKLOAD_ISSUERS) == len(issuers)


@pytest.mark.parametrize(
    "issuers",
    [
        ["github"],
        {"github": None},
        {"kubernetes": {}},
        {"github": {"PRESET": "x"}},
        {"https://*.example": {"PRESET": "gitlab"}},
        {"https://ci.example": {}},
        {"https://ci.example": {"CLAIMS": ["job"]}},
        {"https://ci.example": {"CLAIMS": ["job"], "REQUIRED": ["other"]}},
        {"https://ci.example": {"CLAIMS": ["job"], "REQUIRED": ["job"], "GLOBS": ["other"]}},
        {"github": {"CLAIMS": ["repository"]}},
        {"github": {"DIRECT_USE": "yes"}},
        {"gitlab": {}, "ours": {"PRESET": "gitlab", "ISSUER": "https://gitlab.com"}},
    ],
)
def test_invalid_entries_are_reported(settings, issuers):
    assert found(settings, issuers) == ["apikeys.E120"]


def test_site_needs_a_url(settings):
    assert found(settings, {"github": {}}, SITE_URL=None) == ["apikeys.E122"]
    assert found(settings, {"github": {}}, SITE_URL=None, WORKLOAD_AUDIENCES=[SITE]) == []
    assert found(settings, {"github": {"AUDIENCE": "api://acme"}}, SITE_URL=None) == []


@pytest.mark.parametrize("given", ["https://acme.example", ["acme"]])
def test_audiences_are_urls(settings, given):
    assert found(settings, {}, WORKLOAD_AUDIENCES=given) == ["apikeys.E121"]


@pytest.mark.parametrize(
    "options", [{"ALGORITHMS": ["HS256"]}, {"AUDIENCES": ["x"]}, {"KEYS": "x"}, {"JWKS": {}}]
)
def test_options_of_the_issuer_are_checked(settings, options):
    assert found(settings, {"github": options}) == ["apikeys.E123"]


def test_app_that_verifies_tokens_is_needed(settings):
    settings.INSTALLED_APPS = [a for a in settings.INSTALLED_APPS if a != "apikeys.issuers"]
    assert "apikeys.E124" in found(settings, {"github": {}})
