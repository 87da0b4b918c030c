"""The changelog groups what changed, so that people who upgrade find what concerns them."""

import re
from collections import Counter

import pytest

from tests.documents import read, table

GROUPS = ["Added", "Changed", "Deprecated", "Removed", "Security", "Fixed"]


@pytest.fixture(scope="module")
def unreleased():
    """Return the section as pairs of a group and its text."""
    (section,) = re.findall(
        r"^## Unreleased\n(.*?)^## \d", read("CHANGELOG.md"), re.DOTALL | re.MULTILINE
    ) or [""]
    intro, *parts = re.split(r"^### (.*)\n", section, flags=re.MULTILINE)
    assert not re.search(r"^- ", intro, re.MULTILINE), "Put each entry into a group."
    return list(zip(parts[::2], parts[1::2], strict=True))


def test_every_entry_of_the_next_release_is_in_one_of_the_groups(unreleased):
    found = [group for group, _ in unreleased]

    assert found == [group for group in GROUPS if group in found]


def test_no_entry_is_there_twice(unreleased):
    entries = Counter(
        re.sub(r"[\[\]]", "", " ".join(entry.split()))[:60]  # the same start in other words
        for _, text in unreleased
        for entry in re.split(r"^- ", text, flags=re.MULTILINE)[1:]
    )

    assert [entry for entry, count in entries.items() if count > 1] == []


def test_every_guide_of_a_new_feature_is_in_the_list_of_versions(unreleased):
    added = " ".join(dict(unreleased)["Added"].split())
    guides = re.findall(r"^\[(.+)\]: docs/(how-to/\S+\.md)$", read("CHANGELOG.md"), re.MULTILINE)
    linked = {page for name, page in guides if f"[{name}]" in added}

    assert len(linked) > 5
    listed = "".join(name for name, _ in table("docs/reference/versions.md", "capability"))
    assert [page for page in sorted(linked) if f"](../{page}" not in listed] == []


@pytest.mark.slow
def test_every_link_of_an_entry_leads_to_a_heading_of_the_documentation():
    text, *found = re.split(r"^(?=\[.+\]: docs/)", read("CHANGELOG.md"), flags=re.MULTILINE)
    links = [re.match(r"\[(.+)\]: (docs/\S+?\.md)(?:#(\S+))?$", line) for line in found]
    assert links
    for name, page, anchor in (link.groups() for link in links):
        assert f"[{name}]" in " ".join(text.split())
        headings = re.findall(r"^#+ `?(.*?)`?$", read(page), re.MULTILINE)
        assert not anchor or anchor in map(str.lower, headings), (page, anchor)
