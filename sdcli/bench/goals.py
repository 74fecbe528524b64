"""Compare the figures of benchmarks with goals."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from math import inf
from statistics import median
from typing import Any, Final

from sdcli.bench.scenarios import Document

Row = Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Goal:
    """A figure of one scenario, and the limit that it should keep.

    `measure` returns the figure, None where it was not measured; identical images are infinitely
    alike, which JSON cannot say.
    """

    name: str
    scenario: str
    measure: Callable[[Document], float | None]
    limit: float
    unit: str = "×"
    at_least: bool = False

    def check(self, document: Document) -> dict[str, Any]:
        """Return the figure beside its limit, and whether it holds: None if it is unknown."""
        figure = self.measure(document)
        holds = None
        if figure is not None:
            holds = figure >= self.limit if self.at_least else figure <= self.limit
        return {
            "name": self.name,
            "scenario": self.scenario,
            "measured": None if figure in (None, inf) else round(figure, 3),
            "limit": self.limit,
            "is": "at least" if self.at_least else "at most",
            "unit": self.unit,
            "holds": holds,
        }


def check_goals(documents: Mapping[str, Document]) -> list[dict[str, Any]]:
    """Return the goals of these scenarios with what was measured."""
    return [goal.check(documents[goal.scenario]) for goal in GOALS if goal.scenario in documents]


def _ratio(name: str, baseline: int = 0) -> Callable[[Document], float | None]:
    """Return a function that compares the seconds of a contestant with those of one by number."""

    def measure(document: Document) -> float | None:
        row, base = _find(document["contestants"], name), document["contestants"][baseline]
        if row is None:
            return None
        pairs = zip(row["seconds"], base["seconds"], strict=True)
        return median(float(seconds) / float(others) for seconds, others in pairs)

    return measure


def _speed(name: str) -> Callable[[Document], float | None]:
    """Return a function that tells how many times faster a contestant is than the first one."""
    ratio = _ratio(name)

    def measure(document: Document) -> float | None:
        found = ratio(document)
        return 1 / found if found else None

    return measure


def _of_row(name: str, read: Callable[[Row, Row], Any]) -> Callable[[Document], float | None]:
    """Return a function that reads a figure from the row of a contestant and the first one."""

    def measure(document: Document) -> float | None:
        rows = document["contestants"]
        row = _find(rows, name)
        figure = None if row is None else read(row, rows[0])
        return None if figure is None else float(figure)

    return measure


def _of_document(key: str) -> Callable[[Document], float | None]:
    return lambda document: document.get(key)


def _find(rows: Sequence[Row], name: str) -> Row | None:
    return next((row for row in rows if row["name"] == name), None)


def _peak_ratio(row: Row, first: Row) -> float:
    return float(row["split"]["peak_gb"] / first["split"]["peak_gb"])


GOALS: Final = (
    Goal(name="one image, from start to file, to the plain script", scenario="one",
         measure=_ratio("sdcli generate"), limit=0.7),
    Goal(name="the same with --warm", scenario="warm",
         measure=_ratio("sdcli generate --warm"), limit=0.1),
    Goal(name="a batch: rate to a loop over a plain pipeline", scenario="batch",
         measure=_speed("sdcli batch"), limit=2, at_least=True),
    Goal(name="a batch: seconds to a script with batches of 8", scenario="batch",
         measure=_ratio("sdcli batch", 1), limit=1),
    Goal(name="SD 1.5's size: speed to a plain float32 script", scenario="full",
         measure=_speed("sdcli generate"), limit=1.4, at_least=True),
    Goal(name="its image: likeness to that of the script", scenario="full", unit="dB",
         measure=_of_row("sdcli generate", lambda row, _: row["lowest_psnr"] or inf), limit=40,
         at_least=True),
    Goal(name="SD 1.5's size: speed with --backend openvino", scenario="full",
         measure=_speed("sdcli generate --backend openvino"), limit=2.1, at_least=True),
    Goal(name="SD 1.5's size: peak memory to the script", scenario="full",
         measure=_of_row("sdcli generate", _peak_ratio), limit=1.05),
    Goal(name="denoising with --save-latents all", scenario="dump",
         measure=_of_document("denoise_ratio"), limit=1.03),
    Goal(name="denoising with --preview-out", scenario="preview",
         measure=_of_document("denoise_ratio"), limit=1.03),
    Goal(name="CPU time with attention recorded", scenario="trace",
         measure=_of_document("attention_ratio"), limit=1.2),
    Goal(name="planning 10,000 jobs", scenario="planning", unit="s",
         measure=_of_row("10000 lines of jsonl", lambda row, _: row["median_seconds"]),
         limit=1.2),
    Goal(name="planning a million jobs", scenario="million", unit="s",
         measure=_of_row("1000000 lines of jsonl", lambda row, _: row["median_seconds"]),
         limit=60),
)  # fmt: skip
"""What is to be kept, in the order in which it is printed."""

SCENARIOS: Final = (
    "one", "warm", "planning", "trace", "preview", "batch", "full", "dump", "million",
)  # fmt: skip
"""The scenarios with goals, those that take seconds before those that take minutes."""


def describe_goal(goal: Mapping[str, Any]) -> str:
    """Return what was measured, the limit, and whether it holds, in words."""
    limit = f"{goal['is']} {goal['limit']:g}"
    return f"{_figure(goal)} ({limit}): {_VERDICTS[goal['holds']]}"


def markdown_table(goals: Sequence[Mapping[str, Any]], machine: Mapping[str, Any]) -> str:
    """Return the goals as a table for the manual, and the machine that they were measured on."""
    versions = machine["versions"]
    libraries = ", ".join(f"{name} {versions[name]}" for name in ("torch", "diffusers"))
    lines = [
        f"{machine['cpu']}, {machine['cores']} cores, {machine['system']}, {libraries}, load "
        f"{machine['load']:g} before:",
        "",
        "| what | measured | goal | |",
        "|------|----------|------|-|",
    ]
    for goal in goals:
        limit = f"{goal['is']} {goal['limit']:g}"
        lines.append(f"| {goal['name']} | {_figure(goal)} | {limit} | {_VERDICTS[goal['holds']]} |")
    return "\n".join(lines) + "\n"


_VERDICTS: Final = {True: "holds", False: "does not hold", None: "not measured"}


def _figure(goal: Mapping[str, Any]) -> str:
    if goal["measured"] is None:
        return "the same image" if goal["holds"] else "-"
    return f"{goal['measured']:.2f} {goal['unit']}"
