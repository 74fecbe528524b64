"""Files that would run code, or fill the memory, if a loader trusted them."""

from __future__ import annotations

import builtins
import functools
import importlib
import io
import operator
import os
import pickle
import runpy
import struct
import subprocess
import tarfile
import zipfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

LEGACY_START = b"".join(
    pickle.dumps(part, 2)
    for part in (0x1950A86A20F9469CFC6C, 1001, {"little_endian": True, "protocol_version": 1001})
)
NAMESPACE = b"\x80\x02cargparse\nNamespace\n)\x81"
LEGACY_END = pickle.dumps([], 2)


class Reduced:
    """An object whose pickle is a call."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.call = (function, arguments)

    def __reduce__(self) -> Any:
        return self.call


def payloads(marker: Path) -> dict[str, Any]:
    """Objects whose pickles make the file `marker`, each by another function."""
    code = f"open({str(marker)!r}, 'w').close()"
    statement = f"__import__('os').mknod({str(marker)!r})"
    imported = Reduced(importlib.import_module, "os")
    touch = Reduced(getattr, imported, "mknod")
    return {
        "os.system": Reduced(os.system, f"touch {marker}"),
        "subprocess": Reduced(subprocess.check_call, ["touch", str(marker)]),
        "eval": Reduced(eval, statement),
        "exec": Reduced(exec, code),
        "open": Reduced(open, str(marker), "w"),
        "io.open": Reduced(io.open_code, str(marker)),
        "mkdir": Reduced(os.mkdir, str(marker)),
        "getattr": Called(touch, str(marker)),
        "attrgetter": Called(Reduced(Call(operator.attrgetter("mknod")), imported), str(marker)),
        "partial": Called(functools.partial(os.mknod, str(marker))),
        "map": Reduced(list, Reduced(map, os.mknod, [str(marker)])),
        "methodcaller": Reduced(Call(operator.methodcaller("mknod", str(marker))), imported),
        "import": Called(
            Reduced(getattr, Reduced(builtins.__import__, "os"), "mkdir"), str(marker)
        ),
        "run_path": Reduced(runpy.run_path, str(marker.with_name("script.py"))),
        "load": Reduced(pickle.loads, pickle.dumps(Reduced(os.system, f"touch {marker}"))),
        "torch": Called(
            functools.partial(torch.load, str(marker.with_name("nested.pt")), weights_only=False)
        ),
    }


class Call:
    """Stands for a callable object in the place of a function."""

    def __init__(self, target: Any) -> None:
        self.target = target

    def __call__(self, *arguments: Any) -> Any:
        raise AssertionError("pickled, never called")

    def __reduce__(self) -> Any:
        return self.target.__reduce__()


class Called:
    """A call of something that is an object of the same pickle."""

    def __init__(self, target: Any, *arguments: Any) -> None:
        self.target, self.arguments = target, arguments

    def __reduce__(self) -> Any:
        return operator.call, (self.target, *self.arguments)


def zip_of(pickled: bytes, *, root: str = "archive", **more: bytes) -> bytes:
    """A zip file as torch.save writes it, with this data.pkl."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr(f"{root}/data.pkl", pickled)
        archive.writestr(f"{root}/version", b"3\n")
        for name, data in more.items():
            archive.writestr(f"{root}/{name}", data)
    return out.getvalue()


def legacy_of(pickled: bytes) -> bytes:
    """A file as torch.save wrote it before version 1.6, with this object and no data."""
    return LEGACY_START + pickled + LEGACY_END


CONTAINERS: dict[str, Callable[[bytes], bytes]] = {"zip": zip_of, "legacy": legacy_of, "raw": bytes}


def tensor_pickle(
    *, count: int = 4, offset: int = 0, shape: object = (4,), strides: object = (1,), key: str = "0"
) -> bytes:
    """The pickle of {"w": tensor} with a storage of `count` float32."""
    return (
        b"\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n(("
        b"X\x07\x00\x00\x00storagectorch\nFloatStorage\n"
        + _text(key)
        + b"X\x03\x00\x00\x00cpu"
        + _int(count)
        + b"tQ"
        + _int(offset)
        + pickle.dumps(shape, 2)[2:-1]
        + pickle.dumps(strides, 2)[2:-1]
        + b"\x89}tRs."
    )


