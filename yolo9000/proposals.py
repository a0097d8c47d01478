"""Proposals of a data set: python -m yolo9000.proposals --config=FILE --out=F

Finds boxes that may hold an object by selective search, once for each picture
of a config's data sets, and writes them to F/NAME.npz; of a config with stages,
those of the last one. data.train.NAME.proposals and data.test.proposals take
these files. Prints which part of the annotated objects has a proposal, class by
class, and keeps that in F/NAME.json. A file that is there and is of the same
pictures is not computed again.

Needs scikit-image: pip install 'yolo9000[proposals]'
"""

from __future__ import annotations

import json
import multiprocessing
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from absl import flags
from ml_collections import config_flags
from tqdm import tqdm

from yolo9000 import command_line
from yolo9000.data import proposals, sources
from yolo9000.data.disk import DataError
from yolo9000.data.proposals import Proposals
from yolo9000.data.records import Dataset, Record
from yolo9000.data.selective_search import Search, felzenszwalb, propose
from yolo9000.extras import MissingExtra
from yolo9000.files import write_whole
from yolo9000.scoring import recall
from yolo9000.tables import plan
from yolo9000.tables.completed import complete
from yolo9000.training import build

MODULE = "yolo9000.proposals"

Find = Callable[[Record], np.ndarray]


def of_record(record: Record, dataset: Dataset, how: Search) -> np.ndarray:
  """The proposals of a picture of a data set, in its pixels."""
  return propose(dataset.read_image(record), how, felzenszwalb())


def find_all(
  records: list[Record], find: Find, processes: int
) -> Iterator[np.ndarray]:
  """What `find` gives for each record, in their order."""
  if processes == 1:
    yield from map(find, records)
    return
  context = multiprocessing.get_context("spawn")
  with ProcessPoolExecutor(processes, mp_context=context) as pool:
    yield from pool.map(find, records, chunksize=4)


def of_dataset(
  name: str, dataset: Dataset, out: Path, how: Search, processes: int
) -> Dataset:
  """The data set with its proposals, from out/NAME.npz or found and kept.

  Raises:
    DataError: if the file is there, and is of other pictures or another search.
  """
  path, most = out / f"{name}.npz", how.most
  if path.exists():
    known = proposals.read(str(path), dataset.records)
    if known.method != str(how):
      raise DataError(
        f"{path}: was found by {known.method}; expected {how}, or another --out"
      )
    return proposals.attach(dataset, str(path), most=most)
  empty = dataset._replace(records=[])  # what a process needs of it
  find = partial(of_record, dataset=empty, how=how)
  found = find_all(dataset.records, find, processes)
  boxes_px = list(
    tqdm(found, name, len(dataset.records), unit=" images", disable=None)
  )
  proposals.write(path, Proposals(boxes_px, str(how)), dataset.records)
  return proposals.attach(dataset, str(path), most=most)


def report(config: Any, out: Path, how: Search, processes: int) -> str:
  """Writes the files of a config's data sets; their recall, for people.

  Raises:
    ValueError: if the pictures cannot be read, or a file is of others.
  """
  config = complete(plan.last_stage(config))
  classes = build.read_classes(config.data)
  described = {
    **{n: d for n, d in config.data.train.items() if d.weight},
    "test": config.data.test,
  }
  out.mkdir(parents=True, exist_ok=True)
  lines: list[str] = []
  for name, one in described.items():
    source = build.make_source(config, name, one)._replace(proposals="")
    dataset = sources.read_for(name, source, class_names=classes.names)
    dataset = of_dataset(name, dataset, out, how, processes)
    figures = recall.of_proposals(dataset.records, classes.names)
    told = {
      "data": str(source),
      "fingerprint": proposals.fingerprint(dataset.records),
      "method": str(how),
      **figures,
    }
    write_whole(out / f"{name}.json", json.dumps(told, indent=1))
    lines += [
      f"{name}, {source}: {figures['proposals_per_picture']:.0f} proposals a "
      f"picture; objects that have one, in percent",
      *recall.lines(figures),
    ]
  return "\n".join(lines)


def main() -> None:
  """The command line."""
  config = config_flags.DEFINE_config_file("config", None, "Experiment file.")
  out = flags.DEFINE_string("out", "proposals", "Folder of the files.")
  most = flags.DEFINE_integer("most", Search().most, "Boxes of a picture.")
  processes = flags.DEFINE_integer(
    "processes", os.cpu_count() or 1, "How many search at once.", lower_bound=1
  )
  flags.mark_flag_as_required("config")

  def run(_: list[str]) -> None:
    try:
      felzenszwalb()  # before anything is read
      how = Search(most=most.value)
      print(report(config.value, Path(out.value), how, processes.value))
    except (ValueError, OSError, MissingExtra) as error:
      print(f"{command_line.typed(MODULE)}: {error}", file=sys.stderr)
      sys.exit(command_line.USAGE)

  command_line.run(MODULE, __doc__, run)


if __name__ == "__main__":
  main()
