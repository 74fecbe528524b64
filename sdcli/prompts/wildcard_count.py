"""In how many ways a template with wildcards can be filled, counted without filling it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from sdcli.errors import UsageError

MAX_COMBINATIONS: Final = 100_000

_ENOUGH: Final = 9
"""Values in a row whose orders alone are more than that: 9! = 362,880."""


def check_combinations(template: str, values_of: Callable[[str], Sequence[str]]) -> None:
    """Raises UsageError for a template that makes more prompts than anyone draws.

    `values_of` has the lines of a list by its name.
    """
    from dynamicprompts.parser.parse import parse

    if _Counter(values_of).ways(parse(template), {}) > MAX_COMBINATIONS:
        raise UsageError(
            f"wildcards of {template[:60]!r}: there are more than {MAX_COMBINATIONS:,} ways "
            "to fill it",
            code="usage.prompt",
            hint="--wildcard-mode random --count 100 draws some of them",
        )


class _Counter:
    """Counts by the parsed commands of dynamicprompts: equal fillings each, and no further than
    it takes to see that they are too many."""

    def __init__(self, values_of: Callable[[str], Sequence[str]]) -> None:
        self._values_of = values_of
        self._of_list: dict[str, list[int]] = {}

    def ways(self, command: Any, variables: Mapping[str, Any]) -> int:
        """The prompts that a command makes; one that is drawn at random makes one."""
        if command.sampling_method is not None and command.sampling_method.is_nonfinite():
            return 1
        match type(command).__name__:
            case "SequenceCommand":
                return self._of_sequence(command, variables)
            case "VariantCommand":
                return self._of_variants(command, variables)
            case "WildcardCommand":
                return sum(self._of_lines(command, variables))
            case "VariableAccessCommand":
                value = variables.get(command.name, command.default)
                rest = {name: v for name, v in variables.items() if name != command.name}
                return 1 if value is None else self.ways(value, rest)
            case "WrapCommand":
                return self.ways(command.wrapper, variables) * self.ways(command.inner, variables)
        return 1

    def _of_sequence(self, command: Any, variables: Mapping[str, Any]) -> int:
        known, product = dict(variables), 1
        for token in command.tokens:
            if type(token).__name__ == "VariableAssignmentCommand":
                known[token.name] = token.value
        for token in command.tokens:
            product *= self.ways(token, known)
        return product

    def _of_variants(self, command: Any, variables: Mapping[str, Any]) -> int:
        values = command.values
        if len(values) == 1 and type(values[0]).__name__ == "WildcardCommand":
            counts = self._of_lines(values[0], variables)
        else:
            counts = [self.ways(value, variables) for value in values]
        most = min(len(counts), _ENOUGH)
        low, high = (min(bound, most) for bound in (command.min_bound, command.max_bound))
        return sum(_ordered(counts, high)[low:])

    def _of_lines(self, command: Any, variables: Mapping[str, Any]) -> list[int]:
        """The prompts that each line of a list makes."""
        from dynamicprompts.parser.parse import parse

        name = command.wildcard
        if not isinstance(name, str):
            return [1]
        if name not in self._of_list:
            lines = self._values_of(name)
            self._of_list[name] = [self.ways(parse(line), variables) for line in lines if line]
        return self._of_list[name]


def _ordered(counts: Sequence[int], most: int) -> list[int]:
    """Of 0 to `most` values in every order, no value twice: how many prompts they make."""
    sums = [1] + [0] * most  # elementary symmetric polynomials of the counts
    for count in counts:
        for i in range(most, 0, -1):
            sums[i] += sums[i - 1] * count
    factor = 1
    for i in range(1, most + 1):
        factor *= i
        sums[i] *= factor
    return sums
