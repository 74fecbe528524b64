"""Compute the key of a worker: what must be the same for it to stand in for a new process."""

from __future__ import annotations

import hashlib
import os
import resource
import sys
from collections.abc import Iterator
from typing import Final

IDLE_VARIABLE: Final = "SDCLI_WORKER_IDLE"
PACKAGE: Final = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))

# Read when Python or a library starts, and never again. Other variables are passed on with a call.
_PREFIXES: Final = (
    "ACCELERATE_", "ATEN_", "CUBLAS_", "CUDA_", "CUDNN_", "DIFFUSERS_", "DNNL_", "GOMP_", "HF_",
    "HIP_", "HSA_", "HUGGINGFACE_", "KMP_", "LC_", "LD_", "MALLOC_", "MKL_", "NVIDIA_", "OMP_",
    "ONEDNN_", "OPENBLAS_", "PYTHON", "PYTORCH_", "ROCR_", "SAFETENSORS_", "SSL_CERT_",
    "TOKENIZERS_", "TORCH", "TRANSFORMERS_", "XLA_",
)  # fmt: skip
_PROXIES: Final = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
_NAMES: Final = frozenset({"HOME", "LANG", "LANGUAGE", "XDG_CACHE_HOME", IDLE_VARIABLE, *_PROXIES})
_NAMESPACES: Final = ("mnt", "net", "pid", "user")
_LIMITS: Final = sorted(name for name in dir(resource) if name.startswith("RLIMIT_"))


def worker_key() -> str:
    """Return the key of a worker that this process could use, in 32 hex digits."""
    facts = (
        sys.version,
        sys.executable,
        sys.prefix,
        tuple(sys.flags),
        tuple(sys.warnoptions),
        list(_file_states(PACKAGE)),
        list(_package_states()),
        sorted((name, value) for name, value in os.environ.items() if _is_read_once(name)),
        _process_state(),
        search_path(),
    )
    # The variables may hold a token of the hub: only their hash may be seen in a list of processes.
    return hashlib.sha256(repr(facts).encode("utf-8", "surrogateescape")).hexdigest()[:32]


def _is_read_once(name: str) -> bool:
    # Proxies have both spellings.
    return name.startswith(_PREFIXES) or name in _NAMES or name.upper() in _PROXIES


def search_path() -> list[str]:
    """Return the folders of PYTHONPATH, which a worker in another folder finds as well."""
    entries = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    # One that is not there may stand for something else, as those of editable installations do.
    return [os.path.abspath(entry) for entry in entries if entry and os.path.exists(entry)]


def _file_states(folder: str) -> Iterator[tuple[str, int, int]]:
    """The source files of sdcli: in an editable installation they change without a version."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda entry: entry.name):
            if entry.name.endswith(".py"):
                state = entry.stat()
                yield entry.path, state.st_mtime_ns, state.st_size
            elif entry.is_dir() and entry.name not in ("__pycache__", "models"):
                yield from _file_states(entry.path)


def _package_states() -> Iterator[tuple[str, int]]:
    """The folders of installed packages: a version is a folder's name in them."""
    for folder in sys.path:
        if os.path.basename(folder).endswith("-packages") and os.path.isdir(folder):
            yield folder, os.stat(folder).st_mtime_ns


def _process_state() -> tuple[object, ...]:
    """What a child inherits and cannot take from another process."""
    limits = [resource.getrlimit(getattr(resource, name)) for name in _LIMITS]
    processors = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else None
    ids = os.getuid(), os.geteuid(), os.getgid(), os.getegid(), sorted(os.getgroups())
    niceness = os.getpriority(os.PRIO_PROCESS, 0)
    return limits, processors, ids, niceness, [_namespace(name) for name in _NAMESPACES]


def _namespace(name: str) -> str:
    try:
        return os.readlink(f"/proc/self/ns/{name}")
    except OSError:  # not Linux
        return ""
