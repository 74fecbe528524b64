"""Test that contact sheets show every image completely and every label legibly."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from sdcli.storage.images.contact_sheet import _fit_label, labelled_grid

PAPER = 255


def picture(seed: int, height: int = 128, width: int = 128) -> np.ndarray:
    """Noise of no row or column of white, so that its edges are seen."""
    return np.random.default_rng(seed).integers(0, 200, (height, width, 3), dtype=np.uint8)


def found(sheet: np.ndarray, cell: np.ndarray) -> list[tuple[int, int]]:
    """Where (top, left) the cell stands, pixel for pixel."""
    height, width = cell.shape[:2]
    starts = np.argwhere((sheet == cell[0, 0]).all(-1))
    return [
        (int(y), int(x))
        for y, x in starts
        if np.array_equal(sheet[y : y + height, x : x + width], cell)
    ]


def ink(region: np.ndarray) -> int:
    return int((region.min(-1) < 128).sum())


@pytest.mark.parametrize("side", [128, 512])
def test_every_picture_is_whole_and_in_its_place(side):
    cells = [[picture(3 * row + column, side, side) for column in range(3)] for row in range(2)]
    sheet = labelled_grid(cells, rows=["DDIM", "DPM++ 2M Karras"], columns=["4", "8", "16"])
    places = [[found(sheet, cell) for cell in row] for row in cells]
    assert all(len(place) == 1 for row in places for place in row)
    tops = [[place[0][0] for place in row] for row in places]
    lefts = [[place[0][1] for place in row] for row in places]
    assert all(len(set(row)) == 1 for row in tops)
    assert lefts[0] == lefts[1] == sorted(lefts[0])
    assert tops[1][0] >= tops[0][0] + side
    assert lefts[0][1] >= lefts[0][0] + side


@pytest.mark.parametrize(("side", "height"), [(64, 8), (128, 8), (512, 24)])
def test_labels_are_tall_enough_to_read(side, height):
    sheet = labelled_grid([[picture(1, side, side)]], rows=["Hh"], columns=["Hh"])
    top, left = found(sheet, picture(1, side, side))[0]
    for margin in (sheet[:top], sheet[:, :left]):
        inked = np.flatnonzero((margin.min(-1) < 128).any(1))
        assert inked[-1] - inked[0] >= height


def test_a_label_stands_beside_its_own_picture():
    cells = [[picture(row)] for row in range(3)]
    sheet = labelled_grid(cells, rows=["", "Euler", ""], columns=[""])
    for row, cell in enumerate(cells):
        top, left = found(sheet, cell[0])[0]
        assert (ink(sheet[top : top + 128, :left]) > 0) == (row == 1)


def test_no_labels_take_no_room():
    bare = labelled_grid([[picture(1)]], rows=[""], columns=[""])
    assert bare.shape == (136, 136, 3)


def test_cells_of_several_sizes_and_holes():
    small, wide = picture(1, 64, 64), picture(2, 96, 160)
    sheet = labelled_grid([[small, None], [None, wide]], rows=["a", "b"], columns=["c", "d"])
    (top, left), (below, right) = found(sheet, small)[0], found(sheet, wide)[0]
    assert below >= top + 64 + 16
    assert right >= left + 64 + 48
    assert (sheet[top + 32, right + 80] < PAPER).all()  # the hole is seen


LONG = "DPMSolverMultistepScheduler;algorithm_type=sde-dpmsolver++;solver_order=3 Exponential"


@pytest.mark.parametrize("label", [LONG, "word " * 60, "x" * 300, "a\nb\x1b[31mc"])
@pytest.mark.parametrize("side", [64, 128, 512])
def test_labels_of_any_length_leave_the_pictures_and_each_other_alone(label, side):
    cell = picture(1, side, side)
    sheet = labelled_grid([[cell] * 2] * 2, rows=[label, "x"], columns=[label, "x"])
    places = found(sheet, cell)
    assert len(places) == 4
    top, left = places[0]
    right = places[1][1]
    assert ink(sheet[:, -4:]) == 0
    assert ink(sheet[:top, left + side : right]) == 0  # the label ends before its neighbour's
    assert left < side + 160
    assert top < side


def test_wrapped_labels_keep_their_words_and_cut_ones_say_so():
    font = ImageFont.load_default(12)
    assert _fit_label("one two three", font, 10_000, 3) == "one two three"
    wrapped = _fit_label("one two three", font, 45, 3)
    assert "\n" in wrapped
    assert wrapped.split() == ["one", "two", "three"]
    assert _fit_label("one two three", font, 45, 1).endswith("…")
    broken = _fit_label("DPMSolverMultistepScheduler", font, 96, 8).split("\n")
    assert len(broken) > 1
    assert "".join(broken) == "DPMSolverMultistepScheduler"
    cut = _fit_label("x" * 99, font, 45, 3)
    assert cut.endswith("…")
    assert all(font.getlength(line) <= 45 for line in cut.split("\n"))


@pytest.mark.parametrize(
    ("cells", "rows", "columns"),
    [
        ([[picture(1)]], ["a", "b"], ["c"]),
        ([[picture(1)]], ["a"], ["c", "d"]),
        ([[None]], ["a"], ["c"]),
        ([], [], []),
    ],
)
def test_labels_that_do_not_match_the_cells_are_refused(cells, rows, columns):
    with pytest.raises(ValueError, match="cell"):
        labelled_grid(cells, rows=rows, columns=columns)
