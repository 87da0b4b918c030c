"""A reader who types a question, or its words, finds the answer among the first three results."""

import pytest

from tests.docs.test_guides import questions
from tests.docs.test_site import site  # noqa: F401

pytestmark = [pytest.mark.slow, pytest.mark.browser]

#: What readers type: the page that answers it.
WORDS = {
    "read-only key": "reference/faq",
    "unused keys": "reference/faq",
    "rotate SECRET_KEY": "how-to/rotate-secrets",
    "requests a month": "reference/faq",
    "Keycloak": "how-to/identity-providers",
    "Auth0 tokens": "how-to/identity-providers",
    "GraphQL": "how-to/websockets-tasks-and-graphql",
    "Channels": "how-to/websockets-tasks-and-graphql",
    "Celery": "how-to/websockets-tasks-and-graphql",
    "who used a key": "reference/faq",
    "uninstall": "how-to/upgrade",
    "restore backup": "how-to/upgrade",
    "upgrade": "how-to/upgrade",
    "test keys": "reference/faq",
    "webhooks": "how-to/webhooks",
    "personal tokens admin": "reference/faq",
    "Terraform": "reference/faq",
    "SDK": "reference/faq",
    "Prometheus": "how-to/monitor",
    "OpenTelemetry": "how-to/monitor",
    "time stamp": "reference/faq",
    "key pair": "how-to/sign-requests",
}


@pytest.fixture(scope="module")
def first_three(chromium, site):  # noqa: F811
    """Return the pages that the site's search lists first for some words."""
    context = chromium.new_context()
    page = context.new_page()

    def first_three(words):
        page.goto(f"{(site / 'search.html').as_uri()}?q={words.replace(' ', '+')}")
        page.wait_for_function(
            "document.querySelector('.search-summary')?.innerText.match(/found/)"
        )
        links = page.locator("#search-results li > a:first-child").evaluate_all(
            "links => links.map(link => link.href)"
        )
        root = f"{site.as_uri()}/"
        return [link.removeprefix(root).partition(".html")[0] for link in links[:3]]

    yield first_three
    context.close()


def test_each_of_the_seventeen_questions_finds_its_answer(first_three):
    missed = {}
    for question, *_ in questions():
        found = first_three(question.rstrip("?"))
        if "reference/faq" not in found:
            missed[question] = found
    assert missed == {}


def test_the_words_of_a_question_find_the_page_that_answers_it(first_three):
    missed = {}
    for words, wanted in WORDS.items():
        found = first_three(words)
        if wanted not in found:
            missed[words] = found
    assert missed == {}
