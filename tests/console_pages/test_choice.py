"""Which model answers, in the browser: the dial and a rule are tried before they are saved, and found again after."""

from collections.abc import Callable
from typing import Any

import pytest
from fakes.console import ConsolePage
from playwright.sync_api import expect

pytestmark = [pytest.mark.pages, pytest.mark.timeout(240)]

OpenConsole = Callable[..., ConsolePage]


@pytest.mark.parametrize("width", [1280, 360])
def test_a_rule_is_tried_then_saved(open_console: OpenConsole, installation: Any, width: int) -> None:
    console = open_console("operator", width)
    console.go(f"/console/choice?in={installation.second}")
    page = console.page
    name = f"Everything at {width}"
    page.get_by_test_id("dial-on").check()
    page.get_by_test_id("new-rule").click()
    dialog = page.get_by_test_id("rule-dialog")
    dialog.locator("input[name=name]").fill(name)
    dialog.locator("select[name=use]").select_option("light")
    dialog.get_by_test_id("save").click()
    expect(dialog).to_have_count(0)
    page.get_by_test_id("try").click()
    expect(page.get_by_test_id("tried")).to_contain_text(name)
    assert console.axe() == []
    assert console.overflow() == 0
    page.get_by_test_id("policy").get_by_test_id("save").click()
    expect(page.get_by_test_id("policy").get_by_test_id("save")).to_be_disabled()
    page.reload()
    expect(page.get_by_test_id("rule")).to_have_count(1)
    expect(page.get_by_test_id("dial")).to_have_value("30")
    # As it was before.
    page.get_by_role("button", name=f"Delete the rule {name}").click()
    page.get_by_test_id("dial-on").uncheck()
    page.get_by_test_id("policy").get_by_test_id("save").click()
    expect(page.get_by_test_id("policy").get_by_test_id("save")).to_be_disabled()
    assert console.errors == []
