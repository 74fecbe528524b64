"""The queue of the worker: what clients of all kinds do to it, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import socket
import struct
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from sdcli.server.protocol import MAX_BYTES
from sdcli.server.runtime_folder import RuntimeFolder
from tests.processes import is_gone, wait_until
from tests.server.workers import KEY, Client, supervised

BEGUN, EFFECT = {"event": "begun"}, {"event": "effect"}


def words(arguments: list[str]) -> int:
    """The command line of these tests."""
    match arguments:
        case ["print", text]:
            print(text, end="")
        case ["exit", code]:
            return int(code)
        case ["sleep", seconds]:
            time.sleep(float(seconds))
        case ["rename", path]:
            os.rename(path, f"{path}.new")
            time.sleep(60)
        case ["publish", path, target]:
            os.rename(path, target)
        case ["where"]:
            umask = os.umask(0)
            os.umask(umask)
            print(json.dumps([os.getcwd(), umask, dict(os.environ)]))
        case ["bug"]:
            raise RuntimeError("a bug")
        case ["die"]:
            os.kill(os.getpid(), signal.SIGKILL)
    return 0


def ended(code: int) -> dict[str, object]:
    return {"event": "exit", "code": code}


def status(folder: Path) -> dict[str, object]:
    client = Client(folder)
    client.connection.sendall(frame({"do": "status", "key": KEY}))
    [answer] = client.events()
    return dict(answer)


def frame(message: object) -> bytes:
    data = json.dumps(message).encode()
    return struct.pack("!I", len(data)) + data


def run(folder: Path, *argv: str) -> list[object]:
    client = Client(folder)
    client.call(*argv)
    return client.events()


def test_a_call_has_its_own_stdout_folder_umask_and_environment(tmp_path: Path) -> None:
    place = tmp_path / "pläce"
    place.mkdir()
    call = {"folder": str(place), "umask": 0o027, "environment": {"A": "b", "É": "ö\udcff"}}
    with supervised(tmp_path / "run", words), open(tmp_path / "out", "w+b") as out:
        client = Client(tmp_path / "run")
        client.call("where", stdout=out.fileno(), call=call)
        assert client.events() == [BEGUN, EFFECT, ended(0)]
        out.seek(0)
        assert json.loads(out.read()) == [str(place), 0o027, call["environment"]]


def test_a_pipe_ends_with_its_call(tmp_path: Path) -> None:
    """Neither the worker nor its next children keep it open."""
    with supervised(tmp_path / "run", words):
        reader, writer = os.pipe()
        waiting = Client(tmp_path / "run")
        waiting.call("sleep", "0.3")
        client = Client(tmp_path / "run")
        client.call("print", "all", stdout=writer)
        os.close(writer)
        # The child that is forked next is a copy of a process that has the pipe in its queue.
        os.kill(int(str(status(tmp_path / "run")["child"])), signal.SIGKILL)
        with os.fdopen(reader) as lines:
            assert lines.read() == "all"
        assert client.events()[-1] == ended(0)


@pytest.mark.parametrize("code", [0, 1, 2, 5, 7, 9, 130, 141])
def test_exit_codes_come_back_and_the_worker_goes_on(tmp_path: Path, code: int) -> None:
    with supervised(tmp_path / "run", words):
        before = status(tmp_path / "run")["child"]
        assert run(tmp_path / "run", "exit", str(code)) == [BEGUN, ended(code)]
        assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]
        # After an error, nobody knows what state its memory, or that of a GPU, is in.
        assert (status(tmp_path / "run")["child"] == before) == (code in (0, 2, 141))


def test_a_bug_is_a_traceback_and_the_worker_goes_on(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        assert run(tmp_path / "run", "bug") == [BEGUN, ended(1)]
        assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]


def test_a_call_whose_child_is_killed_has_no_end_and_the_next_one_runs(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        assert run(tmp_path / "run", "die") == [BEGUN]
        assert run(tmp_path / "run", "exit", "3") == [BEGUN, ended(3)]


def test_crashes_with_calls_between_them_do_not_end_the_worker(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        for _ in range(6):
            assert run(tmp_path / "run", "die") == [BEGUN]
            assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]


@pytest.mark.parametrize(
    ("target", "events"),
    [
        ("done.png", [BEGUN, EFFECT]),
        ("__pycache__/done.pyc", [BEGUN]),
        ("cache/sdcli/done", [BEGUN]),
        ("hub/models--a--b/done", [BEGUN]),
    ],
)
def test_a_file_of_a_cache_is_no_effect(tmp_path: Path, target: str, events: list[object]) -> None:
    (tmp_path / target).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "part").touch()
    caches = {"XDG_CACHE_HOME": str(tmp_path / "cache"), "HF_HUB_CACHE": str(tmp_path / "hub")}
    with supervised(tmp_path / "run", words):
        client = Client(tmp_path / "run")
        argv = ["publish", str(tmp_path / "part"), str(tmp_path / target)]
        client.call(*argv, call={"environment": caches})
        assert client.events() == [*events, ended(0)]


def test_what_cannot_be_undone_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with supervised(tmp_path / "run", words):
        client = Client(tmp_path / "run")
        client.call("rename", str(tmp_path / "file"))
        assert [client.receiver.wait() for _ in range(2)] == [BEGUN, EFFECT]
        os.kill(int(str(status(tmp_path / "run")["child"])), signal.SIGKILL)
        assert client.events() == []


def test_fifty_clients_wait_for_their_turn(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        clients = [Client(tmp_path / "run") for _ in range(50)]
        for number, client in enumerate(clients):
            client.call("exit", str(10 + number))
        assert [c.events()[-1] for c in clients] == [ended(10 + n) for n in range(50)]
        assert status(tmp_path / "run")["calls"] == 50


def test_a_client_that_leaves_the_queue_is_not_run(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        first = Client(tmp_path / "run")
        first.call("sleep", "0.5")
        second = Client(tmp_path / "run")
        second.call("exit", "0")
        second.connection.close()
        assert first.events() == [BEGUN, ended(0)]
        assert status(tmp_path / "run")["calls"] == 1


def test_the_call_of_a_client_that_is_killed_ends(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        client = Client(tmp_path / "run")
        client.call("sleep", "60")
        assert client.receiver.wait() == BEGUN
        client.connection.close()
        assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]


def test_a_client_that_is_dead_before_its_call_begins_ends_it(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        # After more dead children the worker would end.
        for _ in range(3):
            client = Client(tmp_path / "run")
            client.call("sleep", "60")
            client.connection.close()
            # The call would be given 30 seconds to end by itself.
            wait_until(lambda: status(tmp_path / "run")["state"] == "idle", 20)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_of_the_client_ends_its_call(tmp_path: Path, number: int) -> None:
    ready = tmp_path / "ready"

    def handle(arguments: list[str]) -> int:
        signal.signal(number, lambda *_: sys.exit(0))
        try:
            ready.touch()
            return words(arguments)
        except SystemExit:
            return 130

    with supervised(tmp_path / "run", handle):
        client = Client(tmp_path / "run")
        client.call("sleep", "60")
        assert client.receiver.wait() == BEGUN
        wait_until(ready.exists)
        client.connection.sendall(frame({"signal": int(number)}))
        assert client.events() == [ended(130)]


def test_a_signal_that_the_client_ignores_is_ignored(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        client = Client(tmp_path / "run")
        client.call("sleep", "0.5", call={"ignored": [int(signal.SIGINT)]})
        client.connection.sendall(frame({"signal": int(signal.SIGINT)}))
        assert client.events() == [BEGUN, ended(0)]


def test_a_worker_ends_after_its_time_without_calls(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words, idle=1.0) as pid:
        assert run(tmp_path / "run", "sleep", "1.5") == [BEGUN, ended(0)]
        assert os.waitpid(pid, 0)[1] == 0
    assert RuntimeFolder(str(tmp_path / "run")).connect() is None
    assert not (tmp_path / "run" / "worker.sock").exists()


def open_files_after_a_call(runtime: Path, pid: int) -> int:
    """How many files a supervisor has open, those inherited from the test's process included."""
    assert run(runtime, "exit", "0") == [BEGUN, ended(0)]
    return open_files(pid)