def _text(text: str) -> bytes:
    return b"X" + struct.pack("<I", len(text)) + text.encode()


def _int(number: int) -> bytes:
    return b"L%dL\n" % number


def raw_pickles(marker: Path) -> dict[str, bytes]:
    """Pickles in opcodes that Python's pickler does not write, all of them to run `touch`."""
    command = f"touch {marker}"
    argument = _text(command)
    return {
        "INST": b"(" + argument + b"ios\nsystem\n.",
        "OBJ": b"(cos\nsystem\n" + argument + b"o.",
        "NEWOBJ": b"\x80\x02cos\nsystem\n" + argument + b"\x85\x81.",
        "NEWOBJ_EX": b"\x80\x04cos\nsystem\n" + argument + b"\x85}\x92.",
        "STACK_GLOBAL": b"\x80\x04\x8c\x02os\x8c\x06system\x93" + argument + b"\x85R.",
        "memo": b"cos\nsystem\np5\n0" + argument + b"p6\n0g5\n(g6\ntR.",
        "memoize": b"\x80\x04cos\nsystem\n\x940" + argument + b"\x940h\x00(h\x01tR.",
        "key": b"}cos\nsystem\n(" + argument + b"tRNs.",
        "BUILD": b"\x80\x02cargparse\nNamespace\n)\x81cos\nsystem\n(" + argument + b"tRb.",
        "setstate": NAMESPACE + b"}X\x0c\x00\x00\x00__setstate__cos\nsystem\nsb"
        + argument + b"b.",
        "dotted": b"\x80\x04\x8c\x06shutil\x8c\x09os.system\x93" + argument + b"\x85R.",
        "after STOP": b"N.cos\nsystem\n(" + argument + b"tR.",
        "EXT": b"\x80\x02\x82\x01(" + argument + b"tR.",
        "tensor": b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(cos\nsystem\nN(" + argument
        + b"tNtR.",
        "parameter": b"\x80\x02ctorch._utils\n_rebuild_parameter\n(cos\nsystem\n(" + argument
        + b"tRtR.",
        "OrderedDict": b"\x80\x02ccollections\nOrderedDict\n(cos\nsystem\n(" + argument + b"tRtR.",
        "defaultdict": b"ccollections\ndefaultdict\n(cos\nsystem\ntR}U\x01aNsb.",
        "persistent": b"\x80\x02(X\x07\x00\x00\x00storagecos\nsystem\n" + argument + b"NK\x01tQ.",
    }  # fmt: skip


def memory_bombs() -> dict[str, bytes]:
    """Pickles of a few bytes that ask for gigabytes, or for time without end."""
    nest = b"\x80\x02)" + b"q\x00h\x00\x86" * 200
    return {
        "memo index": b"\x80\x02Nr\xff\xff\xff\x7f.",
        "negative memo index": b"Np-5\n.",
        "BINBYTES8": b"\x80\x04\x8e" + struct.pack("<Q", 1 << 62) + b"a.",
        "BYTEARRAY8": b"\x80\x05\x96" + struct.pack("<Q", 1 << 40) + b"a.",
        "BINUNICODE": b"\x80\x02X\xff\xff\xff\x7fa.",
        "FRAME": b"\x80\x04\x95" + struct.pack("<Q", 1 << 60) + b"N.",
        "LONG4": b"\x80\x02\x8b\xff\xff\xff\x7fa.",
        "negative LONG4": b"\x80\x02\x8b\xff\xff\xff\xffa.",
        "digits": b"L" + b"9" * 100_000 + b"L\n.",
        "instructions": b"\x80\x02" + b"]" * 1_100_000 + b".",
        "length": b"\x80\x02X" + struct.pack("<I", 40 << 20) + bytes(40 << 20) + b".",
        "nested key": nest + b"q\x01}h\x01Ns.",
        "nested value": b"\x80\x02}" + b"q\x00}h\x00X\x01\x00\x00\x00ah\x00s" * 3 + b".",
        "shared dicts": shared_dicts(),
        "circle": b"\x80\x02}q\x00X\x01\x00\x00\x00ah\x00s.",
        "state dict of itself": b"\x80\x02}q\x00X\x0a\x00\x00\x00state_dicth\x00s.",
        "depth": b"\x80\x02" + b"]" * 100_000 + b"a" * 99_999 + b".",
        "out of band": b"\x80\x05\x97.",
        "underflow": b"\x80\x02R.",
        "no mark": b"\x80\x02t.",
        "unknown opcode": b"\x80\x02\xff.",
        "no stop": b"\x80\x02N",
        "nothing": b"",
    }


def shared_dicts() -> bytes:
    """Forty dictionaries, each with the one before it under two keys: 2**40 ways to the end."""
    data = b"\x80\x02}q\x00"
    for index in range(40):
        before, here = bytes([index]), bytes([index + 1])
        data += b"}q" + here + b"X\x01\x00\x00\x00ah" + before + b"sX\x01\x00\x00\x00bh" + before
        data += b"s"
    return data + b"."


def hostile_tensors() -> dict[str, bytes]:
    """Zip files with four float32 whose tensors claim to be something else."""
    data = bytes(16)
    views: dict[str, dict[str, Any]] = {
        "past the end": {"offset": 1},
        "negative offset": {"offset": -1},
        "huge offset": {"offset": 1 << 60},
        "negative stride": {"strides": (-1,)},
        "huge stride": {"strides": (1 << 40,)},
        "repeated": {"shape": (1 << 30,), "strides": (0,)},
        "huge shape": {"shape": (1 << 40, 1 << 40), "strides": (0, 0)},
        "negative shape": {"shape": (-4,)},
        "more strides": {"strides": (1, 1)},
        "dimensions": {"shape": (1,) * 100, "strides": (1,) * 100},
        "shape of text": {"shape": "4"},
        "shape of floats": {"shape": (4.0,)},
        "more data than there is": {"count": 1 << 40},
        "less data than there is": {"count": 3, "shape": (3,)},
        "negative count": {"count": -4},
    }
    files = {
        name: zip_of(tensor_pickle(**view), **{"data/0": data}) for name, view in views.items()
    }
    files["no such data"] = zip_of(tensor_pickle(key="7"), **{"data/0": data})
    files["path as a key"] = zip_of(tensor_pickle(key="../../etc/passwd"), **{"data/0": data})
    return files


def hostile_containers(marker: Path) -> Iterator[tuple[str, bytes]]:
    """Containers that other loaders hand on to code with no guard, by name."""
    evil = pickle.dumps(Reduced(os.system, f"touch {marker}"), 2)
    good = tensor_pickle()
    data = {"data/0": bytes(16)}
    yield (
        "two data.pkl",
        _zip([("a/data.pkl", good), ("b/data.pkl", evil), ("a/data/0", bytes(16))]),
    )
    yield "no data.pkl", _zip([("a/other.pkl", evil)])
    yield "TorchScript", zip_of(good, **data, **{"constants.pkl": evil, "code/x.py": b"x"})
    yield "nested zip", zip_of(good, **data, **{"inner.zip": zip_of(evil)})
    yield "foreign member", zip_of(good, **data, **{"../evil.py": b"x"})
    yield "zip bomb", _deflated(good, 200 << 20)
    yield "tar", _tar(evil)
    yield "zip in front", zip_of(good, **data) + zip_of(evil)
    yield "zip behind a pickle", evil + zip_of(good, **data)
    yield "big endian", zip_of(good, **data, byteorder=b"big")


def _zip(members: list[tuple[str, bytes]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, data in members:
            archive.writestr(name, data)
    return out.getvalue()


def _deflated(pickled: bytes, size: int) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/data.pkl", pickled)
        archive.writestr("a/data/0", bytes(size))
    return out.getvalue()


def _tar(pickled: bytes) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name in ("sys_info", "pickle", "tensors", "storages"):
            info = tarfile.TarInfo(name)
            info.size = len(pickled)
            archive.addfile(info, io.BytesIO(pickled))
    return out.getvalue()
