"""Define the exceptions of sdcli, with their exit codes and hints."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from difflib import get_close_matches
from enum import IntEnum
from typing import ClassVar, Final

_MAX_NAMED: Final = 3


class ExitCode(IntEnum):
    """Exit codes of the process. Codes are only ever added."""

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
    # As a shell reports a process that a signal ended: 128 + SIGINT, 128 + SIGPIPE.
    INTERRUPTED = 130
    CLOSED_PIPE = 141


class SdcliWarning(UserWarning):
    """A warning of a Python program about what is probably a mistake, such as an unknown word."""


class SdcliError(Exception):
    """Base of the errors that are reported to the user in one line.

    `code` is a stable name for programs; `hint` says what to do or type next.
    """

    exit_code: ClassVar[ExitCode] = ExitCode.INTERNAL

    def __init__(self, message: str, *, code: str, hint: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        self.hint = hint


class UsageError(SdcliError):
    """An invalid option, value or prompt file."""

    exit_code = ExitCode.USAGE


class NearMissError(UsageError):
    """A name that is unknown, but close to a known one or what other tools call it."""


class UsageErrors(UsageError):
    """Several usage errors, such as all invalid lines of a prompt file.

    `total` may be more than the errors that are listed. `outcome` and `summary_hint` are for the
    line below the list.
    """

    def __init__(
        self,
        errors: Sequence[UsageError],
        total: int | None = None,
        *,
        outcome: str = "nothing was generated",
        summary_hint: str = "fix them and run again",
    ) -> None:
        self.several = tuple(errors)
        count = total or len(self.several)
        first = self.several[0]
        message = first.message if count == 1 else f"{count} errors, the first: {first.message}"
        super().__init__(message, code=first.code, hint=first.hint)
        self._summary = f"{count} errors, {outcome}"
        self._summary_hint = summary_hint

    def summary(self) -> UsageError:
        """The line to print below the list of errors."""
        return UsageError(self._summary, code=self.code, hint=self._summary_hint)


class ModelError(SdcliError):
    """A model or a component that is missing, gated, offline or incompatible."""

    exit_code = ExitCode.MODEL


class DeviceError(SdcliError):
    """A device that does not exist, or that ran out of memory after every fallback."""

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
    """NaN or infinity after every fallback."""

    exit_code = ExitCode.NUMERICS


class DifferentError(SdcliError):
    """An image that a check found to differ from its record."""

    exit_code = ExitCode.DIFFERENT


class Interrupted(SdcliError):
    """A run ended by Ctrl-C; finished images are on disk."""

    exit_code = ExitCode.INTERRUPTED


def closest(name: str, known: Iterable[str]) -> str | None:
    """The known name that is most similar, or None when none is close. Case does not matter."""
    by_key = {candidate.lower(): candidate for candidate in known}
    # At 0.6, the default, colour is close to lora, and price to device.
    near = get_close_matches(name.lower(), by_key, n=1, cutoff=0.7)
    return by_key[near[0]] if near else None


def did_you_mean(name: str, known: Iterable[str]) -> str | None:
    """A hint naming the closest known name, or None when none is close."""
    near = closest(name, known)
    return f"did you mean {near}?" if near else None


def name_some(names: Collection[str]) -> str:
    """Return the first names of a list, and the number of the others."""
    first = list(names)[:_MAX_NAMED]
    more = f" and {len(names) - len(first)} more" if len(names) > len(first) else ""
    return ", ".join(first) + more


def quoted(value: object) -> str:
    """A value as Python writes it, but for backslashes, which are not doubled: 'C:\\models'."""
    text = repr(value)
    return text.replace("\\\\", "\\") if isinstance(value, str) else text
