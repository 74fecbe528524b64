"""Count the prompts that the wildcards of a template make, without making them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import factorial, prod
from typing import Any, Final

from sdcli.errors import UsageError
from sdcli.prompts.wildcard_syntax import has_wildcards, protect_text

MAX_COMBINATIONS: Final = 100_000

# Nine values alone have 9! = 362,880 orders, more than MAX_COMBINATIONS. Longer selections need
# not be counted exactly.
_MAX_SELECTED: Final = 9


ListValues = Callable[[str], Sequence[str]]
"""Returns the lines of a wildcard list by its name."""


def check_combinations(templates: Sequence[str], list_values: ListValues) -> None:
    """Raise UsageError for templates that make more than MAX_COMBINATIONS requests together."""
    filled = [template for template in templates if has_wildcards(template)]
    if prod(count_prompts(template, list_values) for template in filled) > MAX_COMBINATIONS:
        names = " and ".join(repr(template[:60]) for template in filled)
        raise UsageError(
            f"wildcards in {names}: more than {MAX_COMBINATIONS:,} combinations",
            code="usage.prompt",
            hint="use --wildcard-mode random --count 100 to pick some of them",
        )


def count_prompts(template: str, list_values: ListValues) -> int:
    """Return the number of prompts that a template makes, with the equal ones that are dropped.

    Above MAX_COMBINATIONS, the number may be too low, but not below MAX_COMBINATIONS.
    """
    from dynamicprompts.parser.parse import parse

    return _CombinationCounter(list_values).count(parse(protect_text(template)), {})


class _CombinationCounter:
    """Counts the prompts of dynamicprompts' parsed commands."""

    def __init__(self, list_values: ListValues) -> None:
        self._list_values = list_values
        self._line_counts: dict[str, list[int]] = {}

    def count(self, command: Any, variables: Mapping[str, Any]) -> int:
        """Return the number of prompts of a command, one if it picks at random."""
        if command.sampling_method is not None and command.sampling_method.is_nonfinite():
            return 1
        # By name, so that the library is imported only once there is a template.
        match type(command).__name__:
            case "SequenceCommand":
                return self._count_sequence(command, variables)
            case "VariantCommand":
                return self._count_variants(command, variables)
            case "WildcardCommand":
                return sum(self._count_lines(command, variables))
            case "VariableAccessCommand":
                value = variables.get(command.name, command.default)
                # Without the variable itself, or one that refers to itself would never end.
                others = {name: v for name, v in variables.items() if name != command.name}
                return 1 if value is None else self.count(value, others)
            case "WrapCommand":
                wrapper, inner = command.wrapper, command.inner
                return self.count(wrapper, variables) * self.count(inner, variables)
        return 1

    def _count_sequence(self, command: Any, variables: Mapping[str, Any]) -> int:
        assigned, product = dict(variables), 1
        for token in command.tokens:
            if type(token).__name__ == "VariableAssignmentCommand":
                assigned[token.name] = token.value
        for token in command.tokens:
            product *= self.count(token, assigned)
        return product

    def _count_variants(self, command: Any, variables: Mapping[str, Any]) -> int:
        values = command.values
        # The library selects among the lines of a list that is the only value.
        if len(values) == 1 and type(values[0]).__name__ == "WildcardCommand":
            counts = self._count_lines(values[0], variables)
        else:
            counts = [self.count(value, variables) for value in values]
        limit = min(len(counts), _MAX_SELECTED)
        low, high = (min(bound, limit) for bound in (command.min_bound, command.max_bound))
        return sum(_count_selections(counts, high)[low:])

    def _count_lines(self, command: Any, variables: Mapping[str, Any]) -> list[int]:
        """Return the number of prompts of each line of a list."""
        from dynamicprompts.parser.parse import parse

        name = command.wildcard
        # A name that is a template itself, as in __{a|b}__, is not a list that can be looked up.
        if not isinstance(name, str):
            return [1]
        if name not in self._line_counts:
            lines = self._list_values(name)
            self._line_counts[name] = [self.count(parse(line), variables) for line in lines if line]
        return self._line_counts[name]


def _count_selections(counts: Sequence[int], longest: int) -> list[int]:
    """Return the number of prompts of selections of 0 to `longest` values, in every order.

    `counts` has the number of prompts of each value; no selection has a value twice.
    """
    # The elementary symmetric polynomials of the counts, times the orders of each selection.
    sums = [1] + [0] * longest
    for count in counts:
        for length in range(longest, 0, -1):
            sums[length] += sums[length - 1] * count
    return [total * factorial(length) for length, total in enumerate(sums)]
