"""All that can go wrong: exceptions that know their exit code and the next thing to type."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches
from enum import IntEnum
from typing import ClassVar


class ExitCode(IntEnum):
    """What the process says to the shell. Codes are append-only."""

    OK = 0
    INTERNAL = 1
    USAGE = 2
    MODEL = 3
    DEVICE = 4
    OUTPUT = 5
    UNSAFE = 6
    CORRUPT = 7
    NUMERICS = 8
    PARTIAL = 9
    DIFFERENT = 10
    INTERRUPTED = 130
    CLOSED_PIPE = 141  # 128 + SIGPIPE, as a shell sees any tool whose reader went away


class SdcliError(Exception):
    """An error of the user's world, told in one line. `code` is its stable name for programs."""

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class UsageError(SdcliError):
    """A flag, a value or a prompt file that cannot be meant."""

    exit_code = ExitCode.USAGE


class UsageErrors(UsageError):
    """Several of them at once, as the bad lines of a prompt file. `total` may be more than are
    told; `outcome` and `remedy` are for the summary."""

    def __init__(
        self,
        errors: Sequence[UsageError],
        total: int | None = None,
        *,
        outcome: str = "nothing was drawn",
        remedy: str = "mend them",
    ) -> None:
        self.several = tuple(errors)
        count = total or len(self.several)
        first = self.several[0]
        message = first.message if count == 1 else f"{count} errors, the first: {first.message}"
        super().__init__(message, code=first.code, hint=first.hint)
        self._summary = f"{count} errors, {outcome}"
        self._remedy = remedy

    def summary(self) -> UsageError:
        """What stands below the list of them."""
        return UsageError(self._summary, code=self.code, hint=self._remedy)


class ModelError(SdcliError):
    """A model or a part of one that is missing, gated, offline or incompatible."""

    exit_code = ExitCode.MODEL


class DeviceError(SdcliError):
    """No such device, or out of memory after the ladder was tried."""

    exit_code = ExitCode.DEVICE


class OutputError(SdcliError):
    """A file that cannot be written."""

    exit_code = ExitCode.OUTPUT


class UnsafeError(SdcliError):
    """A checkpoint that could run code when loaded."""

    exit_code = ExitCode.UNSAFE


class CorruptError(SdcliError):
    """Truncated or altered weights, images or latents."""

    exit_code = ExitCode.CORRUPT


class NumericsError(SdcliError):
    """NaN or infinity after the ladder was tried."""

    exit_code = ExitCode.NUMERICS


class PartialError(SdcliError):
    """Some jobs of a run failed; the others are written."""

    exit_code = ExitCode.PARTIAL


class DifferentError(SdcliError):
    """A check found another image than the recorded one."""

    exit_code = ExitCode.DIFFERENT


class Interrupted(SdcliError):
    """Ctrl-C: what was finished is on disk."""

    exit_code = ExitCode.INTERRUPTED


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint naming what was probably meant, or None when nothing is near."""
    by_key = {candidate.lower(): candidate for candidate in known}
    near = get_close_matches(name.lower(), by_key, n=1, cutoff=0.6)
    return f"did you mean {by_key[near[0]]}?" if near else None