def open_files(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


HOSTILE = {
    "nothing": b"",
    "half a length": b"\0\0",
    "random": bytes(range(256)) * 300,
    "a length beyond all memory": b"\xff\xff\xff\xff",
    "too long": struct.pack("!I", MAX_BYTES + 1) + b"x" * 100,
    "endless": struct.pack("!I", MAX_BYTES) + b"[" * (MAX_BYTES + (1 << 20)),
    "deep": frame(0)[:0] + struct.pack("!I", 200_000) + b"[" * 200_000,
    "no JSON": struct.pack("!I", 3) + b"abc",
    "no UTF-8": struct.pack("!I", 3) + b'"\xff"',
    "a number": frame(5),
    "null": frame(None),
    "a list": frame([]),
    "no question": frame({}),
    "another question": frame({"do": "format the disk"}),
    "a call of nothing": frame({"do": "call", "key": KEY, "call": {}}),
    "a call without streams": frame(
        {
            "do": "call",
            "key": KEY,
            "call": {
                "arguments": ["exit", "0"], "folder": "/", "umask": 0, "environment": {},
                "ignored": [],
            },
        }
    ),
    "a call of numbers": frame(
        {
            "do": "call",
            "key": KEY,
            "call": {"arguments": [1], "folder": 2, "umask": "x", "environment": 3, "ignored": 4},
        }
    ),
    "a status without a key": frame({"do": "status"}),
    "a stop without a word": frame({"do": "stop"}),
}  # fmt: skip


def test_no_bytes_on_the_socket_end_the_worker(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        before = open_files_after_a_call(tmp_path / "run", pid)
        for name, data in HOSTILE.items():
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(str(tmp_path / "run" / "worker.sock"))
                try:
                    connection.sendall(data)
                    connection.shutdown(socket.SHUT_WR)
                    answer = connection.recv(1000)
                except (BrokenPipeError, ConnectionResetError):
                    answer = b""
                assert answer == b"", name
        assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]
        wait_until(lambda: open_files(pid) <= before)


def test_a_silent_client_keeps_nobody_waiting(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        silent = [Client(tmp_path / "run") for _ in range(20)]
        assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]
        assert len(silent) == 20


def test_too_many_open_files_with_a_call_are_closed(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        before = open_files_after_a_call(tmp_path / "run", pid)
        for _ in range(20):
            client = Client(tmp_path / "run")
            null = os.open(os.devnull, os.O_RDWR)
            for _ in range(3):
                socket.send_fds(client.connection, [b"\0"], [null] * 5)
            os.close(null)
            client.connection.close()
        assert run(tmp_path / "run", "exit", "0") == [BEGUN, ended(0)]
        wait_until(lambda: open_files(pid) <= before)


def test_a_call_of_another_version_replaces_a_worker_without_work(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        client = Client(tmp_path / "run")
        client.call("exit", "0", key="another")
        assert client.events() == []
        assert os.waitpid(pid, 0)[1] == 0


def test_a_call_of_another_version_does_not_disturb_a_run(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        busy = Client(tmp_path / "run")
        busy.call("sleep", "1")
        assert busy.receiver.wait() == BEGUN
        client = Client(tmp_path / "run")
        client.call("exit", "0", key="another")
        [answer] = client.events()
        assert answer["event"] == "refused"
        assert "busy" in answer["reason"]
        assert busy.events() == [ended(0)]


def test_a_folder_that_is_gone_is_refused(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words):
        client = Client(tmp_path / "run")
        client.call("exit", "0", call={"folder": str(tmp_path / "nowhere")})
        [answer] = client.events()
        assert answer["event"] == "refused"


def test_stop_waits_for_the_run(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        busy = Client(tmp_path / "run")
        busy.call("sleep", "0.5")
        assert busy.receiver.wait() == BEGUN
        stopper = Client(tmp_path / "run")
        stopper.connection.sendall(frame({"do": "stop", "now": False}))
        assert stopper.receiver.wait() == {"pid": pid, "busy": True}
        assert busy.events() == [ended(0)]
        assert os.waitpid(pid, 0)[1] == 0


def test_stop_now_does_not_wait(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        busy = Client(tmp_path / "run")
        busy.call("sleep", "60")
        assert busy.receiver.wait() == BEGUN
        stopper = Client(tmp_path / "run")
        stopper.connection.sendall(frame({"do": "stop", "now": True}))
        assert busy.events() == []
        assert os.waitpid(pid, 0)[1] == 0


def test_the_child_of_a_killed_worker_ends_with_its_run(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        child = int(str(status(tmp_path / "run")["child"]))
        client = Client(tmp_path / "run")
        client.call("sleep", "0.5")
        assert client.receiver.wait() == BEGUN
        os.kill(pid, signal.SIGKILL)
        assert client.events() == [ended(0)]
        os.waitpid(pid, 0)
        wait_until(lambda: is_gone(child))


def test_a_worker_whose_socket_another_one_replaced_ends(tmp_path: Path) -> None:
    with supervised(tmp_path / "run", words) as pid:
        before = Client(tmp_path / "run")
        (tmp_path / "run" / "worker.sock").unlink()
        # It may notice that before the call.
        with suppress(BrokenPipeError, ConnectionResetError):
            before.call("exit", "0")
        before.events()
        assert os.waitpid(pid, 0)[1] == 0


PROBE = """
import socket, sys
connection = socket.socket(socket.AF_UNIX)
try:
    connection.connect(sys.argv[1])
    connection.sendall(bytes.fromhex(sys.argv[2]))
    print(connection.recv(100))
except OSError as error:
    print(type(error).__name__)
"""


@pytest.mark.skipif(os.getuid() != 0, reason="only root can be another user")
@pytest.mark.parametrize(
    ("modes", "answers"),
    [
        ((0o700, 0o600), ["PermissionError"]),
        ((0o711, 0o777), ["b''", "ConnectionResetError", "BrokenPipeError"]),
    ],
)
def test_another_user_gets_no_answer(
    tmp_path_factory: pytest.TempPathFactory, modes: tuple[int, int], answers: list[str]
) -> None:
    """Neither by the modes of the folder, nor if somebody has opened it to all."""
    folder = Path("/tmp", f"sdcli-test-{os.getpid()}-{modes[0]:o}")
    try:
        with supervised(folder, words):
            os.chmod(folder, modes[0])
            os.chmod(folder / "worker.sock", modes[1])
            hello = frame({"do": "status", "key": KEY}).hex()
            argv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"]
            argv += ["/usr/bin/env", "python3", "-c", PROBE, str(folder / "worker.sock"), hello]
            ran = subprocess.run(argv, capture_output=True, text=True, cwd="/")
            assert ran.stdout.strip() in answers, ran
            assert run(folder, "exit", "0") == [BEGUN, ended(0)]
    finally:
        subprocess.run(["rm", "-rf", str(folder)], check=True)


def test_its_socket_is_for_the_user_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        with supervised(tmp_path / "run", words):
            assert (tmp_path / "run" / "worker.sock").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(before)
