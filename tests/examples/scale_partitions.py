"""Scores one table on Ray in many partitions; prints whether each has the bits of lone streams.

python scale_partitions.py FOLDER  # where it puts the model and the table; prints a line of JSON
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from unittest import mock

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scale_cases import local  # makes the modules of examples/scale known

import lstm_fast

offline, scoring = import_module("offline"), import_module("scoring")
CPUS = 4  # as far as Ray knows
ROWS = 60
PARTITIONS = [(None, 64, 1), (7, 4, 3), (20, 2, 1)]  # blocks, rows of a batch, actors


class Careless:
    """Carries its state from row to row: the control."""

    def __init__(self, how):
        self.scorer = scoring.Scorer(how)

    def __call__(self, batch):
        stream = self.scorer.model.stream()
        with mock.patch.object(scoring, "run", lambda _, rows: [stream.run(one) for one in rows]):
            return self.scorer(batch)


def scored(path, how, partition):
    blocks, batch_rows, actors = partition
    dataset, _ = offline.rows_of(path, True, blocks)
    results = offline.score(dataset, how, actors=actors, batch_rows=batch_rows, cpus=CPUS)
    rows = results.take_all()
    outputs = [np.array([*row["y"]], np.float32).reshape(-1, 5).tobytes() for row in rows]
    return [row["name"] for row in rows], outputs


def main(folder):
    model = lstm_fast.Model.from_program(lstm_fast.LSTM.random(3, 5).program)
    model.save(folder / "model.lfm")
    how, rng = scoring.How(str(folder / "model.lfm")), np.random.default_rng(0)
    lengths = rng.integers(0, 300, ROWS)
    sequences = [rng.standard_normal((length, 3), dtype=np.float32) for length in lengths]
    names = [f"row-{n:03}" for n in range(ROWS)]
    table = pa.table({"name": names, "x": [[*one] for one in sequences]})
    pq.write_table(table, folder / "table.parquet", row_group_size=5)
    expected = (names, [model.stream().run(one).tobytes() for one in sequences])
    with local.small_ray(CPUS):
        offline.quiet()
        size = offline.safe_size(CPUS)
        right = [scored(folder / "table.parquet", how, one) == expected for one in PARTITIONS]
        with mock.patch.object(scoring, "Scorer", Careless):
            control = scored(folder / "table.parquet", how, PARTITIONS[2])
    noticed = control[0] == expected[0] and control[1] != expected[1]
    print(json.dumps({"size": size, "right": right, "control": noticed}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
