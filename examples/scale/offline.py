"""Scores many recordings, or a table of sequences, with Ray Data: a file of results, row by row.

    python examples/scale/offline.py recordings/ speech.parquet
    python examples/scale/offline.py features.parquet scores.parquet --model model.lfm

Recordings are scored with Silero VAD; any format that libsndfile knows, anywhere under the folder.
A table has a sequence in each row, of frames (T, I): a column `x` of nested lists in .parquet, or
in a folder of such files, of JSON in .csv; each array of an .npz file is a row. A column `name`, if
there is one, goes into the results, .parquet or .csv, in the order of the rows. A row that cannot
be read or scored has the reason in its column `error`; the others do not notice.

Numbers do not depend on how rows are cut into blocks and batches, nor on how many actors there are:
each row is a session of its own, with the bits that a lone stream would give it.
"""

from __future__ import annotations

import argparse
import csv
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from local import small_ray

AUDIO = (".wav", ".flac", ".ogg", ".oga", ".opus", ".mp3", ".aif", ".aiff", ".au", ".caf", ".w64")
TABLES = (".parquet", ".csv", ".npz")
RESULTS = (".parquet", ".csv")


class UserError(Exception):
    """What the user can put right: told in one line."""


def recordings(folder: Path) -> list[dict[str, str]]:
    """Return a row for each recording under a folder, or for the one that this path is.

    Raises:
        UserError: there are none.
    """
    files = [folder] if folder.is_file() else sorted(folder.rglob("*"))
    found = [path for path in files if path.suffix.lower() in AUDIO]
    if not found:
        raise UserError(f"{folder}: there are no recordings in it ({' '.join(AUDIO)})")
    root = folder if folder.is_dir() else folder.parent
    return [{"name": str(path.relative_to(root)), "path": str(path.resolve())} for path in found]


def rows_of(source: Path, is_table: bool, blocks: int | None) -> tuple[Any, int | None]:
    """Return a dataset of rows, and how many there are if that is known.

    Raises:
        UserError: there are none, or they have no column `x`.
    """
    import numpy as np
    import ray.data

    if is_table and (source.suffix == ".parquet" or source.is_dir()):
        dataset = ray.data.read_parquet(str(source), file_extensions=["parquet"])
    elif is_table and source.suffix == ".csv":
        dataset = ray.data.read_csv(str(source))
    else:
        if is_table:
            with np.load(source, allow_pickle=False) as arrays:
                rows = [{"name": name, "path": str(source.resolve())} for name in arrays.files]
            if not rows:
                raise UserError(f"{source}: there are no arrays in it")
        else:
            rows = recordings(source)
        return ray.data.from_items(rows, override_num_blocks=blocks), len(rows)
    columns = dataset.columns() or []
    if "x" not in columns:
        raise UserError(f"{source}: it has columns {', '.join(columns)}, and no x")
    dataset = dataset.select_columns([one for one in ("name", "x") if one in columns])
    return (dataset if blocks is None else dataset.repartition(blocks)), None


def safe_size(cpus: float) -> int:
    """Return how many actors of one CPU each may live at once.

    One CPU is left: actors keep theirs to the end, and reading a table takes tasks, which need one
    as well. Were there none left the job would wait for ever, without a word.
    """
    return max(1, int(cpus) - 1)


def check_actors(actors: int, cpus: float) -> None:
    """Refuse a pool that might wait for ever: see `safe_size`.

    Raises:
        UserError: there are too many.
    """
    if actors > safe_size(cpus):
        raise UserError(
            f"{actors} actors on {cpus:g} CPUs leave none to read with: take {safe_size(cpus)}"
        )


def score(dataset: Any, how: Any, *, actors: int, batch_rows: int, cpus: float) -> Any:
    """Return the dataset of results, which is computed as it is read.

    Args:
        dataset: rows as `Scorer` takes them.
        how: what to do with them, a `How`.
        actors: how many; see `safe_size`.
        batch_rows: sequences that an actor runs together.
        cpus: of the Ray that it runs on.
    """
    from ray.data import ActorPoolStrategy, DataContext
    from scoring import Scorer

    DataContext.get_current().execution_options.preserve_order = True
    return dataset.map_batches(
        Scorer,
        fn_constructor_args=(how,),
        batch_format="pyarrow",
        batch_size=batch_rows,
        compute=ActorPoolStrategy(size=actors),
        # On a single CPU an actor takes half of it, for the same reason as in `safe_size`.
        num_cpus=1 if cpus > 1 else 0.5,
    )


