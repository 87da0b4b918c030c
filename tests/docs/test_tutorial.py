"""The tutorial, from an empty folder to a revoked key, with nothing but the wheel."""

import contextlib
import sys
from pathlib import Path

import pytest
from playwright.sync_api import expect

from tests.docs.reader import newcomer
from tests.docs.screenshots import browse, take
from tests.packaging.test_wheel import wheel  # noqa: F401
from tests.servers import wait_until

TUTORIAL = "docs/tutorial/first-keys.md"

pytestmark = [pytest.mark.browser, pytest.mark.packaging]


@pytest.fixture
def reader(tmp_path, wheel):  # noqa: F811
    with contextlib.closing(newcomer(tmp_path, Path(sys.base_prefix) / "bin", wheel)) as reader:
        yield reader


def test_does_as_the_tutorial_says(reader, chromium):
    def on_the_settings_page():
        page = browse(chromium, reader, "/settings/keys/")
        main = page.get_by_role("main")
        wait_until(lambda: page.reload() and "from 127.0.0.1" in main.inner_text(), 60)
        page.get_by_role("link", name="New token").click()
        page.get_by_label("Name").fill("phone")
        page.get_by_role("group", name="payments").get_by_label("Read and write").check()
        page.get_by_role("button", name="Create token").click()
        expect(page.get_by_role("button", name="Copy", exact=True)).to_be_visible()
        page.get_by_role("link", name="I have copied it").click()
        page.goto("/settings/keys/")
        expect(page.get_by_role("link", name="phone", exact=True)).to_be_visible()
        take(page, "tutorial-list")
        page.get_by_role("link", name="laptop", exact=True).click()
        page.get_by_role("link", name="Revoke").first.click()
        page.get_by_label("Reason").fill("The laptop was lost.")
        page.get_by_role("button", name="Revoke").click()
        expect(page.get_by_role("status")).to_contain_text("Revoked")
        page.context.close()

    reader.read(TUTORIAL, meanwhile={"Use the settings pages": on_the_settings_page})
