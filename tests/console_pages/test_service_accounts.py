"""Service accounts in the browser: made, given a key, put into a group, switched off, deleted."""

import re
import time
from collections.abc import Callable

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(180)]

OpenConsole = Callable[..., ConsolePage]


def test_an_account_is_made_gets_a_key_and_ends(open_console: OpenConsole) -> None:
    console = open_console("owner")
    page = console.page
    name = f"robot-{int(time.time())}"
    console.go("/console/service-accounts")
    page.get_by_test_id("new-account").first.click()
    dialog = page.get_by_test_id("account-dialog")
    dialog.locator("[name=name]").fill(name)
    dialog.locator("[name=description]").fill("Looks after the nightly import")
    dialog.locator("[name=role]").select_option("viewer")
    dialog.get_by_test_id("save").click()
    expect(page.locator("#main h1")).to_have_text(name)
    console.settle()
    expect(page.get_by_text("No keys yet")).to_be_visible()
    page.get_by_test_id("account-key").first.click()
    form = page.get_by_test_id("new-key-form")
    form.locator("[name=name]").fill("nightly")
    # The account's role is the key's: there is none to choose.
    expect(form.locator("[name=role]")).to_have_count(0)
    expect(form).to_contain_text(name)
    console.keep("account-new-key")
    form.get_by_test_id("save").click()
    page.get_by_test_id("key-done").click()
    console.settle()
    page.get_by_test_id("account").click()
    expect(page.get_by_test_id("table-account-keys")).to_contain_text("nightly")
    for width in (1440, 360):
        console.resize(width)
        console.settle()
        assert console.overflow() <= 0
        for appearance in ("light", "dark"):
            console.wear(appearance)
            assert console.axe() == []
            console.keep(f"account-{width}-{appearance}")
    console.resize(1280)
    console.wear("light")
    page.get_by_test_id("turn-account").click()
    expect(page.get_by_text("This account is disabled")).to_be_visible()
    page.get_by_test_id("delete-account").click()
    page.get_by_test_id("confirm-name").fill(name)
    page.get_by_test_id("confirm").click()
    expect(page).to_have_url(re.compile(r"/console/service-accounts(\?|$)"))
    console.settle()
    assert console.errors == []
