"""Define `sdcli tokens`: the tokens of a prompt, their weights, and what is cut off."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from sdcli.commands.options import flags
from sdcli.fields.embedding import SEPARATOR
from sdcli.fields.prompt import A1111
from sdcli.pipeline_spec import EMBEDDED, PipelineSpec
from sdcli.request import GenerationRequest

SCHEMA: Final = "sdcli/tokens/1"

Prompt = Annotated[str, typer.Argument(metavar="PROMPT", help="The prompt to read.")]


def tokens(
    prompt: Prompt,
    negative: flags.Negative = None,
    model: flags.Model = EMBEDDED,
    prompt_syntax: flags.PromptSyntax = None,
    embedding: flags.Embedding = None,
    embedding_dir: flags.EmbeddingDir = None,
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
      sdcli tokens "a (cat)1.3 and a dog++" --prompt-syntax compel
      sdcli tokens "a toy" --embedding toy.safetensors
    """
    request = GenerationRequest(
        prompt=prompt,
        negative_prompt=negative,
        prompt_syntax=prompt_syntax or A1111,
        num_inference_steps=steps,
        embedding=SEPARATOR.join(embedding) if embedding else None,
        embedding_dir=embedding_dir,
        spec=PipelineSpec(model=model, offline=True),
    )
    document = _describe(request)
    if json:
        from sdcli.terminal.json_output import print_json_line

        print_json_line(document)
        return
    from sdcli.terminal.output import print_lines
    from sdcli.terminal.token_report import print_tokens

    print_tokens("prompt", document["prompt"], document["limit"])
    if document["negative_prompt"]:
        print_lines([""])
        print_tokens("negative prompt", document["negative_prompt"], document["limit"])


def _describe(written: GenerationRequest) -> dict[str, Any]:
    """Return the document. Raises UsageError and ModelError."""
    from sdcli.checkpoints.clip_tokenizer import load_clip_tokenizer, tokenizer_names
    from sdcli.checkpoints.hub import fetch_model
    from sdcli.checkpoints.model_defaults import describe_model
    from sdcli.planning.prompt_syntax import check_compel
    from sdcli.planning.request_embeddings import find_embeddings
    from sdcli.prompts.lora_tags import take_lora_tags
    from sdcli.terminal.console import Console
    from sdcli.workflows.read_tokens import TokenReader

    request = take_lora_tags(written)
    check_compel(request)
    folder = fetch_model(request.spec)
    defaults = describe_model(folder)
    embeddings = find_embeddings(request, defaults)
    for note in embeddings.notes:
        Console().warn(note)
    count = request.num_inference_steps or defaults.num_inference_steps
    tokenizer = load_clip_tokenizer(folder, tokenizer_names(folder)[0])
    syntax, negative = str(request.prompt_syntax), request.negative_prompt
    reader = TokenReader(tokenizer, syntax, count, embeddings.words)
    return {
        "schema": SCHEMA,
        "model": request.spec.model,
        "prompt_syntax": syntax,
        "num_inference_steps": count,
        "limit": tokenizer.limit,
        "prompt": reader.read(request.prompt),
        "negative_prompt": None if negative is None else reader.read(negative, combines=False),
    }
