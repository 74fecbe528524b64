"""Fuzz sdcli for some minutes: `python -m tests.fuzz --seed N --minutes M [MODULE...]`.

The seed of a failing case is printed with it; with `--rounds 1` and that seed it is run again.
"""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections.abc import Iterable, Iterator

from tests.fuzz.running import cases_of, modules, run_cases, short_name

_CASES_PER_ROUND = 100

_Outcome = tuple[str, Exception | None]


def fuzz(seed: int, seconds: float, rounds: int | None, names: list[str]) -> int:
    """Run rounds of cases of each module until the time is over; return the number of failures.

    In a round, a module has its share of the time, and at least one case. A number of `rounds`
    runs all their cases, whatever they take.
    """
    end, ran, failed, done = time.monotonic() + seconds, 0, 0, 0
    chosen = [m for m in modules() if not names or short_name(m) in names]
    share = seconds / len(chosen)
    while done < (rounds or sys.maxsize) and (time.monotonic() < end or not done):
        for module in chosen:
            stop = math.inf if rounds else min(time.monotonic() + share, end)
            outcomes = run_cases(cases_of(module, seed + done, _CASES_PER_ROUND))
            for name, error in _until(stop, outcomes):
                ran += 1
                if error:
                    failed += 1
                    print(f"FAILED {module.__name__} --seed {seed + done}: {name}")
                    traceback.print_exception(error, limit=-4)
        done += 1
    print(f"{ran} cases in {done} rounds from seed {seed}: {failed} failed")
    return failed


def _until(stop: float, outcomes: Iterable[_Outcome]) -> Iterator[_Outcome]:
    for outcome in outcomes:
        yield outcome
        if time.monotonic() >= stop:
            return


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("modules", nargs="*")
    parsed = parser.parse_args()
    known = [short_name(module) for module in modules()]
    if not {*parsed.modules} <= {*known}:
        parser.error(f"the modules are {', '.join(known)}")
    return parsed


if __name__ == "__main__":
    options = _parse()
    sys.exit(bool(fuzz(options.seed, options.minutes * 60, options.rounds, options.modules)))
