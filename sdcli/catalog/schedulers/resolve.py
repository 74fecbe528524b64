"""From any name that users type for a scheduler to a Diffusers class and its options."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from sdcli.catalog.schedulers import overrides
from sdcli.catalog.schedulers.class_options import CONSTRUCTORS, option_info
from sdcli.catalog.schedulers.entries import Sampler
from sdcli.catalog.schedulers.lookup import (
    SamplerMatch,
    find_sampler,
    normalize_name,
    sampler_index,
)
from sdcli.catalog.schedulers.samplers import SAMPLERS
from sdcli.catalog.schedulers.sigma_schedules import AUTOMATIC, get_schedule
from sdcli.catalog.schedulers.suggestions import unknown_scheduler_error, unsupported_schedule_error
from sdcli.errors import UsageError


@dataclass(frozen=True, kw_only=True)
class SchedulerConfig:
    """What the engine builds: `class_name` from the model's own config with `config` laid over it.

    `class_name` None is the model's own scheduler as shipped.
    """

    class_name: str | None = None
    config: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, kw_only=True)
class ResolvedScheduler:
    """A name understood. `label` is its canonical spelling, and resolves to the same again.

    `schedule` is a row of SCHEDULES; "Normal" too where nothing was said of it.
    """

    label: str
    choice: SchedulerConfig
    sampler: Sampler | None
    schedule: str = "Normal"

    @property
    def is_stochastic(self) -> bool:
        """Whether it adds noise at its steps, eta aside."""
        algorithm = str(self._option("algorithm_type"))
        if "dpmsolver" in algorithm:
            return algorithm.startswith("sde")
        return self.sampler is not None and self.sampler.stochastic

    @property
    def order(self) -> int | None:
        """The solver's order; None for a class that no row knows."""
        said = [self._option(f"{part}_order") for part in ("solver", "predictor", "corrector")]
        orders = [order for order in said if isinstance(order, int)]
        if orders:
            return max(orders)
        return self.sampler.order if self.sampler else None

    @property
    def max_steps(self) -> int:
        """The most steps that it takes: for LCM and TCD those that its model was distilled from."""
        said = self._option("original_inference_steps")
        if isinstance(said, int):
            return said
        return self.sampler.max_steps if self.sampler else Sampler.max_steps

    @property
    def resumes_from_latents(self) -> bool:
        """Whether the latents of a step are enough to go on from it, at an eta of 0."""
        return self.sampler is not None and not (self.sampler.is_multistep or self.is_stochastic)

    def _option(self, name: str) -> object:
        defaults = CONSTRUCTORS.get(self.choice.class_name or "", {})
        return dict(self.choice.config).get(name, defaults.get(name))


def resolve_scheduler(name: str) -> ResolvedScheduler:
    """The scheduler that `name` asks for, its schedule too; case, spaces, _, + are forgiven.

    A name of A1111, ComfyUI, InvokeAI or kohya sets all that the name implies; a Diffusers class
    name is that class on the model's own config with nothing added. Constructor options may follow
    ("DPM++ 2M Karras;solver_order=3"). Raises UsageError for names nobody knows, that Diffusers
    cannot do, and for a schedule or an option that the class would ignore.
    """
    plain, pairs = overrides.split_overrides(name)
    known = find_sampler(plain)
    if known is None:
        raise unknown_scheduler_error(plain)
    found, word = known
    if word == AUTOMATIC:
        word = found.sampler.automatic
    said = overrides.parse_overrides(found.sampler, pairs)
    word, said = overrides.extract_schedule(found.sampler, word, said)
    return _select(found, "Normal" if _is_natural(found, word) else word, said)


def model_scheduler(class_name: str) -> ResolvedScheduler:
    """The model's own scheduler, which Diffusers built from the model's files."""
    found = sampler_index().get(normalize_name(class_name))
    return ResolvedScheduler(
        label=class_name, choice=SchedulerConfig(), sampler=found.sampler if found else None
    )


def a1111_names(class_name: str, config: Mapping[str, object]) -> tuple[str, str | None]:
    """A1111's (sampler, schedule type) for a scheduler as built.

    The row that says most about the config wins; a class that no row knows keeps its own name.
    The type is None where A1111's Automatic, which it takes a missing one for, is the same.
    """
    rows = [row for row in SAMPLERS if row.class_name == class_name]
    if not rows:
        return class_name, None
    decisive = ("algorithm_type", "solver_order", "solver_type")

    def agreement(row: Sampler) -> int:
        return sum(config.get(key) == row.config[key] for key in decisive if key in row.config)

    sampler = max(rows, key=agreement)
    name = _schedule_of(sampler, config)
    if name == sampler.automatic == "Normal":
        return sampler.name, None
    return sampler.name, _A1111_TYPES.get(name, name)


# A1111's own words: k-diffusion's default is "Uniform", ComfyUI's ddim_uniform is "DDIM".
_A1111_TYPES: Final = {"Normal": "Uniform", "DDIM Uniform": "DDIM"}


def _schedule_of(row: Sampler, config: Mapping[str, object]) -> str:
    """The row's schedule that a scheduler as built has; the offset of a spacing is no matter."""
    for name in row.schedules:
        options = {k: v for k, v in get_schedule(name).config.items() if k != "steps_offset"}
        if options and options.items() <= config.items() and name != row.natural:
            return name
    return "Normal"


def _is_natural(found: SamplerMatch, word: str | None) -> bool:
    """Whether that schedule is what is done without a word; a bare class may need its options."""
    row = found.sampler
    if word is None or word != row.natural:
        return False
    return not found.bare or all(
        option_info(row.class_name, k).fixed for k in get_schedule(word).config
    )


def _select(found: SamplerMatch, word: str | None, said: Mapping[str, object]) -> ResolvedScheduler:
    row, bare = found.sampler, found.bare
    if word is not None and word not in row.schedules:
        raise unsupported_schedule_error(row, word)
    chosen = get_schedule(word or "Normal")
    for package in filter(None, (row.package, chosen.package)):
        _require(package, row)
    config: dict[str, object] = {} if bare else dict(row.config)
    if not bare or word:
        # Off unless asked for: a model's own config may have another schedule switched on.
        flags = (key for name in row.schedules for key in get_schedule(name).config)
        config |= {key: False for key in flags if key.startswith("use_")} | dict(chosen.config)
    overrides.check_overrides(row, {**CONSTRUCTORS[row.class_name], **config}, said, chosen.name)
    options = [
        f"{k}={overrides.format_value(v)}"
        for k, v in sorted(said.items())
        if (k, v) not in config.items()
    ]
    config |= said
    name = row.class_name if bare else row.name
    shown = word if word != "Normal" or bare else None
    return ResolvedScheduler(
        label=";".join([f"{name} {shown}" if shown else name, *options]),
        choice=SchedulerConfig(class_name=row.class_name, config=tuple(sorted(config.items()))),
        sampler=row,
        schedule=chosen.name,
    )


def _require(package: str, row: Sampler) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UsageError(
            f"scheduler {row.name!r} needs the package {package}, which is not installed",
            code="scheduler.package",
            hint=f"pip install {package}",
        )
