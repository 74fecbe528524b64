"""Print figures about the source: lengths of functions and files, comments, parameters.

Run `python -m tests.figures`.
"""

from __future__ import annotations

import ast
import io
import tokenize
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median, quantiles

ROOT = Path(__file__).parent.parent / "sdcli"


@dataclass(kw_only=True)
class Figures:
    """What was counted; functions map "file:line name" to a number."""

    lengths: dict[str, int] = field(default_factory=dict)
    parameters: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    lines: int = 0
    comments: int = 0

    @property
    def comments_per_100(self) -> float:
        return 100 * self.comments / self.lines

    def percentile(self, percent: int) -> float:
        return quantiles(self.lengths.values(), n=100)[percent - 1]


def count(root: Path = ROOT) -> Figures:
    """Read every module below `root`."""
    figures = Figures()
    for path in sorted(root.rglob("*.py")):
        text, name = path.read_text("utf-8"), str(path.relative_to(root))
        figures.files[name] = text.count("\n")
        figures.lines += sum(bool(line.strip()) for line in text.splitlines())
        figures.comments += _comments(text)
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                key = f"{name}:{node.lineno} {node.name}"
                figures.lengths[key] = (node.end_lineno or node.lineno) - node.lineno + 1
                arguments = node.args
                figures.parameters[key] = len(
                    [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]
                )
    return figures


def _comments(text: str) -> int:
    """Comments that are written for people."""
    tokens = tokenize.generate_tokens(io.StringIO(text).readline)
    words = (token.string.lstrip("# ") for token in tokens if token.type == tokenize.COMMENT)
    return sum(not word.startswith(("noqa", "type:", "fmt:")) for word in words)


def _largest(values: dict[str, int], number: int = 5) -> list[tuple[str, int]]:
    return sorted(values.items(), key=lambda item: -item[1])[:number]


def main() -> None:
    """Print the figures, then the largest of each kind."""
    figures = count()
    lengths = figures.lengths.values()
    print(f"files: {len(figures.files)}, lines of code: {figures.lines}")
    print(
        f"functions: {len(lengths)}, median {median(lengths):g} lines, "
        f"90 % below {figures.percentile(90):g}, longest {max(lengths)}"
    )
    print(f"comments: {figures.comments_per_100:.1f} per 100 lines")
    for title, values in (
        ("longest functions", figures.lengths),
        ("longest files", figures.files),
        ("most parameters", figures.parameters),
    ):
        print(f"{title}:")
        for name, number in _largest(values):
            print(f"  {number:4d}  {name}")


if __name__ == "__main__":
    main()
