"""Read the metadata that other programs embed in images, without executing any of it.

All text of a file is gathered first, whatever the container, and then each reader is asked in turn.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Final

from sdcli.interop import comfyui, comfyui_workflow, dgenerate
from sdcli.interop.a1111_record import has_settings, read_a1111
from sdcli.interop.containers import by_keyword
from sdcli.interop.foreign_record import ForeignRecord, json_object, shorten
from sdcli.interop.json_records import read_json_record
from sdcli.interop.sd_parsers_records import read_with_sd_parsers
from sdcli.storage.images.embedded_text import read_embedded_text

_CHUNKS: Final = {
    "prompt": "ComfyUI",
    "workflow": "ComfyUI",
    "invokeai_metadata": "InvokeAI",
    "sd-metadata": "InvokeAI",
    "Dream": "InvokeAI",
    "parameters": "A1111 or Fooocus",
}
"""Keywords of PNG text chunks, and the programs that write them."""
_WORKFLOW_ONLY: Final = "it holds ComfyUI's workflow without the graph that ran"
_SHOWN_LENGTH: Final = 80


def read_foreign(path: Path, parameters: str | None) -> ForeignRecord | None:
    """Read the record of an image from another program, None when there is none.

    `parameters` is the image's A1111 text, if any. Never raises for the contents of the image.
    """
    texts = by_keyword(read_embedded_text(path))
    if parameters:
        texts = {"parameters": parameters} | texts
    return next(_readings(texts), None)


def unread_texts(path: Path) -> dict[str, str]:
    """Return all text of an image by keyword, shortened, for when `read_foreign` returns None."""
    texts = read_embedded_text(path)
    return {shorten(name, 40): shorten(text, _SHOWN_LENGTH) for name, text in texts.items()}


def describe_unreadable(path: Path) -> str | None:
    """Describe text that `read_foreign` could not read, None when there is none."""
    texts = unread_texts(path)
    if not texts:
        return None
    named = [f"{name!r} ({_CHUNKS[name]})" if name in _CHUNKS else repr(name) for name in texts]
    shown = ", ".join(map(repr, texts.values()))
    return f"its text {' and '.join(named)} could not be read: {shown}"


def _readings(texts: Mapping[str, str]) -> Iterator[ForeignRecord]:
    """Yield what the readers make of the texts, the surest first."""
    for name, text in texts.items():
        if name == "DgenerateConfig" or dgenerate.find_config(text):
            yield dgenerate.read_dgenerate(text)
    objects = {name: facts for name, text in texts.items() if (facts := json_object(text))}
    for facts in objects.values():
        if record := read_json_record(facts):
            yield record
    for name, text in texts.items():
        if name not in objects and has_settings(text):
            yield read_a1111(text)
    yield from _by_program(texts, objects)
    if texts.get("parameters") and "parameters" not in objects:
        # A1111 writes the prompt alone if it is set to.
        yield read_a1111(texts["parameters"])


def _by_program(
    texts: Mapping[str, str], objects: Mapping[str, Mapping[str, object]]
) -> Iterator[ForeignRecord]:
    """Yield the readings of ComfyUI's graph, and of InvokeAI, NovelAI and Fooocus."""
    if record := comfyui.read_comfyui(texts.get("prompt", "")):
        yield record
    # The graph says what ran, so it comes first.
    elif record := comfyui.read_comfyui(comfyui_workflow.to_graph(texts.get("workflow", ""))):
        yield replace(record, doubts=(*record.doubts, _WORKFLOW_ONLY))
    # Fooocus has its object in EXIF, too, for which sd-parsers knows no name.
    candidates = [texts.get("parameters", ""), *(texts[name] for name in objects)]
    for text in dict.fromkeys(candidates):
        if record := read_with_sd_parsers({**texts, "parameters": text}):
            yield record
