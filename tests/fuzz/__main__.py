"""Fuzz sdcli for some minutes: `python -m tests.fuzz --seed N --minutes M [MODULE...]`.

The seed of a failing case is printed with it; with `--rounds 1` and that seed it is run again.
"""

from __future__ import annotations

import argparse
import sys
import time
import traceback

from tests.fuzz.running import cases_of, modules, run_cases, short_name

_CASES_PER_ROUND = 100


def fuzz(seed: int, seconds: float, rounds: int | None, names: list[str]) -> int:
    """Run rounds of cases of each module until the time is over; return the number of failures."""
    end, ran, failed, done = time.monotonic() + seconds, 0, 0, 0
    chosen = [m for m in modules() if not names or short_name(m) in names]
    while done < (rounds or sys.maxsize) and (time.monotonic() < end or not done):
        for module in chosen:
            for name, error in run_cases(cases_of(module, seed + done, _CASES_PER_ROUND)):
                ran += 1
                if error:
                    failed += 1
                    print(f"FAILED {module.__name__} --seed {seed + done}: {name}")
                    traceback.print_exception(error, limit=-4)
        done += 1
    print(f"{ran} cases in {done} rounds from seed {seed}: {failed} failed")
    return failed


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=None)
    parser.add_argument("modules", nargs="*")
    return parser.parse_args()


if __name__ == "__main__":
    options = _parse()
    sys.exit(bool(fuzz(options.seed, options.minutes * 60, options.rounds, options.modules)))
