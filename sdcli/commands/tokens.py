"""Define `sdcli tokens`: the tokens of a prompt, their weights, and what is cut off."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from sdcli.commands.options import flags
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.prompt_settings import A1111
from sdcli.request import GenerationRequest

SCHEMA: Final = "sdcli/tokens/1"

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt to read.")]


def tokens(
    prompt: Prompt,
    negative: flags.Negative = None,
    model: flags.Model = EMBEDDED,
    prompt_syntax: flags.PromptSyntax = None,
    steps: flags.Steps = None,
    json: flags.Json = False,
) -> None:
    """Show the tokens of a prompt, their weights and what is cut off.

    Each text encoder reads chunks of 75 tokens. "characters" counts from 0 in the prompt. In a
    terminal, words are colored by their weight. Nothing is loaded or downloaded.

    \b
    Examples:
      sdcli tokens "a (cat:1.3) and a [dog]"
      sdcli tokens "a [cat:dog:0.5]" --steps 20
      sdcli tokens "a cat" -n "a dog" --json
      sdcli tokens "a (cat)" --prompt-syntax plain
    """
    document = _describe(prompt, negative, model, prompt_syntax or A1111, steps)
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line(document)
        return
    from sdcli.terminal.token_report import print_tokens

    print_tokens("prompt", document["prompt"], document["limit"])
    if document["negative_prompt"]:
        print_tokens("negative prompt", document["negative_prompt"], document["limit"])


def _describe(
    prompt: str, negative: str | None, model: str, syntax: str, steps: int | None
) -> dict[str, Any]:
    """Return the document. Raises UsageError and ModelError."""
    from sdcli.checkpoints.clip_tokenizer import load_clip_tokenizer, tokenizer_names
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.model_defaults import describe_model
    from sdcli.prompts.lora_tags import take_lora_tags
    from sdcli.workflows.read_tokens import TokenReader

    spec = PipelineSpec(model=model, offline=True)
    # Checks what was typed.
    request = GenerationRequest(
        prompt=prompt,
        negative_prompt=negative,
        prompt_syntax=syntax,
        num_inference_steps=steps,
        spec=spec,
    )
    prompt = take_lora_tags(request).prompt
    folder = fetch_model(spec)
    count = request.num_inference_steps or describe_model(folder).num_inference_steps
    tokenizer = load_clip_tokenizer(folder, tokenizer_names(folder)[0])
    reader = TokenReader(tokenizer, syntax, count)
    return {
        "schema": SCHEMA,
        "model": model,
        "prompt_syntax": syntax,
        "num_inference_steps": count,
        "limit": tokenizer.limit,
        "prompt": reader.read(prompt),
        "negative_prompt": None if negative is None else reader.read(negative, combines=False),
    }
