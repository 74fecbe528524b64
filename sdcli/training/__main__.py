"""``python -m sdcli.training [STAGE…]``: train the stages in order; a stopped run goes on."""

import argparse
import time
from collections.abc import Callable
from pathlib import Path

STAGES = (
    "tokenizer",
    "vae",
    "text",
    "latents",
    "diffusion",
    "vae_decoder",
    "vae_tiny",
    "judge",
    "export",
)
SECONDS = {
    "vae": 900.0,
    "text": 240.0,
    "diffusion": 6000.0,
    "vae_decoder": 420.0,
    "vae_tiny": 240.0,
    "judge": 480.0,
}
"""The budget of each stage on two cores; with what lies between, 2 h 25 min in all."""


def _tokenizer(folder: Path, seconds: float) -> None:
    from sdcli.training.tokenizer import train_tokenizer

    if not (folder / "tokenizer" / "merges.txt").exists():
        train_tokenizer(folder / "tokenizer", seed=3)


def _vae(folder: Path, seconds: float) -> None:
    from sdcli.training.autoencoder import KlStage
    from sdcli.training.loop import train

    train("vae", KlStage, folder, seconds=seconds, seed=1)


def _text(folder: Path, seconds: float) -> None:
    from sdcli.training.loop import train
    from sdcli.training.text_encoder import TextStage

    train("text", TextStage, folder, seconds=seconds, seed=2)


def _latents(folder: Path, seconds: float) -> None:
    from sdcli.training.diffusion import encode_scenes

    encode_scenes(folder)


def _diffusion(folder: Path, seconds: float) -> None:
    from sdcli.training.diffusion import DiffusionStage
    from sdcli.training.loop import train

    train("diffusion", DiffusionStage, folder, seconds=seconds, seed=4)


def _vae_decoder(folder: Path, seconds: float) -> None:
    from sdcli.training.decoder_finetune import DecoderStage
    from sdcli.training.loop import train

    train("vae_decoder", DecoderStage, folder, seconds=seconds, seed=8)


def _judge(folder: Path, seconds: float) -> None:
    from sdcli.training.judge import JudgeStage
    from sdcli.training.loop import train

    train("judge", JudgeStage, folder, seconds=seconds, seed=9)


def _vae_tiny(folder: Path, seconds: float) -> None:
    from sdcli.training.autoencoder import TinyStage
    from sdcli.training.loop import train

    train("vae_tiny", TinyStage, folder, seconds=seconds, seed=6)


def _export(folder: Path, seconds: float) -> None:
    from sdcli.training.export import export

    export(folder, folder / "model")


_WORK: dict[str, Callable[[Path, float], None]] = {
    "tokenizer": _tokenizer,
    "vae": _vae,
    "text": _text,
    "latents": _latents,
    "diffusion": _diffusion,
    "vae_decoder": _vae_decoder,
    "vae_tiny": _vae_tiny,
    "judge": _judge,
    "export": _export,
}


def main() -> None:
    """Parse the arguments and train."""
    parser = argparse.ArgumentParser(prog="python -m sdcli.training", description=__doc__)
    parser.add_argument(
        "stages", nargs="*", metavar="STAGE", help=f"some of {', '.join(STAGES)} (default: all)"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(".training"),
        help="where work is kept (default: .training)",
    )
    parser.add_argument(
        "--scale",
        type=float,
        default=1.0,
        help="factor on all budgets; 0.01 tries the code in minutes",
    )
    arguments = parser.parse_args()
    arguments.folder.mkdir(parents=True, exist_ok=True)
    unknown = sorted(set(arguments.stages) - set(STAGES))
    if unknown:
        parser.error(f"no stage {', '.join(unknown)}")
    for stage in arguments.stages or STAGES:
        started = time.monotonic()
        _WORK[stage](arguments.folder, SECONDS.get(stage, 0.0) * arguments.scale)
        print(f"{stage}: {time.monotonic() - started:.0f} s", flush=True)


if __name__ == "__main__":
    main()
