"""The pretraining of the text encoder."""

from __future__ import annotations

from pathlib import Path

import torch

from sdcli.training.concepts import BACKGROUNDS, CLASS_INDEX
from sdcli.training.text_encoder import (
    GRID,
    WIDTH,
    CaptionTokenizer,
    LayoutProbe,
    build_text_encoder,
    cell_classes,
)
from tests.training.example_scenes import red_circle


def test_cells_have_the_class_of_the_object_or_the_background() -> None:
    cells = cell_classes(red_circle()).view(8, 8)
    assert cells[4, 4] != cells[0, 0]
    assert (cells == cells[4, 4]).sum() == 25
    assert cells[4, 4] == CLASS_INDEX["red circle"]
    assert cells[0, 0] == len(CLASS_INDEX) + BACKGROUNDS.index("blue")


def test_the_head_predicts_a_class_for_each_cell(folder: Path) -> None:
    ids = CaptionTokenizer(folder)(["a cat", "two dogs on a beach"])
    with torch.no_grad():
        embeddings = build_text_encoder(folder)(ids).last_hidden_state
        logits = LayoutProbe()(embeddings)
    assert embeddings.shape[-1] == WIDTH
    assert logits.shape == (2, GRID * GRID, len(CLASS_INDEX) + len(BACKGROUNDS))
