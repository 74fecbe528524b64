"""A worker stands in for a new process only if that process would be the same."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from sdcli.server import worker_key as module
from sdcli.server.worker_key import search_path, worker_key

PROBE = "from sdcli.server.worker_key import worker_key; print(worker_key())"


def key(*flags: str, preexec_fn: Callable[[], object] | None = None, **env: str) -> str:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **env}
    ran = subprocess.run(
        [sys.executable, *flags, "-c", PROBE], capture_output=True, text=True, check=True,
        env=environment, preexec_fn=preexec_fn,
    )  # fmt: skip
    return ran.stdout.strip()


def test_it_is_the_same_for_the_same_process() -> None:
    assert key() == key()


@pytest.mark.parametrize(
    "name",
    [
        "OMP_NUM_THREADS", "HF_HOME", "HF_HUB_OFFLINE", "CUDA_VISIBLE_DEVICES", "TORCH_HOME",
        "PYTORCH_CUDA_ALLOC_CONF", "LD_LIBRARY_PATH", "PYTHONHASHSEED", "LC_ALL", "HOME",
        "HTTPS_PROXY", "https_proxy", "no_proxy", "SSL_CERT_FILE", "SSL_CERT_DIR",
        "XDG_CACHE_HOME", "SDCLI_WORKER_IDLE", "MKL_NUM_THREADS", "TRANSFORMERS_CACHE",
    ],
)  # fmt: skip
def test_variables_that_are_read_once_belong_to_it(name: str) -> None:
    assert key(**{name: "3"}) != key()


@pytest.mark.parametrize("name", ["COLUMNS", "TERM", "SDCLI_STEPS", "PWD", "TMPDIR", "NO_COLOR"])
def test_variables_that_go_with_a_call_do_not(name: str) -> None:
    assert key(**{name: "3"}) == key()


@pytest.mark.parametrize(
    "change",
    [
        lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 30, 1 << 30)),
        lambda: os.nice(1),
        lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
    ],
    ids=["limit", "nice", "processors"],
)
def test_what_a_child_inherits_belongs_to_it(change: Callable[[], object]) -> None:
    if len(os.sched_getaffinity(0)) == 1 and change.__code__.co_names[1] == "sched_setaffinity":
        pytest.skip("this machine has one processor")
    assert key(preexec_fn=change) != key()


def test_a_relative_search_path_is_another_one_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join(["modules", "", "missing", "/"]))
    keys = set()
    for name in ("one", "two"):
        (tmp_path / name / "modules").mkdir(parents=True)
        monkeypatch.chdir(tmp_path / name)
        assert search_path() == [str(tmp_path / name / "modules"), "/"]
        keys.add(worker_key())
    assert len(keys) == 2


def test_the_flags_of_the_interpreter_belong_to_it() -> None:
    assert key("-O") != key()
    assert key("-W", "error") != key()


def test_a_changed_source_file_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PACKAGE", str(tmp_path))
    (tmp_path / "engine").mkdir()
    source = tmp_path / "engine" / "loop.py"
    keys = [worker_key()]
    for text in ("a = 1", "a = 12"):
        source.write_text(text)
        keys.append(worker_key())
    (tmp_path / "engine" / "__pycache__").mkdir()
    (tmp_path / "engine" / "__pycache__" / "loop.py").touch()
    assert len(set(keys)) == 3
    assert worker_key() == keys[-1]


def test_a_newly_installed_package_belongs_to_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "site-packages"
    packages.mkdir()
    monkeypatch.syspath_prepend(str(packages))
    before = worker_key()
    assert worker_key() == before
    os.utime(packages, ns=(1, 1))
    (packages / "torch-9.dist-info").mkdir()
    assert worker_key() != before
