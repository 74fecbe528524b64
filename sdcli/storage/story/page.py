"""Render an explanation as one HTML page that needs no script and no network."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Final

from sdcli.numerics.plot_layout import Box, lay_out
from sdcli.storage.gallery.page import content_policy, render_template
from sdcli.storage.images.thumbnail import encode_thumbnail
from sdcli.storage.text import one_line
from sdcli.story import Chapter, Picture, Plot, Story, Table

_FOLDER: Final = Path(__file__).parent
_PICTURE_SIDE: Final = 320
PLOT_WIDTH, PLOT_HEIGHT = 460, 190
PLOT_BOX: Final = Box(left=48, top=12, right=448, bottom=158)


def render_story(story: Story) -> str:
    """Render the page."""
    style = (_FOLDER / "story.css").read_text("utf-8")
    return render_template(
        _FOLDER,
        "story.html.jinja",
        title=one_line(story.title),
        subtitle=one_line(story.subtitle),
        command=story.command,
        # Nothing in the page moves, so no script may run.
        policy=content_policy(style, None, links=False),
        style=style,
        chapters=[_describe(chapter) for chapter in story.chapters],
        numbered=len(story.chapters) > 1,
    )


def _describe(chapter: Chapter) -> dict[str, Any]:
    return {
        "title": chapter.title,
        "texts": [one_line(text) for text in chapter.texts],
        "pictures": [_describe_picture(picture) for picture in chapter.pictures],
        "table": chapter.table and _describe_table(chapter.table),
        "plots": [describe_plot(plot) for plot in chapter.curves],
    }


def _describe_table(table: Table) -> dict[str, Any]:
    rows = [["–" if cell is None else one_line(str(cell)) for cell in row] for row in table.rows]
    return {"header": table.header, "rows": rows}


def _describe_picture(picture: Picture) -> dict[str, Any]:
    height, width = picture.pixels.shape[:2]
    scale = min(1.0, _PICTURE_SIDE / max(height, width))
    return {
        "label": one_line(picture.label),
        "source": webp_source(picture.pixels, _PICTURE_SIDE),
        "width": max(1, round(width * scale)),
        "height": max(1, round(height * scale)),
    }


def webp_source(pixels: Any, side: int) -> str:
    """Return pixels (height, width, 3), of at most `side` pixels a side, as a data: URL."""
    return f"data:image/webp;base64,{base64.b64encode(encode_thumbnail(pixels, side)).decode()}"


def describe_plot(plot: Plot) -> dict[str, Any]:
    """Return a plot as the places of its SVG."""
    layout = lay_out(plot.lines, PLOT_BOX, log=plot.log)
    return {
        "title": plot.title,
        "x_label": plot.x_label,
        "width": PLOT_WIDTH,
        "height": PLOT_HEIGHT,
        "box": PLOT_BOX,
        "ends": layout.ends,
        "rows": layout.rows,
        "columns": layout.columns,
        "lines": [
            {"name": one_line(name), "points": " ".join(f"{x:.1f},{y:.1f}" for x, y in points)}
            for name, points in layout.lines.items()
        ],
    }
