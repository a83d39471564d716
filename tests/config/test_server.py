"""How long a server lets open answers end."""

from pathlib import Path

import pytest

from config.server import SERVER_OPTIONS, drain_seconds
from config.settings.environment import SettingError, read_environment


@pytest.mark.parametrize(("told", "seconds"), [("", 5), ("1", 1), ("120", 120), ("3600", 3600)])
def test_the_server_and_the_settings_agree(told: str, seconds: int, tmp_path: Path) -> None:
    variables = {"ATRIUM_DRAIN": told, "ATRIUM_HOME": str(tmp_path)}

    assert drain_seconds(variables) == read_environment(variables).drain_s == seconds


@pytest.mark.parametrize("told", ["0", "3601", "soon", "-5", "1.5", "٣"])
def test_a_wrong_value_is_the_settings_to_refuse(told: str, tmp_path: Path) -> None:
    variables = {"ATRIUM_DRAIN": told, "ATRIUM_HOME": str(tmp_path)}

    assert drain_seconds(variables) == 5
    with pytest.raises(SettingError, match="ATRIUM_DRAIN"):
        read_environment(variables)


def test_nobody_waits_for_ever() -> None:
    assert SERVER_OPTIONS["timeout_graceful_shutdown"] == 5
