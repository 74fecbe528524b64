"""Know for all actors of a Ray run whether to stop, and which jobs were begun how often."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from sdcli.distributed.messages import MOST_ATTEMPTS, Verdict


class Coordinator:
    """The memory that actors have in common: a new one asks it about those that died."""

    def __init__(self) -> None:
        self._is_stopping = False
        self._attempts: Counter[int] = Counter()

    def stop(self) -> None:
        """Let no further batch begin."""
        self._is_stopping = True

    def is_stopping(self) -> bool:
        """Whether no further batch is to begin."""
        return self._is_stopping

    def begin(self, indices: Sequence[int]) -> Verdict:
        """Count that jobs begin together, but for those that must not.

        Returns those that have begun too often, and those to begin again by themselves: one that
        began before may have ended its actor, and would end its neighbours as well.
        """
        refused = [index for index in indices if self._attempts[index] >= MOST_ATTEMPTS]
        begun = [index for index in indices if self._attempts[index] and index not in refused]
        alone = begun if len(indices) > 1 else []
        self._attempts.update({*indices} - {*refused, *alone})
        return refused, alone
