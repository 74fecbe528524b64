"""The evaluation's figures: counted, printed, and put into the model card."""

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
    """Counts of right and asked by kind; PSNR by class; misses in words."""

    right: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    misses: list[str] = field(default_factory=list)
    drawn: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def count(self, kind: str, right: bool) -> None:
        """One more answer of ``kind``."""
        self.asked[kind] += 1
        self.right[kind] += right

    def as_dict(self) -> dict[str, Any]:
        """All of it, for JSON."""
        shares = {k: {"right": self.right[k], "asked": self.asked[k]} for k in self.asked}
        drawn = dict(sorted(self.drawn.items(), key=lambda item: item[1]))
        return {
            "judged": shares,
            "figures": self.figures,
            "psnr_by_class": drawn,
            "misses": self.misses,
        }


def table(report: Report) -> str:
    """The figures as a Markdown table."""
    lines = ["| what | measured | goal |", "|---|--:|--:|"]
    for kind, goal in GOALS.items():
        right, asked = report.right[kind], report.asked[kind]
        lines.append(f"| {kind} | {right / max(1, asked):.3f} ({right}/{asked}) | ≥ {goal:.2f} |")
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


def per_class(report: Report) -> str:
    """Every class with its PSNR, worst first, in one line."""
    worst_first = sorted(report.drawn.items(), key=lambda item: item[1])
    return ", ".join(f"{name} {value:.1f}" for name, value in worst_first)


def update_model_card(report: Report, card: Path) -> None:
    """Replace what stands between the card's two figure marks."""
    before, rest = card.read_text().split(BEGIN)
    _, after = rest.split(END)
    drawn = f"PSNR in dB by class, worst first: {per_class(report)}."
    figures = f"\n\n{table(report)}\n\n{drawn}\n\n"
    card.write_text(before + BEGIN + figures + END + after)
