"""Record the attention between the patches of the image and the words of the prompt."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator
from typing import Any

from numpy.typing import NDArray

from sdcli.attention import (
    AttentionMaps,
    AttentionSelection,
    choose_words,
)
from sdcli.engine.recorders.attention_tap import AttentionCall, AttentionTap
from sdcli.engine.recorders.grid_mean import GridMean
from sdcli.engine.recorders.hooked import HookedRecorder
from sdcli.engine.recorders.observed_run import ObservedRun
from sdcli.engine.recorders.prompt_words import check_steps, find_layout
from sdcli.errors import UsageError, did_you_mean, quoted

_DECODER = "up_blocks"


class AttentionRecorder(HookedRecorder):
    """Record cross-attention, reduced at each UNet call, so that memory does not grow with steps.

    Raises UsageError for words that are not in the prompt, and layers that are not in the UNet.
    """

    def __init__(self, run: ObservedRun, selection: AttentionSelection) -> None:
        super().__init__()
        self._selection = selection
        check_steps(selection.steps, len(run.runs[0].timesteps))
        self._layouts = [find_layout(run, image) for image in range(run.images)]
        self.chosen = [choose_words(layout.words, selection.words) for layout in self._layouts]
        job = run.runs[0].job
        self._point = _relative_point(selection.patch, job.width, job.height)
        self._kept = max(layout.kept for layout in self._layouts)
        self._taps = [
            AttentionTap(
                part.pipeline.unet,
                self._observe,
                images=run.images,
                first_call=part.first_call,
                prefix="refiner." if part.first_call else "",
                self_attention=self._point is not None,
            )
            for part in run.parts
        ]
        self.layers = frozenset(self._select_layers())
        self._smallest: tuple[int, int] | None = None
        self._calls: Counter[str] = Counter()
        self._mean = GridMean()
        self._patch = GridMean()
        self._steps: defaultdict[int, GridMean] = defaultdict(GridMean)
        self._heads: dict[str, GridMean] = defaultdict(GridMean)
        self._shares = GridMean()

    def hooks(self) -> Iterator[AttentionTap]:
        """Return the taps of the UNets."""
        yield from self._taps

    def take_step(self, call: int) -> tuple[NDArray[Any], dict[str, float]]:
        """Return the maps and the shares of a UNet call of the first image, and forget the call."""
        kept = self._layouts[0].kept
        maps = self._steps.pop(call).result(0, self._smallest)[:kept]
        shares, self._shares = self._group_shares(0, self._smallest), GridMean()
        return maps, shares

    def has_words(self) -> bool:
        """Whether there is a word to show, or a point."""
        return all(self.chosen) or self._point is not None

    def maps_of(self, image: int) -> AttentionMaps:
        """Return the maps of one image, by its position in the batch."""
        layout = self._layouts[image]
        kept = layout.kept
        smallest = None if self._selection.layers else self._smallest
        return AttentionMaps(
            words=layout.words,
            chosen=self.chosen[image],
            maps=self._mean.result(image, smallest)[:kept],
            shares=self._group_shares(image, smallest),
            layers=dict(self._calls),
            by_step={
                call: mean.result(image, smallest)[:kept] for call, mean in self._steps.items()
            },
            by_head={
                (layer, head): maps[:kept]
                for layer, mean in self._heads.items()
                for head, maps in enumerate(mean.result(image, None))
            },
            patch=self._patch.result(image, smallest)[0] if self._point else None,
        )

    def _select_layers(self) -> list[str]:
        known = [name for tap in self._taps for name in tap.layer_names()]
        if not self._selection.layers:
            return [name for name in known if _DECODER in name] or known
        for wanted in self._selection.layers:
            if wanted != "all" and not any(_matches(name, wanted) for name in known):
                raise _no_layer_error(wanted, known)
        wanted_layers = self._selection.layers
        return [
            name
            for name in known
            if "all" in wanted_layers or any(_matches(name, wanted) for wanted in wanted_layers)
        ]

    def _observe(self, call: AttentionCall) -> None:
        # Noted at every call, so that the size of the maps does not depend on the chosen steps.
        if call.kind == "cross":
            area = call.grid[0] * call.grid[1]
            if self._smallest is None or area < self._smallest[0] * self._smallest[1]:
                self._smallest = call.grid
        if not self._selection.includes(call.call):
            return
        if call.kind == "self":
            # Layers are chosen by their cross-attention; the self-attention is next to it.
            if self._point and call.layer.replace("attn1", "attn2") in self.layers:
                maps = call.patch_probabilities(*self._point).mean(1, keepdim=True)
                self._patch.add(maps)
            return
        if call.layer in self.layers:
            self._add(call)

    def _add(self, call: AttentionCall) -> None:
        self._calls[call.layer] += 1
        probabilities = call.probabilities()
        mean = probabilities.mean(1)
        # All tokens are needed for the shares of the groups, but not their maps.
        self._shares.add(mean.mean((2, 3))[..., None, None], grid=call.grid)
        kept = mean[:, : self._kept]
        self._mean.add(kept)
        if self._selection.by_step:
            self._steps[call.call].add(kept)
        if self._selection.heads:
            self._heads[call.layer].add(probabilities[:, :, : self._kept])

    def _group_shares(self, image: int, smallest: tuple[int, int] | None) -> dict[str, float]:
        shares = self._shares.result(image, smallest)[:, 0, 0]
        groups = self._layouts[image].groups(len(shares))
        return {name: float(shares[places].sum()) for name, places in groups.items()}


def _relative_point(
    point: tuple[int, int] | None, width: int, height: int
) -> tuple[float, float] | None:
    """Return the middle of a pixel as parts of the size. Raises UsageError for one outside."""
    if point is None:
        return None
    x, y = point
    if x >= width or y >= height:
        raise UsageError(
            f"--self: {x},{y} is outside of the image of {width}x{height}", code="usage.self"
        )
    return (x + 0.5) / width, (y + 0.5) / height


def _matches(name: str, wanted: str) -> bool:
    return name == wanted or name.startswith((f"{wanted}.", f"{wanted}_blocks", f"{wanted}_block."))


def _no_layer_error(wanted: str, known: list[str]) -> UsageError:
    blocks = list(dict.fromkeys(name.partition(".attentions")[0] for name in known))
    names = ["all", *dict.fromkeys(block.partition("_block")[0] for block in blocks), *blocks]
    return UsageError(
        f"--layers: the UNet has no cross-attention layers {quoted(wanted)}",
        code="usage.layers",
        hint=did_you_mean(wanted, names) or f"it has {', '.join(names)}",
    )
