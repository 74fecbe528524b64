"""`sdcli gallery`: show a folder of images, or the trace of a run, as one HTML page."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Final

import typer

from sdcli.commands.options import flags
from sdcli.commands.options.parsing import parse_verbosity
from sdcli.errors import OutputError, UsageError

PAGE_SUFFIXES: Final = (".html", ".htm")

Folder = Annotated[
    Path,
    typer.Argument(
        metavar="DIR",
        help="Folder of images; subfolders are included. Or a folder that --trace wrote.",
    ),
]
PageOut = Annotated[
    str | None,
    typer.Option(
        "--out",
        "-o",
        metavar="FILE",
        help="The page, or - for stdout. Default: gallery.html in the folder.",
        show_default=False,
    ),
]
Thumbnail = Annotated[
    int,
    typer.Option(
        "--thumbnail",
        metavar="N",
        help="Largest width and height of the images in the page, in pixels.",
        min=32,
        max=2048,
    ),
]
Links = Annotated[
    bool,
    typer.Option(
        "--links",
        help="Show the image files themselves: a small page, which must stay next to them.",
    ),
]
StepVae = Annotated[
    str | None,
    typer.Option(
        "--vae",
        metavar="VAE",
        help="For a trace: VAE that decodes the steps, or linear, a fast approximation. Default: "
        "the run's.",
        show_default=False,
    ),
]


def gallery(
    folder: Folder,
    out: PageOut = None,
    thumbnail: Thumbnail = 256,
    links: Links = False,
    vae: StepVae = None,
    force: flags.Force = False,
    json: flags.Json = False,
    quiet: flags.Quiet = False,
) -> None:
    """Show a folder of images as one HTML page, to filter, compare and rate them.

    The page contains everything it shows and needs no network. It has the settings and the scores
    of each image, and the command that reproduces it. Of a trace, it shows the steps: the noisy
    and the predicted image, and the map of each word.

    \b
    Examples:
      sdcli gallery outputs
      sdcli gallery outputs -o page.html --thumbnail 128
      sdcli gallery photos --links
      sdcli generate "a cat" --trace run && sdcli gallery run
    """
    from sdcli.inputs.paths import expand_user, output_path
    from sdcli.storage.images.destination import Destination
    from sdcli.storage.images.writer import write_bytes
    from sdcli.storage.trace_reader import is_trace
    from sdcli.terminal.console import Console
    from sdcli.terminal.printing import print_path
    from sdcli.workflows.gallery import SCHEMA, GalleryOptions, build_gallery

    source = expand_user(folder)
    _check_folder(source)
    to_stdout = out == "-"
    page = Path() / "-" if to_stdout else output_path(out or source / "gallery.html")
    _check_page(page, to_stdout=to_stdout, force=force, json=json)
    traced = is_trace(source)
    _check_options(traced=traced, links=links, vae=vae)
    console = Console(verbosity=parse_verbosity(quiet, 0))
    if traced:
        from sdcli.workflows.trace_gallery import build_trace_page

        text, count = build_trace_page(source, vae=vae, thumbnail=thumbnail, warn=console.warn)
    else:
        options = GalleryOptions(folder=page.parent, thumbnail=thumbnail, links=links)
        text, count = build_gallery(source, options, console.warn)
    destination = Destination(kind="stdout" if to_stdout else "file", path=page, force=force)
    written = write_bytes(text.encode(), destination, page.stem)
    print_path(written, json, schema=SCHEMA, **{"steps" if traced else "images": count})


def _check_options(*, traced: bool, links: bool, vae: str | None) -> None:
    if traced and links:
        raise UsageError(
            "--links: the steps of a trace are not image files",
            code="usage.links",
            hint="leave out --links",
        )
    if vae is not None and not traced:
        raise UsageError("--vae has no effect without a trace", code="usage.vae")


def _check_folder(source: Path) -> None:
    if source.is_dir():
        return
    from sdcli.inputs.similar_paths import similar_path_hint

    hint = (None if source.exists() else similar_path_hint(source)) or "give a folder"
    raise UsageError(f"{source}: not a folder", code="usage.file", hint=hint)


def _check_page(page: Path, *, to_stdout: bool, force: bool, json: bool) -> None:
    """Check the place of the page before the images are read."""
    from sdcli.storage import files

    if to_stdout:
        if json:
            raise UsageError("--out -: stdout is the page itself, not JSON", code="usage.out")
        return
    if page.is_dir():
        raise UsageError(
            f"--out {page}: a folder; the page is a file",
            code="usage.out",
            hint=f"as in --out {page / 'gallery.html'}",
        )
    if page.suffix.lower() not in PAGE_SUFFIXES:
        raise UsageError(
            f"--out {page}: not an .html file",
            code="usage.out",
            hint=f"as in --out {page.with_suffix('.html')}",
        )
    files.prepare_folder(page.parent)
    if page.exists() and not force:
        raise OutputError(
            f"{page} exists", code="output.exists", hint="choose another name, or add --force"
        )
