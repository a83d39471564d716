"""The pure parts of `make services`: ports, state, environment file, and whose process is whose."""

import os
import shlex
import signal
import socket
import stat
import subprocess
import sys
import time
from pathlib import Path

import pytest

from local_services import commands, processes
from local_services import service as services
from local_services.environment import format_environment, parse_environment, write_environment
from local_services.failures import ServiceFailed
from local_services.ports import choose, is_free
from local_services.processes import Identity, Launch
from local_services.progress import Progress
from local_services.service import Place
from local_services.state import ServiceRecord, State, StateFile, decode, encode

SLEEPER = [sys.executable, "-c", "import time; time.sleep(60)"]
# Ignores the polite request, and starts a child that does too.
STUBBORN = [
    sys.executable,
    "-c",
    "import signal, subprocess, sys, time\n"
    "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
    "subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
    "print('up', flush=True)\n"
    "time.sleep(60)",
]


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place(root=tmp_path, state=StateFile(tmp_path / "state.json"), progress=Progress())


def _start(argv: list[str], log: Path) -> tuple["subprocess.Popen[bytes]", Identity]:
    return processes.spawn(Launch(argv, dict(os.environ)), log)


class TestEnvironmentFile:
    def test_what_is_written_is_read_again(self) -> None:
        values = {"A": "", "URL": "s3://k:s@127.0.0.1:1/b?x=1&insecure=1", "Q": "it's $HOME `x` #y"}

        assert parse_environment(format_environment(values)) == values

    def test_a_shell_reads_the_same(self, tmp_path: Path) -> None:
        path = tmp_path / "environment"
        value = "redis://:p@h/0?a=1&b=$HOME 'q'"
        write_environment(path, {"ATRIUM_X": value})

        script = f'set -a; . {shlex.quote(str(path))}; printf %s "$ATRIUM_X"'
        said = subprocess.run(["/bin/sh", "-c", script], capture_output=True, text=True, check=True).stdout

        assert said == value

    def test_it_is_for_the_owner_alone_even_over_an_open_file(self, tmp_path: Path) -> None:
        path = tmp_path / "environment"
        path.write_text("OLD=1\n")
        path.chmod(0o644)

        write_environment(path, {"A": "b"})

        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert parse_environment(path.read_text()) == {"A": "b"}

    def test_it_goes_when_nothing_runs(self, tmp_path: Path) -> None:
        path = tmp_path / "environment"
        write_environment(path, {"A": "b"})

        write_environment(path, {})

        assert not path.exists()

    @pytest.mark.parametrize("values", [{"a-b": "x"}, {"A": "two\nlines"}, {"": "x"}])
    def test_what_a_shell_could_not_read_is_refused(self, values: dict[str, str]) -> None:
        with pytest.raises(ValueError, match=r"line break|variable name"):
            format_environment(values)

    @pytest.mark.parametrize("text", ["A", "A=b c", "a b=c"])
    def test_a_broken_line_is_named_by_its_number(self, text: str) -> None:
        with pytest.raises(ValueError, match="line 2"):
            parse_environment(f"OK=1\n{text}\n")


class TestPorts:
    def test_the_first_wanted_free_one_is_taken(self) -> None:
        assert choose([1, 2, 3], taken={1}, free=lambda port: port != 2) == 3

    def test_any_other_when_none_of_the_wanted_is_free(self) -> None:
        assert choose([1], taken={100}, free=lambda port: port > 1, search=range(100, 200)) == 101

    def test_no_free_port_is_an_error(self) -> None:
        with pytest.raises(LookupError):
            choose([1], taken=set(), free=lambda port: False, search=range(5))

    def test_a_port_that_somebody_listens_on_is_not_free(self) -> None:
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen()
            port = listener.getsockname()[1]
            assert not is_free(port)
        assert is_free(port)

    def test_allotted_ports_are_kept_and_never_shared(self, place: Place) -> None:
        commands.allot_ports(place, commands.ALL)
        first = {name: dict(record.ports) for name, record in place.state.state.services.items()}
        commands.allot_ports(place, commands.ALL)

        assert {name: record.ports for name, record in place.state.state.services.items()} == first
        every = [port for ports in first.values() for port in ports.values()]
        assert len(every) == len(set(every)) == sum(len(service.usual_ports) for service in commands.ALL)


