"""The operator's file of what starts and stops replicas: read strictly, its secret never told."""

from pathlib import Path

import pytest

from config.settings.environment import SettingError, read_environment
from config.settings.scaling import scaler_specs


def specs(tmp_path: Path, text: str) -> dict[str, object]:
    file = tmp_path / "scaler.toml"
    file.write_text(text)
    environment = read_environment({"ATRIUM_HOME": str(tmp_path), "ATRIUM_SCALER": str(file)})
    return dict(scaler_specs(environment))


LOCAL = 'kind = "local"\n[pools.main]\ncommand = ["vllm", "{port}"]\nmodel = "m"\nports = [8101, 8104]\n'


@pytest.mark.parametrize(
    ("text", "adapter"),
    [
        (LOCAL, "LocalScaler"),
        ('kind = "kubernetes"\n[pools.main]\ndeployment = "d"\nmodel = "m"\n', "KubernetesScaler"),
        ('kind = "webhook"\nurl = "https://h/x"\nsecret = "0123456789abcdef"\n', "WebhookScaler"),
    ],
)
def test_each_kind_names_its_adapter(tmp_path: Path, text: str, adapter: str) -> None:
    assert specs(tmp_path, text)["scaler"].backend.endswith(adapter)  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "kind = ",
        'kind = "magic"',
        LOCAL + "shell = true\n",
        LOCAL.replace('["vllm", "{port}"]', '"vllm {port}"'),
        LOCAL.replace("[8101, 8104]", "[8104, 8101]"),
        'kind = "webhook"\nurl = "file:///etc/passwd"\nsecret = "0123456789abcdef"\n',
        'kind = "webhook"\nurl = "https://h/x"\nsecret = "short-but-mine"\n',
    ],
)
def test_what_is_wrong_stops_the_start_without_telling_the_secret(tmp_path: Path, text: str) -> None:
    with pytest.raises(SettingError) as told:
        specs(tmp_path, text)
    assert "ATRIUM_SCALER" in str(told.value)
    assert "mine" not in str(told.value)


def test_without_a_file_nothing_scales(tmp_path: Path) -> None:
    assert scaler_specs(read_environment({"ATRIUM_HOME": str(tmp_path)})) == {}
    with pytest.raises(SettingError):
        scaler_specs(
            read_environment({"ATRIUM_HOME": str(tmp_path), "ATRIUM_SCALER": str(tmp_path / "none")})
        )
