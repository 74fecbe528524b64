"""Converted files hold the tensors that torch.load finds, bit for bit."""

from __future__ import annotations

import argparse
import collections
import pickle
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

from sdcli.numerics.float_formats import convert_floats
from tests.conftest import RunCli


class Callback:
    """Stands for a class of a training library, which is a key of its checkpoints."""


def weights() -> dict[str, torch.Tensor]:
    """Tensors of every dtype and layout that checkpoints have."""
    torch.manual_seed(7)
    plain = torch.randn(6, 5)
    integers = (torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64)
    return {
        "plain": plain,
        "half": plain.half(),
        "bfloat16": plain.bfloat16(),
        "double": plain.double(),
        "float8": plain.to(torch.float8_e4m3fn),
        "uint16": torch.arange(4).to(torch.uint16),
        **{str(kind)[6:]: torch.arange(5).to(kind) for kind in integers},
        "bool": torch.tensor([True, False]),
        "scalar": torch.tensor(0.5),
        "empty": torch.empty(0, 3),
        "transposed": plain.t(),
        "part": plain[2:4, 1:3],
        "same data": plain.view(-1)[3:11],
        "step": plain[:, ::2],
        "expanded": plain[:1].expand(2, 5)[:, :2],
        "channels last": torch.randn(1, 3, 4, 4).to(memory_format=torch.channels_last),
        "parameter": torch.nn.Parameter(torch.ones(2)),
    }


def legacy(value: Any, path: Path) -> None:
    torch.save(value, path, _use_new_zipfile_serialization=False)


def deflated(value: Any, path: Path) -> None:
    """The file after somebody packed it again."""
    torch.save(value, path.with_suffix(".tmp"))
    packed = zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED)
    with zipfile.ZipFile(path.with_suffix(".tmp")) as old, packed as new:
        for name in old.namelist():
            new.writestr(name, old.read(name))


def protocol(number: int) -> Callable[[Any, Path], None]:
    def save(value: Any, path: Path) -> None:
        torch.save(value, path, pickle_protocol=number)

    return save


SAVERS = {
    "zip": torch.save,
    "legacy": legacy,
    "deflated": deflated,
    **{f"protocol {number}": protocol(number) for number in (2, 3, 4, 5)},
}


def extras() -> dict[str, Any]:
    """What training programs save beside the weights."""
    optimizer = torch.optim.Adam([torch.nn.Parameter(torch.ones(2))])
    return {
        "epoch": 3,
        "huge": 10**5000,
        "lr": 0.5,
        "name": "x",
        "callbacks": {Callback: {"best": np.float64(1.5)}},
        "args": argparse.Namespace(steps=3),
        "defaults": collections.defaultdict(list, {"a": [1]}),
        "array": np.ones(3),
        "set": {1, 2},
        "optimizer_states": [optimizer.state_dict()],
        "size": torch.Size([1, 2]),
        "dtype": torch.float16,
        ("a", "tuple"): 1,
    }


def test_the_wrapped_weights_are_converted_and_the_rest_is_named(
    run_cli: RunCli, tmp_path: Path
) -> None:
    for name, save in SAVERS.items():
        source, target = tmp_path / "x.ckpt", tmp_path / f"{name}.safetensors"
        save({"state_dict": weights(), **extras()}, source)
        ran = run_cli("models", "convert", str(source), str(target), "--json")
        assert ran.code == 0, ran.stdout
        assert_equal(load_file(target), weights())
        assert {"epoch", "args", "callbacks", "array"} <= set(ran.document["dropped"])
        assert "argparse.Namespace" in ran.document["other_globals"]


def assert_equal(got: dict[str, torch.Tensor], expected: dict[str, torch.Tensor]) -> None:
    assert set(got) == set(expected)
    for name, tensor in expected.items():
        assert got[name].dtype == tensor.dtype, name
        assert got[name].shape == tensor.shape, name
        assert torch.equal(as_bytes(got[name]), as_bytes(tensor)), name


def as_bytes(tensor: torch.Tensor) -> torch.Tensor:
    return tensor.detach().contiguous().view(-1).view(torch.uint8)


