"""From any name that users type for a scheduler to a Diffusers class and its options."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from sdcli.catalog import overrides
from sdcli.catalog.constructors import CONSTRUCTORS
from sdcli.catalog.impossible import IMPOSSIBLE, IMPOSSIBLE_SCHEDULES
from sdcli.catalog.samplers import SAMPLERS, Sampler
from sdcli.catalog.schedules import SCHEDULES, Schedule
from sdcli.errors import UsageError, did_you_mean

AUTOMATIC = "Automatic"


@dataclass(frozen=True, kw_only=True)
class SchedulerChoice:
    """What the engine builds: `class_name` from the model's own config with `config` laid over it.

    `class_name` None is the model's own scheduler as shipped.
    """

    class_name: str | None = None
    config: tuple[tuple[str, object], ...] = ()


@dataclass(frozen=True, kw_only=True)
class Selection:
    """A name understood. `label` is its canonical spelling, and resolves to the same again.

    `schedule` is a row of SCHEDULES; "Normal" too where nothing was said of it.
    """

    label: str
    choice: SchedulerChoice
    sampler: Sampler | None
    schedule: str = "Normal"

    @property
    def is_stochastic(self) -> bool:
        """Whether it adds noise at its steps, eta aside."""
        algorithm = dict(self.choice.config).get("algorithm_type", "")
        return (self.sampler is not None and self.sampler.stochastic) or "sde" in str(algorithm)


def resolve(name: str) -> Selection:
    """The scheduler that `name` asks for, its schedule too; case, spaces, _, + are forgiven.

    A name of A1111, ComfyUI, InvokeAI or kohya sets all that the name implies; a Diffusers class
    name is that class on the model's own config with nothing added. Constructor options may follow
    ("DPM++ 2M Karras;solver_order=3"). Raises UsageError for names nobody knows, that Diffusers
    cannot do, and for a schedule or an option that the class would ignore.
    """
    bare, pairs = overrides.split(name)
    found, schedule = _find(bare)
    said = overrides.read(found.sampler, pairs)
    return _select(found, *overrides.split_schedule(found.sampler, schedule, said))


def _find(name: str) -> tuple[_Found, str | None]:
    """The row, and the schedule if one was said. Raises UsageError."""
    key = _key(name)
    if found := _rows().get(key):
        return found, None
    for ending, schedule in _endings():
        if key.endswith(ending) and (found := _rows().get(key.removesuffix(ending))):
            automatic = schedule == AUTOMATIC
            return found, found.sampler.automatic if automatic else schedule
    raise _unknown(name, key)


def shipped(class_name: str) -> Selection:
    """The model's own scheduler, which Diffusers built from the model's files."""
    found = _rows().get(_key(class_name))
    return Selection(
        label=class_name, choice=SchedulerChoice(), sampler=found.sampler if found else None
    )


def a1111_names(class_name: str, config: Mapping[str, object]) -> tuple[str, str | None]:
    """A1111's (sampler, schedule type) for a scheduler as built; the schedule None when normal.

    The row that says most about the config wins; a class that no row knows keeps its own name.
    """
    rows = [row for row in SAMPLERS if row.class_name == class_name]
    if not rows:
        return class_name, None
    decisive = ("algorithm_type", "solver_order", "solver_type")

    def agreement(row: Sampler) -> int:
        return sum(config.get(key) == row.config[key] for key in decisive if key in row.config)

    sampler = max(rows, key=agreement)
    for name in sampler.schedules:
        options = _schedule(name).config.items()
        if options and all(config.get(key) == value for key, value in options):
            return sampler.name, name
    return sampler.name, None


def known_names() -> list[str]:
    """Every name of every row, for completion and suggestions."""
    return [name for row in SAMPLERS for name in (row.name, *row.aliases, row.class_name)]


@dataclass(frozen=True)
class _Found:
    sampler: Sampler
    bare: bool  # the class was named, not the sampler: "EulerDiscrete" is one, "Euler" the other


def _select(found: _Found, schedule: str | None, said: Mapping[str, object]) -> Selection:
    row, bare = found.sampler, found.bare
    if schedule is not None and schedule not in row.schedules:
        raise _unsupported(row, schedule)
    chosen = _schedule(schedule or "Normal")
    for package in filter(None, (row.package, chosen.package)):
        _require(package, row)
    config: dict[str, object] = {} if bare else dict(row.config)
    if not bare or schedule:
        # Off unless asked for: a model's own config may have another schedule switched on.
        flags = (key for name in row.schedules for key in _schedule(name).config)
        config |= {key: False for key in flags if key.startswith("use_")} | dict(chosen.config)
    overrides.check(row, {**CONSTRUCTORS[row.class_name], **config}, said, chosen.name)
    options = [
        f"{k}={overrides.spell(v)}" for k, v in sorted(said.items()) if (k, v) not in config.items()
    ]
    config |= said
    name = row.class_name if bare else row.name
    shown = schedule if schedule != "Normal" or bare else None
    return Selection(
        label=";".join([f"{name} {shown}" if shown else name, *options]),
        choice=SchedulerChoice(class_name=row.class_name, config=tuple(sorted(config.items()))),
        sampler=row,
        schedule=chosen.name,
    )


def _key(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower().replace("++", "pp"))


@cache
def _rows() -> dict[str, _Found]:
    """Keys of samplers win over keys of classes ("DDIM"), exact ones over those without a ++."""
    exact = {_key(n): _Found(row, False) for row in SAMPLERS for n in (row.name, *row.aliases)}
    impossible = {_key(name) for name in IMPOSSIBLE}
    loose = {key.replace("pp", ""): found for key, found in exact.items()}
    classes: dict[str, _Found] = {}
    for row in SAMPLERS:
        for key in (_key(row.class_name), _key(row.class_name.removesuffix("Scheduler"))):
            classes.setdefault(key, _Found(row, True))
    return {k: v for k, v in loose.items() if k not in impossible} | classes | exact


@cache
def _endings() -> list[tuple[str, str]]:
    pairs = [(_key(n), row.name) for row in SCHEDULES for n in (row.name, *row.aliases)]
    return sorted([*pairs, (_key(AUTOMATIC), AUTOMATIC)], key=lambda pair: -len(pair[0]))


def _schedule(name: str) -> Schedule:
    return next(row for row in SCHEDULES if row.name == name)


def _require(package: str, row: Sampler) -> None:
    from importlib.util import find_spec

    if find_spec(package) is None:
        raise UsageError(
            f"scheduler {row.name!r} needs the package {package}, which is not installed",
            code="scheduler.package",
            hint=f"pip install {package}",
        )


def _unsupported(row: Sampler, schedule: str) -> UsageError:
    others = ", ".join(other.name for other in SAMPLERS if schedule in other.schedules)
    able = f"schedules of {row.name}: {', '.join(row.schedules) or 'none but its own'}"
    return UsageError(
        f"{row.name} has no {schedule} schedule in Diffusers, it would be ignored",
        code="scheduler.schedule",
        hint=f"{able}; {schedule} works with {others}" if others else able,
    )


def _unknown(name: str, key: str) -> UsageError:
    bare = next((key.removesuffix(e) for e, _ in _endings() if key.endswith(e)), key)
    for spelling, (why, nearest) in IMPOSSIBLE.items():
        if _key(spelling).removesuffix("scheduler") in (key.removesuffix("scheduler"), bare):
            return UsageError(
                f"scheduler {name!r} cannot be had: {why}",
                code="scheduler.impossible",
                hint=f"the nearest is -s {nearest!r}",
            )
    for schedule in IMPOSSIBLE_SCHEDULES:
        if key.endswith(_key(schedule)) and (
            found := _rows().get(key.removesuffix(_key(schedule)))
        ):
            return _unsupported(found.sampler, schedule)
    names = ", ".join(row.name for row in SAMPLERS)
    return UsageError(
        f"no scheduler is called {name!r}",
        code="scheduler.unknown",
        hint=did_you_mean(name, known_names()) or f"known: {names}; and Diffusers' class names",
    )
