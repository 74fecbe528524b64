"""Previews: when they are shown, and how a terminal draws them."""

from __future__ import annotations

import io
import os
import pty
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from sdcli.latents import FINAL, X0, tensor_name
from sdcli.result import RunInfo
from sdcli.storage.images.destination import parse_destination
from sdcli.terminal.image_progress import ImageProgress, fit_cells, render_half_blocks, render_image
from sdcli.terminal.preview import MAX_TIME_SHARE, PreviewFile, PreviewSink
from tests.jobs import make_job

STEPS = 10


class TimedTarget:
    """Records the previews that it shows; showing one takes time on its own clock."""

    def __init__(self, cost: float = 0.0) -> None:
        self.now, self.cost = 0.0, cost
        self.steps: list[tuple[int, int]] = []

    def show(self, pixels: Any, step: int, steps: int) -> None:
        self.now += self.cost
        self.steps.append((int(pixels[0, 0, 0]), step))

    def clock(self) -> float:
        return self.now


def find_renderer(spec: object) -> Any:
    """The first latent as a grey level."""
    return lambda latents: np.full((4, 4, 3), int(latents.flat[0]), np.uint8)


def make_run_info(index: int) -> RunInfo:
    return RunInfo(
        job=make_job(index=index),
        timesteps=tuple(float(t) for t in range(STEPS, 0, -1)),
        sigmas=None,
        scheduler_class="DDIMScheduler",
        scheduler_config={},
        init_noise_sigma=1.0,
        batch_size=1,
        dtype="float32",
        device="cpu",
    )


def run(
    preview: PreviewSink, target: TimedTarget, indices: tuple[int, ...], seconds: float
) -> None:
    """A batch of images, each step taking so long; latents tell their image's index."""
    for index in indices:
        preview.begin_image(make_run_info(index))
    for step in range(1, STEPS + 1):
        target.now += seconds
        for index in indices:
            preview.write(index, tensor_name(X0, step), np.full((4, 2, 2), index))
    for index in indices:
        preview.write(index, FINAL, np.full((4, 2, 2), index))


def test_every_step_is_shown_when_rendering_takes_no_time() -> None:
    target = TimedTarget()
    run(PreviewSink(find_renderer, [target], target.clock), target, (7,), seconds=1.0)
    assert target.steps == [(7, step) for step in range(1, STEPS + 1)]


@pytest.mark.parametrize("cost", [0.001, 0.05, 0.3, 2.0])
def test_rendering_takes_its_share_of_the_time_apart_from_first_and_last_steps(cost: float) -> None:
    target = TimedTarget(cost)
    preview = PreviewSink(find_renderer, [target], target.clock)
    for image in range(20):
        run(preview, target, (image,), seconds=0.5)
    lasts = sum(step == STEPS for _, step in target.steps)
    assert lasts == 20
    rendering = (len(target.steps) - lasts) * cost
    assert rendering <= MAX_TIME_SHARE * target.now + cost


def test_the_first_image_of_each_batch_is_shown() -> None:
    target = TimedTarget()
    preview = PreviewSink(find_renderer, [target], target.clock)
    run(preview, target, (3, 4), seconds=1.0)
    run(preview, target, (5, 6), seconds=1.0)
    assert {image for image, _ in target.steps} == {3, 5}
    assert len(target.steps) == 2 * STEPS


def test_a_batch_that_is_halved_is_shown_from_its_start() -> None:
    target = TimedTarget()
    preview = PreviewSink(find_renderer, [target], target.clock)
    for index in (3, 4):
        preview.begin_image(make_run_info(index))
    preview.write(3, tensor_name(X0, 1), np.full((4, 2, 2), 3))
    run(preview, target, (3,), seconds=1.0)
    assert [step for _, step in target.steps] == [1, *range(1, STEPS + 1)]


def test_a_preview_file_holds_the_latest_preview(tmp_path: Path) -> None:
    target = parse_destination(str(tmp_path / "now.png"), several=False, force=True)
    for level in (10, 200):
        PreviewFile(target).show(np.full((6, 8, 3), level, np.uint8), 1, 2)
        assert Image.open(tmp_path / "now.png").getpixel((3, 3)) == (level,) * 3
    assert [path.name for path in tmp_path.iterdir()] == ["now.png"]


