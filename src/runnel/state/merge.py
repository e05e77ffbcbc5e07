"""A new snapshot from an old one and the deltas after it, without the state in memory.

Only the deltas are held; the old snapshot streams past them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import numpy as np
import pyarrow as pa

from runnel.state.files import BATCH_ROWS, StateFile, sliced
from runnel.state.index import Slots
from runnel.state.store import KeyedStore


def apply_file(store: KeyedStore, content: StateFile) -> None:
    """Replays a delta or a snapshot onto a store."""
    keys, values = store.key_schema.names, store.value_schema.names
    for batch in content.removes:
        slots = store.find(batch)
        store.remove(slots[slots >= 0])
    for batch in sliced(content.upserts):
        store.upsert(batch.select(keys), batch.select(values))
    store.mark_committed()


def merged(
    key_schema: pa.Schema, value_schema: pa.Schema, snapshot: StateFile | None, deltas: Iterable[StateFile]
) -> Iterator[pa.RecordBatch]:
    """The rows of the state after the last delta, key and value columns, in batches. The deltas are in order."""
    changed = KeyedStore(key_schema, value_schema)
    touched = KeyedStore(key_schema, pa.schema([])) if len(key_schema) else None
    keys = key_schema.names
    has_touched_the_only_key = False
    for delta in deltas:
        apply_file(changed, delta)
        for batch in sliced([*delta.removes, *delta.upserts]):
            if touched is None:
                has_touched_the_only_key = True
            else:
                touched.upsert(batch.select(keys), pa.table({}))
                touched.mark_committed()
    for batch in sliced(snapshot.upserts if snapshot else []):
        if touched is not None:
            kept = np.flatnonzero(touched.find(batch.select(keys)) < 0)
            yield batch if len(kept) == batch.num_rows else batch.take(pa.array(kept))
        elif not has_touched_the_only_key:
            yield batch
    yield from rows_at(changed, changed.all_slots())


def rows_at(store: KeyedStore, slots: Slots) -> Iterator[pa.RecordBatch]:
    """Key and value columns at slots, in batches of at most `BATCH_ROWS` rows."""
    names = [*store.key_schema.names, *store.value_schema.names]
    for first in range(0, len(slots), BATCH_ROWS):
        yield from store.gather(slots[first : first + BATCH_ROWS], names).to_batches()
