"""No file runs anything, reads out of its data or fills the memory, whatever it says."""

from __future__ import annotations

import os
import pickle
import resource
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from sdcli.checkpoints.weight_source import read_weights
from sdcli.errors import CorruptError, SdcliError, UnsafeError
from tests.checkpoints.pickles.hostile_files import (
    CONTAINERS,
    Reduced,
    hostile_containers,
    hostile_tensors,
    memory_bombs,
    payloads,
    raw_pickles,
    zip_of,
)
from tests.conftest import RunCli

ALLOWED = (0, 6, 7)
SOME = Path("marker")


@pytest.fixture
def marker(tmp_path: Path) -> Path:
    (tmp_path / "script.py").write_text(f"open({str(tmp_path / 'marker')!r}, 'w').close()")
    (tmp_path / "nested.pt").write_bytes(
        zip_of(pickle.dumps(Reduced(os.system, f"touch {tmp_path / 'marker'}"), 2))
    )
    return tmp_path / "marker"


def convert(run_cli: RunCli, data: bytes, folder: Path) -> tuple[int, str]:
    """Inspect and convert a file, and return the exit code and message of the second."""
    source, target = folder / "hostile.ckpt", folder / "out.safetensors"
    source.write_bytes(data)
    ran = run_cli("models", "convert", str(source), str(target))
    assert ran.code in ALLOWED, ran.stderr
    assert "Traceback" not in ran.stderr
    assert (ran.code == 0) == target.exists()
    looked = run_cli("inspect", str(source))
    assert looked.code in ALLOWED, looked.stderr
    return ran.code, ran.stderr


def run_by_pickle(data: bytes) -> None:
    """Load a pickle as Python does, in a process of its own."""
    code = "import pickle, sys; pickle.loads(sys.stdin.buffer.read())"
    path = os.pathsep.join(sys.path)
    subprocess.run(
        [sys.executable, "-c", code], input=data, capture_output=True, env={"PYTHONPATH": path}
    )


@pytest.mark.sample(5)
@pytest.mark.parametrize("name", sorted(payloads(SOME)))
def test_a_call_is_not_made(name: str, marker: Path, run_cli: RunCli, tmp_path: Path) -> None:
    payload = payloads(marker)[name]
    if name != "io.open":  # which only reads
        run_by_pickle(pickle.dumps(payload))
        assert marker.exists(), "the payload does nothing, so this test shows nothing"
        marker.unlink() if marker.is_file() else marker.rmdir()
    objects = {"alone": payload, "in a state dict": {"state_dict": {"w": payload}}}
    for container in CONTAINERS.values():
        for thing in objects.values():
            for protocol in (2, 4):
                code, _ = convert(run_cli, container(pickle.dumps(thing, protocol)), tmp_path)
                assert code != 0
                assert not marker.exists()


@pytest.mark.parametrize("protocol", range(6))
@pytest.mark.parametrize("container", CONTAINERS)
def test_no_protocol_makes_the_call(
    container: str, protocol: int, marker: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    pickled = pickle.dumps({"w": payloads(marker)["os.system"]}, protocol)
    code, message = convert(run_cli, CONTAINERS[container](pickled), tmp_path)
    assert code == 6
    assert "posix.system" in message or "no tensors" in message
    assert not marker.exists()


@pytest.mark.parametrize("name", sorted(raw_pickles(SOME)))
def test_no_opcode_makes_the_call(name: str, marker: Path, run_cli: RunCli, tmp_path: Path) -> None:
    for container in CONTAINERS.values():
        code, _ = convert(run_cli, container(raw_pickles(marker)[name]), tmp_path)
        assert code in (6, 7)
        assert not marker.exists()


def test_most_opcodes_would_make_the_call(marker: Path) -> None:
    """The files above are no straw men: Python's own unpickler runs them."""
    ran = []
    for name, data in raw_pickles(marker).items():
        run_by_pickle(data)
        if marker.exists():
            marker.unlink()
            ran.append(name)
    assert {"INST", "OBJ", "STACK_GLOBAL", "memo", "memoize", "key", "BUILD", "dotted"} <= set(ran)


@pytest.mark.sample(3)
@pytest.mark.parametrize("name", sorted(memory_bombs()))
def test_a_small_file_takes_little_memory_and_time(name: str, tmp_path: Path) -> None:
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    # Each file is in one container, and each container has some.
    containers = list(CONTAINERS.values())
    container = containers[sorted(memory_bombs()).index(name) % len(containers)]
    path = tmp_path / "bomb.ckpt"
    path.write_bytes(container(memory_bombs()[name]))
    with pytest.raises((UnsafeError, CorruptError)):
        read_weights(path)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    assert grown < 300_000  # KiB


@pytest.mark.parametrize("name", sorted(hostile_tensors()))
def test_a_tensor_stays_within_its_data(name: str, run_cli: RunCli, tmp_path: Path) -> None:
    code, message = convert(run_cli, hostile_tensors()[name], tmp_path)
    assert code in (6, 7)
    assert "hostile.ckpt" in message


@pytest.mark.sample(5)
@pytest.mark.parametrize("name", [name for name, _ in hostile_containers(SOME)])
def test_only_containers_of_pytorch_are_opened(
    name: str, marker: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    code, _ = convert(run_cli, dict(hostile_containers(marker))[name], tmp_path)
    assert code in (6, 7)
    assert not marker.exists()


@pytest.mark.parametrize("container", CONTAINERS)
def test_nor_is_the_call_made_by_the_other_commands(
    container: str, marker: Path, run_cli: RunCli, tmp_path: Path
) -> None:
    path = tmp_path / "hostile.ckpt"
    payload = {"state_dict": {"w": payloads(marker)["os.system"]}}
    path.write_bytes(CONTAINERS[container](pickle.dumps(payload)))
    assert run_cli("models", "verify", str(path)).code == 7
    assert run_cli("models", "list", "--models-dir", str(tmp_path)).code == 0
    for option in ("--model", "--vae"):
        ran = run_cli("generate", "a cat", option, str(path), "-q")
        assert ran.code == 6
        assert "sdcli models convert" in ran.stderr
    assert not marker.exists()


def test_a_valid_file_passes_the_same_checks(run_cli: RunCli, tmp_path: Path) -> None:
    from tests.checkpoints.pickles.hostile_files import tensor_pickle

    data = zip_of(tensor_pickle(), **{"data/0": bytes(16)})
    assert convert(run_cli, data, tmp_path)[0] == 0


@pytest.mark.sample(14)
@pytest.mark.parametrize("name", sorted({**memory_bombs(), **raw_pickles(SOME)}))
def test_every_error_names_the_file(name: str, tmp_path: Path) -> None:
    path = tmp_path / "x.ckpt"
    path.write_bytes(zip_of({**memory_bombs(), **raw_pickles(SOME)}[name]))
    with pytest.raises(SdcliError) as caught:
        read_weights(path)
    assert str(path) in caught.value.message
    assert len(caught.value.message) < 400 + len(str(path))


def test_two_tensors_of_one_name_are_refused(tmp_path: Path) -> None:
    tensor = torch.zeros(2)
    torch.save({"a": {"b": tensor}, "a.b": tensor}, tmp_path / "x.ckpt")
    with pytest.raises(UnsafeError, match=r"x\.ckpt has two tensors of the name 'a\.b'"):
        read_weights(tmp_path / "x.ckpt")
