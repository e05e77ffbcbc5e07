"""Which slots expire next: an order over 'expiry' numbers whose upkeep costs what is added and evicted."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from runnel.state.arrow import ascending

Ints = NDArray[np.int64]
IsCurrent = Callable[[Ints, Ints], NDArray[np.bool_]]
"""``is_current(expiry, slots)``: whether ``slots[i]`` is live and expires at ``expiry[i]`` now."""

_MERGE_LIMIT = 1 << 18


class ExpiryIndex:
    """Sorted runs of (expiry, slot). A batch adds a run; small neighbouring runs of similar size are merged, big ones
    never, so that no single batch pays for the whole state.

    Entries are never looked up to be changed: a slot that is removed or gets another expiry leaves its old entry
    behind, which is dropped when its time comes, or by `rebuild`.
    """

    def __init__(self) -> None:
        self._runs: list[tuple[Ints, Ints]] = []
        self._entries = 0

    def __len__(self) -> int:
        """Entries, the outdated ones included."""
        return self._entries

    @property
    def nbytes(self) -> int:
        return 16 * self._entries

    def add(self, expiry: Ints, slots: Ints) -> None:
        """Adds an entry for each slot. A slot may have several; those that are not current do no harm."""
        if len(slots) == 0:
            return
        self._entries += len(slots)
        if bool((expiry[1:] < expiry[:-1]).any()):
            order = np.argsort(expiry, kind="stable")
            run = (expiry[order], slots[order])
        else:
            run = (expiry.copy(), slots.copy())
        while self._runs:
            before = len(self._runs[-1][0])
            if len(run[0]) * 2 < before or len(run[0]) + before > _MERGE_LIMIT:
                break
            run = _merged(self._runs.pop(), run)
        self._runs.append(run)

    def expired(self, threshold: int, is_current: IsCurrent) -> Ints:
        """Slots that expire at or before `threshold`, ascending and unique. They stay until they are no longer
        current."""
        found: list[Ints] = []
        runs: list[tuple[Ints, Ints]] = []
        for expiry, slots in self._runs:
            if int(expiry[0]) > threshold:
                runs.append((expiry, slots))
                continue
            end = int(np.searchsorted(expiry, threshold, side="right"))
            current = is_current(expiry[:end], slots[:end])
            kept = int(np.count_nonzero(current))
            if kept:
                found.append(slots[:end][current])
            if kept < end:
                self._entries -= end - kept
                expiry[end - kept : end] = expiry[:end][current]
                slots[end - kept : end] = slots[:end][current]
                expiry, slots = expiry[end - kept :], slots[end - kept :]
                if expiry.base is not None and len(expiry) * 2 < len(expiry.base):
                    expiry, slots = expiry.copy(), slots.copy()
            if len(expiry):
                runs.append((expiry, slots))
        self._runs = runs
        return ascending(np.concatenate(found)) if found else np.empty(0, dtype=np.int64)

    def rebuild(self, expiry: Ints, slots: Ints) -> None:
        """Replaces all entries."""
        self._runs = []
        self._entries = 0
        self.add(expiry, slots)


def _merged(left: tuple[Ints, Ints], right: tuple[Ints, Ints]) -> tuple[Ints, Ints]:
    expiry = np.concatenate([left[0], right[0]])
    order = np.argsort(expiry, kind="stable")
    return expiry[order], np.concatenate([left[1], right[1]])[order]
