"""Draw measured attention as sheets, single images and frames, and write it as tensors."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sdcli.run_flags import SheetFlags
from sdcli.story import percent
from sdcli.workflows.measure_attention import (
    MeasuredImage,
    WordMap,
    predicted_images,
    stretched_maps,
)

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Pixels = NDArray[np.uint8]


def word_label(shown: WordMap) -> str:
    """Name a word with its share of the whole run, and with what it was replaced by."""
    return f"{_word_name(shown)} · {percent(shown.share)}"


def _word_name(shown: WordMap) -> str:
    others = f" -> {', '.join(shown.replacements)}" if shown.replacements else ""
    return f"{shown.word.text}{others}"


def title(measured: MeasuredImage) -> str:
    """Name the image by its prompt and seed."""
    job = measured.result.job
    return f"{job.prompt} · seed {job.seed}"


def draw_sheet(measured: MeasuredImage, *, style: str, common: bool, columns: int | None) -> Pixels:
    """Draw the image and beside it the map of each word, with its share."""
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.heat_map import enlarge_smoothly, mark_point
    from sdcli.storage.images.sheet_layout import SheetLabels

    tiles = list(draw_words(measured, style=style, common=common))
    picture = enlarge_smoothly(measured.pixels)
    if measured.patch is not None:
        picture = mark_point(picture, *measured.patch)
    labels = SheetLabels(
        rows=[""], columns=["image", *(label for label, _ in tiles)], title=title(measured)
    )
    cells = [[picture, *(pixels for _, pixels in tiles)]]
    return labelled_grid(cells, labels, SheetFlags(columns=columns))


def draw_words(
    measured: MeasuredImage, *, style: str, common: bool
) -> Iterator[tuple[str, Pixels]]:
    """Yield the label and the picture of each map."""
    from sdcli.numerics.heat_maps import stretch
    from sdcli.storage.images.heat_map import draw_heat_map, enlarge_smoothly, mark_point

    picture = enlarge_smoothly(measured.pixels)
    if measured.patch is not None and measured.attention is not None:
        assert measured.attention.patch is not None
        [heat] = stretch(measured.attention.patch[None])
        tile = mark_point(draw_heat_map(picture, heat, style), *measured.patch)
        yield f"from {point_text(measured)}", tile
    for shown, heat in zip(
        measured.words, stretched_maps(measured.words, common=common), strict=True
    ):
        yield word_label(shown), draw_heat_map(picture, heat, style)


def draw_heads(measured: MeasuredImage, *, style: str, columns: int | None) -> Pixels:
    """Draw the map of each word in each head of each layer: a row for each word."""
    from sdcli.numerics.heat_maps import relative_maps, stretch
    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.heat_map import draw_heat_map, enlarge_smoothly
    from sdcli.storage.images.sheet_layout import SheetLabels
    from sdcli.workflows.measure_attention import content_tokens

    assert measured.attention is not None
    picture, words = enlarge_smoothly(measured.pixels), measured.words
    content = content_tokens(measured.attention)
    rows: list[list[Pixels]] = [[picture] for _ in words]
    for maps in measured.attention.by_head.values():
        relative = relative_maps(maps, [shown.word.tokens for shown in words], content)
        for row, heat in zip(rows, stretch(relative), strict=True):
            row.append(draw_heat_map(picture, heat, style))
    heads = [f"{_short(layer)} · head {head}" for layer, head in measured.attention.by_head]
    labels = SheetLabels(
        rows=[word_label(shown) for shown in words],
        columns=["image", *heads],
        title=title(measured),
    )
    return labelled_grid(rows, labels, SheetFlags(columns=columns))


def _short(layer: str) -> str:
    """The block and the number of a layer: "up_blocks.1 · 0"."""
    block, _, rest = layer.partition(".attentions.")
    return f"{block} · {rest.split('.')[0]}" if rest else layer


def draw_frames(
    measured: MeasuredImage, *, style: str, columns: int | None, warn: Callable[[str], None]
) -> list[Pixels]:
    """Draw the predicted image and the maps of each UNet call, all of one size.

    The maps of a word are stretched together over the steps, so that they can be compared.
    """
    import numpy as np

    from sdcli.storage.images.contact_sheet import labelled_grid
    from sdcli.storage.images.heat_map import draw_heat_map, enlarge_smoothly
    from sdcli.storage.images.sheet_layout import SheetLabels

    steps = measured.word_steps()
    largest = np.stack([maps for _, maps in steps]).max((0, 2, 3)).clip(1e-12)
    pictures = predicted_images(measured, warn)
    last = len(measured.result.run.timesteps)
    frames = []
    for call, maps in steps:
        picture = enlarge_smoothly(pictures[call])
        tiles = [
            draw_heat_map(picture, heat / most, style)
            for heat, most in zip(maps, largest, strict=True)
        ]
        labels = SheetLabels(
            rows=[""],
            # Padded, so that every frame has the same size.
            columns=[f"step {call:0{len(str(last))}d} of {last}", *map(_word_name, measured.words)],
            title=title(measured),
        )
        frames.append(labelled_grid([[picture, *tiles]], labels, SheetFlags(columns=columns)))
    return frames


def write_raw(measured: MeasuredImage, path: Path, *, force: bool) -> None:
    """Write what was measured as one float32 tensor (height, width) a word. Raises OutputError.

    Tensors are named word/<index>/<text>; that of a point is self/<x>,<y>.
    """
    import numpy as np

    from sdcli.storage.weights_file import NewTensor, write_weights
    from sdcli.workflows.measure_attention import SCHEMA

    maps = {f"word/{shown.word.index}/{shown.word.text}": shown.raw for shown in measured.words}
    if measured.attention is not None and measured.attention.patch is not None:
        maps[f"self/{point_text(measured)}"] = measured.attention.patch
    tensors = {}
    for name, array in maps.items():
        data = np.ascontiguousarray(array, dtype="<f4").tobytes()
        tensors[name] = NewTensor(
            dtype="F32",
            shape=(int(array.shape[0]), int(array.shape[1])),
            byte_count=len(data),
            chunks=lambda data=data: iter((data,)),  # type: ignore[misc]
        )
    job = measured.result.job
    request = job.to_request(dtype=measured.result.run.dtype).to_dict()
    metadata = {"schema": SCHEMA, "request": json.dumps(request)}
    write_weights(path, tensors, metadata, force=force)


def point_text(measured: MeasuredImage) -> str:
    """Write the selected point in pixels: "40,64"."""
    assert measured.patch is not None
    job = measured.result.job
    return f"{round(measured.patch[0] * job.width)},{round(measured.patch[1] * job.height)}"


def word_documents(words: Sequence[WordMap], width: int, height: int) -> list[dict[str, Any]]:
    """Describe the maps of words for JSON."""
    return [
        {
            "index": shown.word.index,
            "text": shown.word.text,
            "start": shown.word.start,
            "end": shown.word.end,
            "tokens": list(shown.word.tokens),
            "kind": shown.word.kind,
            "share": round(shown.share, 6),
            "peak": list(shown.peak(width, height)),
            "replacements": list(shown.replacements),
        }
        for shown in words
    ]
