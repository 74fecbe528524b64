"""Explain how the image of a request came about, in eleven chapters."""

from __future__ import annotations

from typing import Any, Final

from sdcli.story import Story, say
from sdcli.workflows.explain import (
    chance_chapter,
    guidance_chapters,
    step_chapters,
    walk_chapters,
    word_chapters,
)
from sdcli.workflows.explain.runs import ExplainedRun

SCHEMA: Final = "sdcli/explain/1"
# The order of the run itself, with the words before the step that first reads them.
CHAPTERS: Final = (
    step_chapters.tell_noise,
    word_chapters.tell_pieces,
    word_chapters.tell_vectors,
    step_chapters.tell_first_look,
    word_chapters.tell_attention,
    word_chapters.tell_influence,
    walk_chapters.tell_walk,
    walk_chapters.tell_arrival,
    guidance_chapters.tell_guidance,
    step_chapters.tell_decoding,
    chance_chapter.tell_chance,
)


def tell(run: ExplainedRun) -> Story:
    """Tell the story of a run."""
    job = run.result.job
    steps = say("{steps:step|steps}", steps=len(run.trace.steps)).text
    scale = f"guidance {job.guidance_text}"
    return Story(
        title=job.prompt,
        subtitle=f"seed {job.seed}, {steps}, {scale}, {job.scheduler_label}",
        command=_command(run),
        chapters=[tell_chapter(run) for tell_chapter in CHAPTERS],
    )


def _command(run: ExplainedRun) -> str:
    """The command that generates the image, "" if no command line can express it."""
    from sdcli.errors import UsageError
    from sdcli.interop.export import to_command

    try:
        return to_command(run.trace.latents.request.to_dict())
    except UsageError:
        return ""


def story_document(story: Story, run: ExplainedRun, trace: str | None) -> dict[str, Any]:
    """Return the story without its pictures for JSON."""
    from sdcli.storage.metadata.record import pixels_sha256

    return {
        "schema": SCHEMA,
        "path": None,
        "trace": trace,
        "prompt": run.result.job.prompt,
        "seed": run.result.job.seed,
        "pixels_sha256": pixels_sha256(run.result.pixels),
        "command": story.command,
        "chapters": [chapter.to_dict() for chapter in story.chapters],
    }