@pytest.mark.parametrize(("size", "terminal"), [((128, 128), (80, 24)), ((512, 256), (40, 60))])
def test_an_image_fits_its_terminal_and_keeps_its_aspect_ratio(size: Any, terminal: Any) -> None:
    columns, rows = fit_cells(*size, *terminal)
    assert columns < terminal[0]
    assert rows < terminal[1]
    assert columns / (2 * rows) == pytest.approx(size[0] / size[1], rel=0.1)


def test_half_blocks_show_every_pixel(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLORTERM", "truecolor")
    pixels = np.random.default_rng(1).integers(0, 256, (6, 5, 3), dtype=np.uint8)
    text = render_half_blocks(pixels, 5, 3)
    cells = re.findall(r"38;2;(\d+);(\d+);(\d+);48;2;(\d+);(\d+);(\d+)m▀", text)
    drawn = np.array(cells, int).reshape(3, 5, 2, 3).swapaxes(1, 2).reshape(6, 5, 3)
    assert np.array_equal(drawn, pixels)


def test_terminals_without_24_bit_colour_get_the_nearest_of_216(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLORTERM", "")
    red = np.full((2, 1, 3), (255, 0, 0), np.uint8)
    assert "38;5;196;48;5;196m▀" in render_half_blocks(red, 1, 1)


@pytest.mark.parametrize(
    ("environment", "begins"),
    [
        ({"TERM": "xterm-kitty"}, "\x1b_Ga=d"),
        ({"TERM": "xterm-256color", "TERM_PROGRAM": "iTerm.app"}, "\x1b]1337;File="),
        ({"TERM": "mlterm"}, "\x1bP"),
        ({"TERM": "xterm-256color"}, "\x1b[38;"),
    ],
)
def test_a_terminal_gets_the_best_graphics_that_it_supports(
    environment: dict[str, str], begins: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("TERM_PROGRAM", "KITTY_PID", "KITTY_WINDOW_ID", "TMUX"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert render_image(np.zeros((8, 8, 3), np.uint8), 4, 2).startswith(begins)


def test_images_are_drawn_in_place_until_a_message_is_printed() -> None:
    """Interprets the cursor movements to find out where each line ends up."""
    master, slave = pty.openpty()
    with os.fdopen(slave, "w") as stream:
        bar = ImageProgress(2, stream)
        pixels = np.zeros((8, 8, 3), np.uint8)
        written = io.StringIO()
        bar._terminal = Tee(stream, written)  # type: ignore[assignment]
        for step in (1, 2):
            bar.show(pixels, step, 2)
        with bar.paused():
            bar._terminal.write("sdcli: warning: careful\n")
        bar.show(pixels, 2, 2)
        bar.advance(1)
        bar.show(pixels, 1, 2)
    os.close(master)
    lines = [line for line in played(written.getvalue()) if "▀" not in line]
    assert lines == [
        "image 1/2, step 2/2",
        "sdcli: warning: careful",
        "image 1/2, step 2/2",
        "image 2/2, step 1/2",
        "",
    ]


class Tee:
    def __init__(self, terminal: Any, copy: io.StringIO) -> None:
        self._terminal, self._copy = terminal, copy

    def write(self, text: str) -> None:
        self._copy.write(text)

    def flush(self) -> None:
        pass

    def fileno(self) -> int:
        number: int = self._terminal.fileno()
        return number


def played(text: str) -> list[str]:
    """The lines of a terminal after the text; colours left out."""
    lines, row, column, saved = [""], 0, 0, (0, 0)
    for match in re.finditer(r"\x1b\[(\d*)([A-Za-z])|\x1b\[[\d;]*m|\x1b([78])|(.)", text, re.S):
        count, move, mark, letter = match.groups()
        if move == "A":
            row -= int(count)
        elif move == "B":
            row += int(count)
        elif move == "K":
            lines[row] = lines[row][:column]
        elif mark == "7":
            saved = (row, column)
        elif mark == "8":
            row, column = saved
        elif letter == "\n":
            row, column = row + 1, 0
            lines += [""] * (row + 1 - len(lines))
        elif letter == "\r":
            column = 0
        elif letter:
            lines[row] = lines[row][:column].ljust(column) + letter + lines[row][column + 1 :]
            column += 1
    return lines
