"""The slow modules of SciPy: imported by what calls them, and by nothing else."""

from __future__ import annotations

import subprocess
import sys

import pytest

LOADED = """
import sys
from sdcli import generate
generate("a cat", seed=7, steps=2, width=64, height=64, scheduler=sys.argv[1])
print(*sorted({"scipy.integrate", "scipy.optimize", "scipy.stats"} & set(sys.modules)))
"""
PLACEHOLDERS = """
import threading
from sdcli.engine.runtime.deferred_scipy import scipy_deferred
with scipy_deferred():
    from scipy.optimize import linear_sum_assignment
    import scipy.stats
    from scipy import integrate
    print(scipy.stats.norm.ppf(0.5))
print(linear_sum_assignment([[1, 2], [2, 1]])[1].tolist())
print(integrate.quad(lambda x: x, 0, 2, epsrel=1e-4)[0])
"""
THREADS = """
import sys, threading
from sdcli.engine.runtime.deferred_scipy import scipy_deferred
done = threading.Event()
threading.Thread(target=done.wait).start()
with scipy_deferred():
    from scipy.stats import norm
done.set()
print(type(norm).__name__)
"""


def run(script: str, *arguments: str) -> str:
    command = [sys.executable, "-c", script, *arguments]
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


@pytest.mark.parametrize(("scheduler", "loaded"), [("UniPC", False), ("Euler Beta", True)])
def test_imported_where_a_scheduler_calls_them(scheduler: str, loaded: bool) -> None:
    assert bool(run(LOADED, scheduler)) is loaded


def test_functions_imported_meanwhile_work() -> None:
    assert run(PLACEHOLDERS).splitlines() == ["0.0", "[0, 1]", "2.0"]


def test_other_threads_never_see_placeholders() -> None:
    assert run(THREADS) == "norm_gen"