Model = torch.nn.Sequential(torch.nn.Linear(3, 2), torch.nn.BatchNorm1d(2))


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"a": torch.ones(2)}, {"a": torch.ones(2)}),
        (collections.OrderedDict(a=torch.ones(2)), {"a": torch.ones(2)}),
        ({"state_dict": {"state_dict": {"a": torch.ones(2)}}}, {"a": torch.ones(2)}),
        ({"model_state_dict": {"a": torch.ones(2)}}, {"a": torch.ones(2)}),
        ({"image_proj": {"w": torch.ones(2)}, "ip_adapter": {"1.k": torch.zeros(1)}},
         {"image_proj.w": torch.ones(2), "ip_adapter.1.k": torch.zeros(1)}),
        ({"string_to_param": {"*": torch.ones(2, 4)}, "name": "x"},
         {"emb_params": torch.ones(2, 4)}),
        ({"string_to_param": torch.nn.ParameterDict({"*": torch.ones(2, 4)})},
         {"emb_params": torch.ones(2, 4)}),
        ({"<cat>": torch.ones(4)}, {"<cat>": torch.ones(4)}),
        ([torch.ones(2), torch.zeros(1)], {"0": torch.ones(2), "1": torch.zeros(1)}),
        (Model, Model.state_dict()),
        ({"a": torch.ones(2), "b": None, "c": "text"}, {"a": torch.ones(2)}),
    ],
)  # fmt: skip
def test_shapes_of_files(
    value: Any, expected: dict[str, torch.Tensor], run_cli: RunCli, tmp_path: Path
) -> None:
    for save in (torch.save, legacy):
        save(value, tmp_path / "x.pt")
        ran = run_cli("models", "convert", "x.pt", "x.safetensors", "--force")
        assert ran.code == 0, ran.stderr
        assert_equal(load_file(tmp_path / "x.safetensors"), expected)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float32"])