@contextmanager
def writer(path: Path, schema: Any) -> Iterator[Any]:
    """Yield what writes tables to a file, which appears under its name when all are written."""
    import pyarrow.parquet as pq

    new = path.with_name(path.name + ".new")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.suffix == ".parquet":
        with pq.ParquetWriter(new, schema) as parquet:
            yield parquet.write_table
    else:
        with new.open("w", newline="", encoding="utf-8") as file:
            lines = csv.writer(file)
            lines.writerow(schema.names)
            yield lambda table: lines.writerows(map(cells, table.to_pylist()))
    new.replace(path)


def cells(row: Mapping[str, Any]) -> list[Any]:
    """Return the cells of a row for CSV: lists as JSON, in which float32 keeps all its bits."""
    return [json.dumps(one) if isinstance(one, list) else one for one in row.values()]


def check_source(source: Path, is_table: bool) -> None:
    """Say what is wrong with the source before Ray is started.

    Raises:
        UserError: there is none, or none of this kind.
    """
    if not source.exists():
        raise UserError(f"{source}: there is no such file or folder")
    if not is_table:
        recordings(source)
    elif source.is_dir():
        if not any(source.rglob("*.parquet")):
            raise UserError(f"{source}: there are no .parquet files in it")
    elif source.suffix not in TABLES:
        raise UserError(f"{source}: a table is one of {' '.join(TABLES)}, or a folder of the first")


def check_model(options: argparse.Namespace) -> None:
    """Load the model once, so that what is wrong with it is said before Ray is started.

    Raises:
        UserError: it cannot be loaded, or is none that is scored here.
    """
    from any_model import load

    try:
        load(options.model, options.rate)
    except (OSError, ValueError, RuntimeError) as error:
        raise UserError(str(error)) from None


def run(options: argparse.Namespace) -> bool:
    """Score everything; return whether there was a row without an error.

    Raises:
        UserError: the arguments are wrong.
    """
    import ray
    from scoring import How, schema
    from tqdm import tqdm

    how = How(options.model, options.rate, options.threshold)
    cpus = ray.cluster_resources().get("CPU", 1.0)
    actors = options.actors or safe_size(cpus)
    check_actors(actors, cpus)
    dataset, count = rows_of(options.source, options.model is not None, options.blocks)
    results = score(dataset, how, actors=actors, batch_rows=options.batch_rows, cpus=cpus)
    scored = broken = 0
    with (
        writer(options.result, schema(how)) as write,
        tqdm(total=count, unit=" rows", disable=None) as progress,
    ):
        for table in results.iter_batches(batch_format="pyarrow", batch_size=None):
            write(table.cast(schema(how)))
            scored, errors = scored + len(table), len(table) - table["error"].null_count
            broken += errors
            progress.update(len(table))
            progress.set_postfix_str(f"{broken} errors" if broken else "")
    print(f"rows: {scored}, with an error: {broken}, actors: {actors}; {options.result}")
    return scored > broken


def main(arguments: Sequence[str] | None = None) -> int:
    """Return the exit status: 0; 1 if no row could be scored; 2 if the arguments are wrong."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n\n")[0])
    add = parser.add_argument
    add("source", type=Path, help="a folder of recordings, or a table (with --model)")
    add("result", type=Path, help=f"file to write, {' or '.join(RESULTS)}")
    add("--model", help="file of one input and one output; default: Silero VAD, on recordings")
    add("--rate", type=int, choices=(16000, 8000), default=16000, help="of Silero (%(default)s)")
    add("--threshold", type=float, default=0.5, help="of speech (%(default)s)")
    add("--actors", type=int, help="default: one fewer than CPUs")
    add("--batch-rows", type=int, default=16, help="that run together (%(default)s)")
    add("--blocks", type=int, help="that rows are cut into; default: as Ray finds best")
    add("--cpus", type=int, default=2, help="of the Ray that is started (%(default)s)")
    add("--address", help="of a running Ray, whose nodes see the same files")
    options = parser.parse_args(arguments)
    for name in ("actors", "batch_rows", "blocks", "cpus"):
        value = getattr(options, name)
        if value is not None and value < 1:
            parser.error(f"--{name.replace('_', '-')} must be 1 or more, found {value}")
    try:
        if options.result.suffix not in RESULTS:
            raise UserError(f"{options.result}: results are {' or '.join(RESULTS)} files")
        check_source(options.source, options.model is not None)
        if options.actors and options.address is None:
            check_actors(options.actors, options.cpus)
        check_model(options)
        with small_ray(options.cpus, options.address):
            quiet()
            return 0 if run(options) else 1
    except (UserError, ModuleNotFoundError) as error:
        print(f"offline.py: {error}", file=sys.stderr)
        return 2


def quiet() -> None:
    """Let our own progress bar be the only one."""
    import logging

    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)


if __name__ == "__main__":
    sys.exit(main())
