"""Test that contact sheets show every image completely and every label legibly."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import ImageFont

from sdcli.errors import UsageError
from sdcli.run_flags import SheetFlags
from sdcli.storage.images.contact_sheet import enlarge
from sdcli.storage.images.contact_sheet import labelled_grid as labelled_sheet
from sdcli.storage.images.label_text import fit_label, fit_title, fitting_size
from sdcli.storage.images.pixel_limit import VARIABLE
from sdcli.storage.images.sheet_layout import SCREEN, SheetLabels

PAPER = 255


def labelled_grid(cells, *, sheet=SheetFlags(), is_table=False, **labels) -> np.ndarray:  # noqa: B008
    return labelled_sheet(cells, SheetLabels(**labels), sheet, is_table=is_table)


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
    # The label ends before its neighbour's; small pictures have a margin in their slots.
    middle, half = (left + side + right) // 2, max(4, side // 32) // 2
    assert ink(sheet[:top, middle - half : middle + half]) == 0
    assert left < side + 160
    assert top < side


def test_wrapped_labels_keep_their_words_and_cut_ones_say_so():
    font = ImageFont.load_default(12)
    assert fit_label("one two three", font, 10_000, 3) == "one two three"
    wrapped = fit_label("one two three", font, 45, 3)
    assert "\n" in wrapped
    assert wrapped.split() == ["one", "two", "three"]
    assert fit_label("one two three", font, 45, 1).endswith("…")
    assert fit_label("step 8 · t 615", font, 60, 3) == "step 8\nt 615"
    assert fit_label("step 8 · t 615", font, 200, 3) == "step 8 · t 615"
    broken = fit_label("DPMSolverMultistepScheduler", font, 110, 8).split("\n")
    assert broken == ["DPMSolverMultistep", "Scheduler"]
    options = fit_label("euler;timestep_spacing=trailing", font, 96, 8).split("\n")
    assert options == ["euler;", "timestep_", "spacing=trailing"]
    cut = fit_label("x" * 99, font, 45, 3)
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


SIDE = 128


def cells_of(rows: int, columns: int, side: int = SIDE) -> list[list[np.ndarray]]:
    return [[picture(100 * row + c, side, side) for c in range(columns)] for row in range(rows)]


def test_further_columns_continue_below_with_all_rows():
    cells = cells_of(2, 7)
    sheet = labelled_grid(
        cells, rows=["a", "b"], columns=["x"] * 7, sheet=SheetFlags(columns=3), title="t"
    )
    places = [[found(sheet, cell) for cell in row] for row in cells]
    assert all(len(place) == 1 for row in places for place in row)
    tops = [[place[0][0] for place in row] for row in places]
    lefts = [[place[0][1] for place in row] for row in places]
    assert lefts[0] == lefts[1] == [*lefts[0][:3], *lefts[0][:3], lefts[0][0]]
    bands = [sorted({row[i] for row in tops}) for i in (0, 3, 6)]
    assert [len(band) for band in bands] == [2, 2, 2]
    assert bands[0][1] + SIDE < bands[1][0]
    assert bands[1][1] + SIDE < bands[2][0]
    for band in bands:  # every band has its labels
        assert ink(sheet[band[0] - 20 : band[0], lefts[0][0] : lefts[0][0] + SIDE])
        assert ink(sheet[band[0] : band[0] + SIDE, : lefts[0][0]])


@pytest.mark.parametrize("scale", [1, 3])
def test_scaled_pixels_are_squares(scale):
    cells = cells_of(1, 2, 32)
    labels = {"rows": [""], "columns": ["a", "b"], "captions": [["c", ""]]}
    sheet = labelled_grid(cells, sheet=SheetFlags(scale=scale), **labels)
    for cell in cells[0]:
        assert len(found(sheet, enlarge(cell, scale))) == 1
    assert np.array_equal(enlarge(cells[0][0], scale)[::scale, ::scale], cells[0][0])


def test_scaling_stops_at_the_limit_of_pixels(monkeypatch):
    monkeypatch.setenv(VARIABLE, "100000")
    cells = cells_of(1, 4)
    labelled_grid(cells, rows=[""], columns=[""] * 4, sheet=SheetFlags(scale=1))
    with pytest.raises(UsageError, match="the sheet would have") as caught:
        labelled_grid(cells, rows=[""], columns=[""] * 4, sheet=SheetFlags(scale=2))
    assert caught.value.code == "usage.scale"


def aspect(sheet: np.ndarray) -> float:
    return sheet.shape[1] / sheet.shape[0]


def test_many_columns_fill_a_screen_but_a_table_keeps_them_side_by_side():
    cells = cells_of(1, 20, 32)
    labels = {"rows": [""], "columns": [""] * 20}
    screen = SCREEN[0] / SCREEN[1]
    assert screen / 2 < aspect(labelled_grid(cells, **labels)) < screen * 2
    assert aspect(labelled_grid(cells, is_table=True, **labels)) > 10
    assert aspect(labelled_grid(cells_of(1, 8, 32), rows=[""], columns=[""] * 8)) > 5


@pytest.mark.parametrize(("side", "columns"), [(128, 4), (128, 8), (256, 6), (512, 8), (1024, 5)])
def test_labels_can_be_read_on_a_screen(side, columns):
    cells = [[np.zeros((side, side, 3), np.uint8)] * columns] * 2
    sheet = labelled_grid(cells, rows=["", ""], columns=["Hh"] * columns)
    margin = sheet[: sheet.shape[0] - 2 * side - 2 * max(4, side // 32)]
    inked = np.flatnonzero((margin.min(-1) < 128).any(1))
    shown = min(1, SCREEN[0] / sheet.shape[1], SCREEN[1] / sheet.shape[0])
    assert (inked[-1] - inked[0]) * shown >= 11


def test_captions_and_titles_stand_where_they_belong():
    cells = cells_of(2, 2)
    labels = {"rows": ["", ""], "columns": ["", ""]}
    bare = labelled_grid(cells, **labels)
    captions = [["", ""], ["", "below"]]
    sheet = labelled_grid(cells, captions=captions, **labels)
    assert sheet.shape[0] > bare.shape[0]
    for row in range(2):
        for column in range(2):
            top, left = found(sheet, cells[row][column])[0]
            below = sheet[top + SIDE : top + SIDE + 20, left : left + SIDE]
            assert bool(ink(below)) == bool(captions[row][column])
    titled = labelled_grid(cells, title="a cat · seed 7", **labels)
    first = found(titled, cells[0][0])[0][0]
    assert ink(titled[:first])
    assert not ink(bare[: found(bare, cells[0][0])[0][0]])


def test_a_long_title_keeps_its_seed():
    font = ImageFont.load_default(12)
    title = fit_title("a very long prompt " * 30 + "· seed 7", font, 300, 3)
    assert len(title.split("\n")) == 3
    assert title.endswith("…\nseed 7")
    assert fit_title("a cat · seed 7", font, 300, 3) == "a cat · seed 7"


def test_the_font_shrinks_before_words_break():
    assert fitting_size(["short"], 500, 40) == 40
    size = fitting_size(["timestep"], 60, 40)
    assert 12 < size < 40
    assert ImageFont.load_default(size).getlength("timestep") <= 60
    assert fitting_size(["x" * 200], 60, 40) == 12
