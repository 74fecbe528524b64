"""Define and parse the options of `sdcli attention`."""

from __future__ import annotations

import re
from dataclasses import dataclass

from sdcli.attention import AttentionSelection
from sdcli.errors import UsageError, quoted
from sdcli.field_metadata import setting
from sdcli.inputs.lists import split_names
from sdcli.workflows.measure_attention import AttentionOptions

_STEPS = re.compile(r"([1-9]\d{0,3})(?:\.\.([1-9]\d{0,3}))?")


@dataclass(frozen=True, kw_only=True)
class MeasureFlags:
    """The words to show, and the part of the run that is measured."""

    words: str | None = setting(
        None,
        "--words",
        metavar="A,B",
        help="Words or phrases of the prompt to show. Default: the things that it names.",
    )
    at_steps: str | None = setting(
        None,
        "--at-steps",
        metavar="1,5..9",
        help="Steps to measure. Default: all; with --causal, five of them.",
    )
    layers: str | None = setting(
        None,
        "--layers",
        metavar="A,B",
        help="Layers to measure: all, up, mid, down, or names such as up_blocks.1. Default: up, "
        "without the smallest resolution.",
    )
    heads: bool = setting(False, "--heads", help="Show the map of each attention head.")
    causal: bool = setting(
        False,
        "--causal",
        help="Replace each word and show where the prediction moves, instead of the attention.",
    )
    swap: list[str] | None = setting(
        None,
        "--swap",
        metavar="WORD=OTHER",
        help="With --causal, what to replace a word with. Default: words of the same kind.",
    )
    self_: str | None = setting(
        None,
        "--self",
        metavar="X,Y",
        help="Show what the patch at this pixel of the image looks at (self-attention).",
    )

    def options(self, *, by_step: bool) -> AttentionOptions:
        """The options of `sdcli.workflows.measure_attention`. Raises UsageError."""
        swaps = parse_swaps(self.swap or [])
        self._check(swaps)
        selection = AttentionSelection(
            words=split_names(self.words, "--words"),
            steps=parse_steps(self.at_steps),
            layers=split_names(self.layers, "--layers"),
            patch=parse_point(self.self_),
            heads=self.heads,
            by_step=by_step,
        )
        return AttentionOptions(selection=selection, causal=self.causal, swaps=swaps)

    def _check(self, swaps: dict[str, str]) -> None:
        if swaps and not self.causal:
            raise UsageError("--swap has no effect without --causal", code="usage.swap")
        has_point = self.self_ is not None
        if self.causal:
            others = {
                "--heads": self.heads,
                "--layers": self.layers is not None,
                "--self": has_point,
            }
            refuse_together("--causal", others)
        if self.heads:
            refuse_together("--heads", {"--self": has_point})


@dataclass(frozen=True, kw_only=True)
class DrawFlags:
    """The form of the pictures."""

    style: str | None = setting(
        None,
        "--style",
        help="grey: colours over a grey image (the default); spot: the image lit where the map is "
        "high.",
        choices=("grey", "spot"),
    )
    scale: str | None = setting(
        None,
        "--scale",
        help="own: stretch each map to its own maximum (the default); common: compare the words by "
        "their shares.",
        choices=("own", "common"),
    )
    separate: bool = setting(False, "--separate", help="Write one image for each word.")
    animate: bool = setting(
        False, "--animate", help="Write an animation of the steps: GIF, WebP or MP4."
    )
    columns: int | None = setting(
        None,
        "--columns",
        metavar="N",
        help="Images side by side; the others continue below.",
        minimum=1,
        maximum=1000,
    )
    raw: str | None = setting(
        None,
        "--raw",
        metavar="FILE",
        help="Also write the measured maps as float32 tensors to a .safetensors file.",
    )

    def check(self, measure: MeasureFlags) -> None:
        """Raise UsageError for options that exclude each other."""
        if self.animate:
            others = {
                "--separate": self.separate,
                "--causal": measure.causal,
                "--heads": measure.heads,
                "--self": measure.self_ is not None,
                "--scale": self.scale is not None,
            }
            refuse_together("--animate", others)
        if self.separate:
            refuse_together(
                "--separate", {"--heads": measure.heads, "--columns": self.columns is not None}
            )
        if measure.heads:
            refuse_together("--heads", {"--scale": self.scale is not None})
        if self.raw is not None and not self.raw.endswith(".safetensors"):
            raise UsageError(
                f"--raw: {quoted(self.raw)} does not end in .safetensors",
                code="usage.raw",
                hint="as in --raw cat.safetensors",
            )


def refuse_together(option: str, others: dict[str, bool]) -> None:
    """Raise UsageError if any of the other options is set."""
    for other, is_set in others.items():
        if is_set:
            raise UsageError(
                f"{option} and {other} can't be used together", code=f"usage.{option[2:]}"
            )


def parse_steps(text: str | None) -> tuple[int, ...]:
    """Parse "1,5..9" to steps, none if left out. Raises UsageError."""
    if text is None:
        return ()
    steps: set[int] = set()
    for part in text.split(","):
        match = _STEPS.fullmatch(part.strip())
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if last < first:
            raise UsageError(
                f"--at-steps: expected steps such as 1,5..9, not {quoted(text)}",
                code="usage.at_steps",
            )
        steps.update(range(first, last + 1))
    return tuple(sorted(steps))


def parse_point(text: str | None) -> tuple[int, int] | None:
    """Parse "X,Y" to a pixel. Raises UsageError."""
    if text is None:
        return None
    if not (match := re.fullmatch(r"(\d{1,5}),(\d{1,5})", text.replace(" ", ""))):
        raise UsageError(
            f"--self: expected a pixel such as 40,64, not {quoted(text)}", code="usage.self"
        )
    return int(match[1]), int(match[2])


def parse_swaps(texts: list[str]) -> dict[str, str]:
    """Parse "blue=red" to words in lower case and what replaces them. Raises UsageError."""
    swaps = {}
    for text in texts:
        word, equals, other = (part.strip() for part in text.partition("="))
        if not (word and equals and other):
            raise UsageError(
                f"--swap: {quoted(text)} is not WORD=OTHER",
                code="usage.swap",
                hint="as in --swap blue=red",
            )
        swaps[word.lower()] = other
    return swaps
