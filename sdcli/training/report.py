"""Collect the figures of the evaluation, and format them for the terminal and the model card."""

from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

BEGIN, END = "<!-- figures -->", "<!-- end of figures -->"

GOALS = {
    "single": 0.99,
    "scenery": 0.99,
    "and": 0.98,
    "left/right": 0.97,
    "above/below": 0.97,
    "binding": 0.98,
    "unnamed": 0.95,
    "plural": 0.95,
    "three": 0.80,
    "named background": 0.99,
}


@dataclass
class Report:
    """Answers by kind, right and in all; PSNR by class; other figures; descriptions of misses."""

    right: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    total: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    misses: list[str] = field(default_factory=list)
    psnr_by_class: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def count(self, kind: str, right: bool) -> None:
        """Count an answer of ``kind``."""
        self.total[kind] += 1
        self.right[kind] += right

    def to_dict(self) -> dict[str, Any]:
        """Return everything as JSON data."""
        return {
            "judged": {k: {"right": self.right[k], "total": self.total[k]} for k in self.total},
            "figures": self.figures,
            "psnr_by_class": dict(sorted(self.psnr_by_class.items(), key=lambda item: item[1])),
            "misses": self.misses,
        }


def format_table(report: Report) -> str:
    """Return the figures as a Markdown table."""
    lines = ["| metric | measured | goal |", "|---|--:|--:|"]
    for kind, goal in GOALS.items():
        right, total = report.right[kind], report.total[kind]
        lines.append(f"| {kind} | {right / max(1, total):.3f} ({right}/{total}) | ≥ {goal:.2f} |")
    goals = {
        "psnr_emoji": "≥ 24",
        "psnr_shapes": "≥ 28",
        "psnr_worst": "≥ 19",
        "psnr_vae_tiny": "≥ 28",
        "seconds_single": "≤ 0.50",
        "seconds_in_batch": "≤ 0.25",
    }
    lines += [
        f"| {key} | {value:.3f} | {goals.get(key, '')} |" for key, value in report.figures.items()
    ]
    return "\n".join(lines)


def format_psnr_by_class(report: Report) -> str:
    """Return all classes with their PSNR, worst first, in one line."""
    worst_first = sorted(report.psnr_by_class.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {value:.1f}" for name, value in worst_first)


def update_model_card(report: Report, card: Path) -> None:
    """Replace the text between the two markers in the model card."""
    before, rest = card.read_text().split(BEGIN)
    _, after = rest.split(END)
    classes = f"PSNR in dB by class, worst first: {format_psnr_by_class(report)}."
    figures = f"\n\n{format_table(report)}\n\n{classes}\n\n"
    card.write_text(before + BEGIN + figures + END + after)
