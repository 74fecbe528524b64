"""Show long texts: through the user's pager on a terminal, unchanged anywhere else."""

from __future__ import annotations

import re
import shutil
import sys

from sdcli.storage.text import one_line, printable
from sdcli.terminal.output import has_styles, print_lines

_BOLD, _NORMAL = "\x1b[1m", "\x1b[0m"


def show_text(text: str) -> None:
    """Print a text on stdout, through $PAGER (or less) if that is a terminal."""
    lines = printable(text).splitlines()
    if not sys.stdout.isatty():
        print_lines(lines)
        return
    import pydoc

    pydoc.pager("\n".join(lines) + "\n")


def text_width() -> int | None:
    """Return the columns that `show_text` has, None if stdout is no terminal."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def highlight(text: str, words: str) -> str:
    """Return a line safe for terminals, with the words in bold if stdout is one with colours."""
    line = one_line(text)
    if not has_styles(sys.stdout):
        return line
    pattern = "|".join(re.escape(one_line(word)) for word in words.split())
    return re.sub(pattern, lambda match: f"{_BOLD}{match[0]}{_NORMAL}", line, flags=re.IGNORECASE)