def test_dtypes_are_those_of_torch(dtype: str, run_cli: RunCli, tmp_path: Path) -> None:
    torch.save(weights(), tmp_path / "x.ckpt")
    assert run_cli("models", "convert", "x.ckpt", "x.safetensors", "--dtype", dtype).code == 0
    wanted = getattr(torch, dtype)
    converted = {
        name: tensor.to(wanted)
        if tensor.is_floating_point() and tensor.dtype != torch.float8_e4m3fn
        else tensor
        for name, tensor in weights().items()
    }
    assert_equal(load_file(tmp_path / "x.safetensors"), converted)
    with safe_open(tmp_path / "x.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}


@pytest.mark.parametrize("target", ["F16", "BF16", "F32"])
@pytest.mark.parametrize("source", ["F16", "BF16", "F32", "F64"])
def test_every_pattern_of_bits_is_converted_as_torch_does(source: str, target: str) -> None:
    kinds = {"F16": torch.float16, "BF16": torch.bfloat16, "F32": torch.float32,
             "F64": torch.float64}  # fmt: skip
    halves = torch.arange(1 << 16, dtype=torch.int32).to(torch.int16)
    generator = torch.Generator().manual_seed(7)
    words = torch.randint(-(1 << 31), 1 << 31, (1 << 16,), generator=generator, dtype=torch.int32)
    ties = (torch.arange(1 << 16, dtype=torch.int32) << 16) | 0x8000
    bits = halves if source in ("F16", "BF16") else torch.cat([words, ties])
    numbers = bits.view(kinds["F32" if source == "F64" else source]).to(kinds[source])
    data = numbers.view(torch.uint8).numpy().tobytes()
    got, infinite = convert_floats(data, source, target)
    result = torch.frombuffer(bytearray(got), dtype=kinds[target])
    expected = numbers.to(kinds[target])
    torch.testing.assert_close(result, expected, rtol=0, atol=0, equal_nan=True)
    assert infinite == int((expected.isinf() & numbers.isfinite()).sum())


def test_overflow_is_counted(run_cli: RunCli, tmp_path: Path) -> None:
    torch.save({"w": torch.tensor([1.0, 1e6, -1e6, float("inf")])}, tmp_path / "x.ckpt")
    ran = run_cli("models", "convert", "x.ckpt", "x.safetensors", "--dtype", "fp16")
    assert "2 numbers became infinite, in w" in ran.stderr


def test_safetensors_can_change_their_dtype(run_cli: RunCli, tmp_path: Path) -> None:
    save_file({"w": torch.randn(5)}, tmp_path / "x.safetensors", metadata={"title": "T"})
    assert (
        run_cli("models", "convert", "x.safetensors", "y.safetensors", "--dtype", "bf16").code == 0
    )
    with safe_open(tmp_path / "y.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt", "title": "T"}
        assert file.get_tensor("w").dtype == torch.bfloat16


def test_existing_files_are_kept_without_force(run_cli: RunCli, tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "x.ckpt")
    (tmp_path / "y.safetensors").write_bytes(b"mine")
    ran = run_cli("models", "convert", "x.ckpt", "y.safetensors")
    assert (ran.code, (tmp_path / "y.safetensors").read_bytes()) == (5, b"mine")
    assert run_cli("models", "convert", "x.ckpt", "y.safetensors", "--force").code == 0
    for target in ("y.ckpt", "x.ckpt", "y"):
        assert run_cli("models", "convert", "x.ckpt", target, "--force").code == 2
    assert run_cli("models", "convert", "y.safetensors", "y.safetensors", "--force").code == 2
    assert run_cli("models", "convert", "x.ckpt", "new/y.safetensors").code == 0
    (tmp_path / "file").touch()
    assert run_cli("models", "convert", "x.ckpt", "file/y.safetensors").code == 5
    assert run_cli("models", "convert", "gone.ckpt", "z.safetensors").code == 2


def test_damaged_files_leave_nothing_behind(run_cli: RunCli, tmp_path: Path) -> None:
    for save in (torch.save, legacy):
        save({"w": torch.randn(5000)}, tmp_path / "x.ckpt")
        data = (tmp_path / "x.ckpt").read_bytes()
        for cut in range(1, 21):
            (tmp_path / "x.ckpt").write_bytes(data[: len(data) * cut // 21])
            ran = run_cli("models", "convert", "x.ckpt", "x.safetensors")
            assert ran.code in (6, 7), (cut, ran.stderr)
            assert sorted(p.name for p in tmp_path.iterdir()) == ["x.ckpt"]


def test_a_flipped_bit_of_the_data_is_found(run_cli: RunCli, tmp_path: Path) -> None:
    torch.save({"w": torch.zeros(5000)}, tmp_path / "x.ckpt")
    data = bytearray((tmp_path / "x.ckpt").read_bytes())
    data[10_000] ^= 1
    (tmp_path / "x.ckpt").write_bytes(data)
    ran = run_cli("models", "convert", "x.ckpt", "x.safetensors")
    assert (ran.code, "CRC" in ran.stderr) == (7, True)


def test_reading_imports_neither_torch_nor_pickle_machinery(tmp_path: Path) -> None:
    torch.save({"w": torch.ones(2)}, tmp_path / "x.ckpt")
    code = (
        "import sys; from sdcli.cli import main; code = main(sys.argv[1:])\n"
        "print([m for m in ('torch', 'diffusers', 'transformers') if m in sys.modules], code)"
    )
    argv = ["models", "convert", "x.ckpt", "x.safetensors", "-q"]
    ran = subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, cwd=tmp_path,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert ran.stdout.splitlines()[-1] == "[] 0"


def test_what_python_would_load_is_the_same(tmp_path: Path) -> None:
    """The oracle itself: torch.load agrees with `weights` for each way of saving."""
    # torch.load knows no storage of these dtypes in its oldest format.
    new = (torch.float8_e4m3fn, torch.uint16)
    for save in SAVERS.values():
        old = {n: t for n, t in weights().items() if save is not legacy or t.dtype not in new}
        save({"state_dict": old}, tmp_path / "x.ckpt")
        loaded = torch.load(tmp_path / "x.ckpt", weights_only=False, pickle_module=pickle)
        assert_equal(loaded["state_dict"], old)
