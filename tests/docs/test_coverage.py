"""Whatever stands in a code block of the documentation is run by the suite, or listed here."""

import re
import tomllib

import pytest

from tests.docs.reader import Block, parse
from tests.docs.test_how_to import PAGES, PROJECT, TUTORIAL
from tests.documents import DOCUMENTS, ROOT, read

#: Done from the first line to the last, outputs compared, by ``tests.docs.reader``.
FOLLOWED = {
    TUTORIAL,
    PROJECT,
    *(f"docs/{page}.md" for page in PAGES),
    "docs/how-to/exchange-keys-for-jwts.md",
    "docs/how-to/into-an-existing-site.md",
    "docs/how-to/many-workers.md",
    "docs/how-to/own-look.md",
    "docs/how-to/respond-to-a-leak.md",
    "docs/how-to/rotate-without-downtime.md",
    "docs/how-to/own-project-model.md",
    "docs/how-to/run-behind-nginx.md",
    "docs/how-to/secure-an-api-you-cannot-change.md",
    "docs/how-to/ship-a-cli.md",
    "docs/how-to/sign-requests.md",
}

#: Pages whose blocks are run by docs/test_guides.py, each with its languages.
GUIDES = {
    "how-to/allauth": "python console",
    "how-to/go-to-production": "python console",
    "how-to/monitor": "python console json",
    "how-to/rotate-secrets": "python",
    "how-to/troubleshoot": "python console",
    "how-to/use-in-ci": "console yaml",
    "how-to/workloads": "python console hcl yaml",
    "how-to/webhooks": "python",
    "reference/compare": "python",
    "reference/faq": "python console",
    "reference/glossary": "python",
}

#: Pages whose blocks are taken out and run by tests of their own.
FRAGMENTS = {
    "docs/how-to/protect-an-mcp-server.md": dict.fromkeys(
        ("python", "console"), "mcp/test_docs.py"
    ),
    **{
        f"docs/{page}.md": dict.fromkeys(each.split(), "docs/test_guides.py")
        for page, each in GUIDES.items()
    },
    "README.md": dict.fromkeys(("console", "python", "text"), "packaging/test_readme.py"),
    "docs/index.md": dict.fromkeys(("console", "python"), "docs/test_fragments.py"),
    "docs/explanation/": {"python": "docs/test_explanation.py"},
    "docs/explanation/performance.md": {"python": "docs/test_fragments.py"},
    "docs/how-to/basic-authentication.md": {
        "python": "docs/test_fragments.py",
        "console": "docs/test_fragments.py",
    },
    "docs/how-to/django-tenants.md": {
        "python": "tenants/settings.py",
        "console": "tenants/check_tenants.py",
    },
    "docs/how-to/identity-providers.md": {
        "python": "docs/test_guides.py",
        "console": "issuers/test_shapes.py",
    },
    "docs/how-to/identity-providers/": dict.fromkeys(
        ("python", "console"), "issuers/test_shapes.py"
    ),
    "docs/how-to/import-keys.md": {"python": "docs/test_fragments.py"},
    "docs/how-to/keep-only-what-is-used.md": {"python": "docs/test_endings.py"},
    "docs/how-to/wagtail.md": {"python": "sites/wagtail/settings.py"},
    "docs/how-to/websockets-tasks-and-graphql.md": {"python": "docs/test_integrations.py"},
    **{
        f"docs/how-to/import-from-{name}.md": dict.fromkeys(
            ("python", "console", "text"), "docs/test_imports.py"
        )
        for name in ("authtoken", "csv", "drf-api-key", "knox")
    },
    "docs/reference/access.md": {"python": "docs/test_pages.py"},
    "docs/reference/admin.md": {"python": "admin/test_sites.py"},
    "docs/reference/api.md": dict.fromkeys(("python", "bash", "json"), "api/test_docs.py"),
    "docs/reference/audit.md": {"console": "docs/test_fragments.py"},
    "docs/reference/endings.md": dict.fromkeys(("python", "json"), "docs/test_endings.py"),
    "docs/reference/gateway.md": {
        "python": "docs/test_fragments.py",
        "console": "docs/test_fragments.py",
        "nginx": "gateway/servers.py",
        "caddy": "gateway/test_caddy.py",
        "haproxy": "gateway/test_lua.py",
        "apache": "gateway/test_lua.py",
        "lua": "gateway/test_lua.py",
    },
    "docs/reference/issuers.md": dict.fromkeys(("python", "console"), "issuers/test_shapes.py"),
    "docs/reference/keys.md": {
        "python": "docs/test_pages.py",
        "console": "docs/test_pages.py",
        "text": "test_token.py",
    },
    "docs/reference/leaks.md": {
        "python": "docs/test_fragments.py",
        "console": "docs/test_fragments.py",
    },
    "docs/reference/limits.md": {
        "python": "docs/test_fragments.py",
        "http": "docs/test_fragments.py",
    },
    "docs/reference/networks.md": {"python": "docs/test_fragments.py"},
    "docs/reference/oauth.md": {
        "http": "http/test_discovery.py",
        "python": "oauth/test_docs.py",
        "console": "docs/test_fragments.py",
    },
    "docs/reference/pages.md": {
        "python": "docs/test_fragments.py",
        "html": "docs/test_fragments.py",
    },
    "docs/reference/policy.md": {
        "python": "lifecycle/test_policy.py",
        "console": "docs/test_fragments.py",
    },
    "docs/reference/python-api.md": {"python": "docs/test_reference.py"},
    "docs/reference/what-is-stored.md": dict.fromkeys(
        ("python", "console", "sql"), "docs/test_stored.py"
    ),
}

#: What the suite does not run, and why.
NOT_RUN = {
    ("docs/explanation/performance.md", "console"): "benchmarks, which take minutes",
    ("docs/reference/versions.md", "console"): "the reader's own tests",
    ("docs/reference/gateway.md", "yaml"): "Traefik and Envoy: the page says that it is untested",
}


def languages(document):
    parts = (part for part in parse(document) if isinstance(part, Block))
    return {part.language for part in parts if not part.language.startswith("{")}  # MyST's


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_code_block_is_run(document):
    if document in FOLLOWED:
        return
    folder = document.rpartition("/")[0] + "/"
    runners = FRAGMENTS.get(document) or FRAGMENTS.get(folder, {})
    for language in languages(document):
        if (document, language) not in NOT_RUN:
            assert language in runners, f"No test runs the {language} of {document}."
            source = (ROOT / "tests" / runners[language]).read_text("utf-8")
            assert re.search(re.escape(document) + "|docs/explanation", source), runners[language]


def test_the_lists_name_what_there_is():
    listed = {*FOLLOWED, *FRAGMENTS, *(document for document, _ in NOT_RUN)}

    assert {each for each in listed if not each.endswith("/")} <= set(DOCUMENTS)
    for document, language in NOT_RUN:
        assert language in languages(document)


def test_every_extra_is_in_the_table_of_extras():
    named = set(re.findall(r"^\| `(\w+)` \|", read("docs/reference/extras.md"), re.MULTILINE))
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]

    assert named == set(project["optional-dependencies"])
