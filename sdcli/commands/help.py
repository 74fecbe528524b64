"""`sdcli help`: print the manual."""

from __future__ import annotations

import re
from dataclasses import asdict
from shlex import quote
from typing import Annotated, Any

import typer

from sdcli import docs
from sdcli.commands.options import flags
from sdcli.errors import UsageError, did_you_mean, quoted
from sdcli.terminal.printing import print_document

SCHEMA = "sdcli/help/1"
_NARROWEST = 16
_HELP_BLOCK = re.compile(
    r"^(```text\n\$ sdcli ([a-z -]+) --help\n).*?^```\n", re.MULTILINE | re.DOTALL
)

Topics = Annotated[
    list[str] | None,
    typer.Argument(metavar="TOPIC", help="A page of the manual, or a command. Default: a list."),
]
Search = Annotated[
    str | None,
    typer.Option(
        "--search", metavar="WORD", help="Print the lines of the manual that contain the words."
    ),
]


def help(  # noqa: A001  # the name of the command
    context: typer.Context, topic: Topics = None, search: Search = None, json: flags.Json = False
) -> None:
    """Show the manual: a list of topics, one of them, or the lines that contain a word.

    On a terminal, a topic is shown by the program that $PAGER names, or by less.

    \b
    Examples:
      sdcli help
      sdcli help prompt-files
      sdcli help latents grid
      sdcli help --search seed
    """
    words = topic or []
    if search is not None:
        _print_matches(search, words, json)
    elif not words:
        _print_topics(json)
    else:
        _print_topic(context, words, json)


def _print_topics(json: bool) -> None:
    topics = {topic: docs.topic_summary(topic) for topic in docs.TOPICS}
    if json:
        documents = [{"name": name, "summary": summary} for name, summary in topics.items()]
        print_document({"schema": SCHEMA, "topics": documents}, json=True)
        return
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.tables import wrap_text

    width = max(map(len, topics)) + 2
    rows = [
        line
        for name, summary in topics.items()
        for line in wrap_text(f"{name:{width}}{summary}", hanging=width)
    ]
    last = "sdcli help TOPIC shows one of them, sdcli --help lists the commands."
    print_lines([*rows, "", *wrap_text(last)])


def _print_topic(context: typer.Context, words: list[str], json: bool) -> None:
    command = _command_help(context, words)
    page = _page(words, is_command=command is not None)
    if page is None and command is None:
        raise _unknown_topic_error(context, words)
    if json:
        text = "\n".join(filter(None, (page, command)))
        print_document({"schema": SCHEMA, "topic": " ".join(words), "text": text}, json=True)
        return
    from sdcli.terminal.pager import show_text, text_width

    if page is not None and (width := text_width()):
        page = _fit(context, page, width)
    show_text("\n".join(filter(None, (page, command))))


def _fit(context: typer.Context, page: str, width: int) -> str:
    """Fit a page to a terminal."""
    from sdcli.terminal.markdown_text import fit_markdown

    def help_at_width(block: re.Match[str]) -> str:
        # The help within a page is 80 columns wide.
        text = _command_help(context, block[2].split())
        return block[0] if text is None or width >= 80 else f"{block[1]}{text.rstrip()}\n```\n"

    return "\n".join(fit_markdown(_HELP_BLOCK.sub(help_at_width, page), width)) + "\n"


def _topic_name(word: str) -> str:
    return word.lower().replace("_", "-").removeprefix("--").removesuffix(".md")


def _page(words: list[str], *, is_command: bool) -> str | None:
    name = _topic_name("-".join(words))
    if name in docs.TOPICS:
        return docs.read_topic(name)
    singular = name.removesuffix("s")
    topic = docs.OTHER_NAMES.get(name) or docs.OTHER_NAMES.get(singular)
    if singular in docs.TOPICS:
        topic = singular
    return docs.read_topic(topic) if topic and not is_command else None


def _command_help(context: typer.Context, words: list[str]) -> str | None:
    """The --help text of the command that the words name, or None if there is none."""
    within: Any = context.find_root()
    for word in words:
        command = getattr(within.command, "commands", {}).get(word)
        if command is None:
            return None
        within = type(within)(
            command, info_name=word, parent=within, max_content_width=within.max_content_width
        )
    return str(within.command.get_help(within)) + "\n"


def _unknown_topic_error(context: typer.Context, words: list[str]) -> UsageError:
    name = " ".join(words)
    commands = context.find_root().command.commands  # type: ignore[attr-defined]  # a group
    known = [*docs.TOPICS, *commands]
    hint = did_you_mean(_topic_name(name), known) or did_you_mean(words[0], known)
    if hint is None and name.strip() and any(docs.search_manual(name)):
        hint = f"sdcli help --search {quote(name)} shows the lines with this word"
    return UsageError(
        f"no topic {quoted(name)} in the manual",
        code="usage.topic",
        hint=hint or "sdcli help lists the topics; sdcli help --search WORD searches them",
    )


def _print_matches(search: str, words: list[str], json: bool) -> None:
    # The page about the word itself is first.
    by_name = sorted(docs.TOPICS, key=lambda topic: search.strip().lower() not in topic)
    topics = tuple(_topic_name(word) for word in words) or tuple(by_name)
    for topic in topics:
        if topic not in docs.TOPICS:
            raise UsageError(
                f"no topic {quoted(topic)} in the manual",
                code="usage.topic",
                hint=did_you_mean(topic, docs.TOPICS) or "sdcli help lists the topics",
            )
    if not search.strip():
        raise UsageError("--search: no word", code="usage.search", hint="sdcli help --search seed")
    matches = list(docs.search_manual(search, topics))
    if json:
        rows = [asdict(match) for match in matches]
        print_document({"schema": SCHEMA, "search": search, "matches": rows}, json=True)
    elif not matches:
        raise UsageError(
            f"the manual does not contain {quoted(search)}",
            code="usage.search",
            hint="search for a part of the word, or list the topics: sdcli help",
        )
    else:
        from sdcli.terminal.markdown_text import fit_lines
        from sdcli.terminal.output import print_styled_lines
        from sdcli.terminal.pager import highlight, text_width

        for match in matches:
            prefix = f"{match.topic}: "
            width = text_width()
            space = max(width - len(prefix), _NARROWEST) if width else None
            parts = fit_lines([match.text], space) if space else [match.text]
            first, *rest = [highlight(part, search) for part in parts]
            print_styled_lines([prefix + first, *(f"  {part}" for part in rest)])