class TestState:
    def test_it_survives_being_written(self, tmp_path: Path) -> None:
        state = State(
            services={
                "a": ServiceRecord({"main": 5}, Identity(7, 8, "boot"), "1.2", stop_signal=2, stop_seconds=3),
                "b": ServiceRecord(),
            },
            secrets={"x": "y"},
        )

        assert decode(encode(state)) == state

    def test_another_format_is_refused(self) -> None:
        with pytest.raises(ValueError, match="format"):
            decode('{"format": 99, "services": {}, "secrets": {}}')

    def test_a_secret_is_made_once_and_kept_closed(self, tmp_path: Path) -> None:
        path = tmp_path / "state.json"
        made = StateFile(path).secret("postgres")

        assert StateFile(path).secret("postgres") == made
        assert len(made) >= 32
        assert made.isalnum()
        assert StateFile(path).secret("redis") != made
        assert stat.S_IMODE(path.stat().st_mode) == 0o600


class TestProcesses:
    def test_a_recycled_pid_is_somebody_else(self) -> None:
        me = processes.identify(os.getpid())
        assert me is not None

        assert processes.is_alive(me)
        assert not processes.is_alive(Identity(me.pid, me.started_ticks - 1, me.boot_id))
        assert not processes.is_alive(Identity(me.pid, me.started_ticks, "another boot"))

    def test_somebody_elses_process_is_not_ended(self, tmp_path: Path) -> None:
        child, identity = _start(SLEEPER, tmp_path / "log")
        stranger = Identity(identity.pid, identity.started_ticks - 1, identity.boot_id)
        try:
            said = processes.end(stranger, stop_signal=signal.SIGTERM, seconds=1)

            assert said == "was not running"
            assert child.poll() is None
        finally:
            child.kill()
            child.wait()

    def test_a_willing_process_stops_at_the_first_request(self, tmp_path: Path) -> None:
        child, identity = _start(SLEEPER, tmp_path / "log")

        assert processes.end(identity, stop_signal=signal.SIGTERM, seconds=5) == "stopped"
        assert child.wait() == -signal.SIGTERM

    def test_a_stubborn_one_is_killed_with_all_it_started(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        child, identity = _start(STUBBORN, log)
        while "up" not in log.read_text():
            time.sleep(0.01)
        assert len(processes.session_members(identity)) == 2

        assert processes.end(identity, stop_signal=signal.SIGTERM, seconds=0.2, rest_seconds=0.2) == "killed"

        assert child.wait() == -signal.SIGKILL
        assert processes.session_members(identity) == []

    def test_what_a_dead_leader_left_is_still_found(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        child, identity = _start(STUBBORN, log)
        while "up" not in log.read_text():
            time.sleep(0.01)
        child.kill()
        child.wait()

        assert not processes.is_alive(identity)
        assert len(processes.session_members(identity)) == 1
        assert processes.end(identity, stop_signal=signal.SIGTERM, seconds=0, rest_seconds=0.2) == "killed"
        assert processes.session_members(identity) == []

    def test_a_folder_is_handed_down_open(self, tmp_path: Path) -> None:
        folder = tmp_path / "closed" / "data"
        folder.mkdir(parents=True)
        (folder / "file").write_text("within")
        argv = [sys.executable, "-c", "import sys; print(open(sys.argv[1] + '/file').read())", "{folder}"]
        log = tmp_path / "log"

        child, _ = processes.spawn(Launch(argv, dict(os.environ), open_folder=folder), log)

        assert child.wait() == 0
        assert log.read_text().endswith("within\n")

    def test_the_tail_of_a_log_begins_at_its_last_start(self, tmp_path: Path) -> None:
        log = tmp_path / "log"
        log.write_text("--- start 1 ---\nold\n--- start 2 ---\nnew\n")

        assert processes.log_tail(log) == "--- start 2 ---\nnew"
        assert processes.log_tail(tmp_path / "none") == "(no log)"


class TestRun:
    def test_a_command_that_fails_is_told_with_its_last_lines(self, tmp_path: Path) -> None:
        argv = [sys.executable, "-c", "print('no space left'); raise SystemExit(3)"]
        with pytest.raises(ServiceFailed, match=r"(?s)building failed with code 3.*no space left"):
            services.run(argv, what="building", log=tmp_path / "log")

    def test_a_command_that_hangs_is_ended_and_told(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(services, "LONGEST_S", 0.2)
        began = time.monotonic()
        with pytest.raises(ServiceFailed, match=r"building did not end within 0\.2 s"):
            services.run(SLEEPER, what="building", log=tmp_path / "log")
        assert time.monotonic() - began < 15


class TestCommands:
    def test_the_variables_of_replicas_are_joined(self, place: Place, tmp_path: Path) -> None:
        commands.allot_ports(place, commands.ALL)
        children = []
        for service in commands.ALL:
            if service.group in ("vllm", "redis"):
                child, identity = _start(SLEEPER, tmp_path / "log")
                children.append(child)
                place.state.record(service.name).identity = identity
        try:
            values = commands.merged_environment(place)
        finally:
            for child in children:
                child.kill()
                child.wait()

        assert len(values["ATRIUM_TEST_VLLM_URLS"].split(",")) == 2
        assert len(set(values["ATRIUM_TEST_VLLM_PIDS"].split(","))) == 2
        assert values["ATRIUM_REDIS_URL"] != values["ATRIUM_CACHE_REDIS_URL"]
        assert values["ATRIUM_STORAGE_URL"].startswith("file://")
        # What does not run is not promised.
        assert "ATRIUM_DATABASE_URL" not in values
        assert "ATRIUM_WEAVIATE_URL" not in values

    def test_nothing_is_promised_when_nothing_runs(self, place: Place) -> None:
        assert commands.merged_environment(place) == {}

    def test_stopping_where_nothing_was_started_makes_nothing(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert commands.stop(tmp_path, commands.GROUPS) == 0
        assert "nothing was started" in capsys.readouterr().out
        assert list(tmp_path.iterdir()) == []

    @pytest.mark.parametrize("failing", [False, True])
    def test_installing_brings_everything_starts_nothing_and_tells_what_failed(
        self,
        tmp_path: Path,
        monkeypatch: pytest.MonkeyPatch,
        capsys: pytest.CaptureFixture[str],
        failing: bool,
    ) -> None:
        brought: list[str] = []

        class Program:
            group = "weaviate"

            def __init__(self, name: str, fails: bool) -> None:
                self.name, self.fails = name, fails

            def install(self, place: Place) -> None:
                if self.fails:
                    raise ServiceFailed("go install ended with code 1")
                brought.append(self.name)

        programs = (Program("first", failing), Program("second", False))
        monkeypatch.setattr(commands, "ALL", programs)

        code = commands.install(tmp_path, ["weaviate"])

        assert code == (1 if failing else 0)
        assert brought == (["second"] if failing else ["first", "second"])
        said = capsys.readouterr().out
        assert ("first failed: go install ended with code 1" in said) == failing
        assert not (tmp_path / "services" / "environment").exists()

    def test_the_table_names_every_service(self, place: Place) -> None:
        commands.allot_ports(place, commands.ALL)

        lines = commands.table(place).splitlines()

        assert [line.split()[0] for line in lines[1:]] == [service.name for service in commands.ALL]
        assert all("stopped" in line for line in lines[1:])
