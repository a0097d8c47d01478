"""Proposals of a data set: python -m yolo9000.proposals --config=FILE --out=F

Finds boxes that may hold an object by selective search, once for each picture
of a config's data sets, and writes them to F/NAME.npz; of a config with stages,
those of the last one. data.train.NAME.proposals and data.test.proposals take
these files. Prints which part of the annotated objects has a proposal, class by
class, and keeps that in F/NAME.json. A file that is there is not computed
again; if it is of other pictures, or of another search, that is an error. What
is done when it is stopped is in F/NAME.parts, from where it goes on.

Needs scikit-image: pip install 'yolo9000[proposals]'
"""

from __future__ import annotations

import json
import logging
import multiprocessing
import os
import shutil
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
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

PART = 100  # pictures whose proposals are kept before all are found

Find = Callable[[Record], Any]

logger = logging.getLogger("yolo9000")


def of_record(
  record: Record, dataset: Dataset, how: Search
) -> np.ndarray | DataError:
  """The proposals of a picture in its pixels; or why it cannot be read."""
  try:
    image = dataset.read_image(record)
  except DataError as error:
    return error
  return propose(image, how, felzenszwalb())


def find_all(
  records: Sequence[Record], find: Find, processes: int
) -> Iterator[Any]:
  """What `find` gives for each record, in their order."""
  if processes == 1:
    yield from map(find, records)
    return
  context = multiprocessing.get_context("spawn")
  with ProcessPoolExecutor(processes, mp_context=context) as pool:
    yield from pool.map(find, records, chunksize=4)


def known(
  path: Path, records: Sequence[Record], how: Search
) -> Proposals | None:
  """The proposals of a file; None if it is not there.

  Raises:
    DataError: if it is of other pictures or another search.
  """
  if not path.exists():
    return None
  advice = "remove it, or give another --out"
  try:
    found = proposals.read(str(path), records)
  except DataError as error:
    raise DataError(f"{error}; {advice}") from None
  if found.method != str(how):
    raise DataError(
      f"{path}: was found by {found.method}; expected {how}: {advice}"
    )
  return found


def search(
  path: Path,
  dataset: Dataset,
  how: Search,
  *,
  processes: int,
  broken_share: float,
) -> None:
  """Searches the pictures of a data set and writes the file.

  Until all are done, each PART pictures have a file of their own in a folder
  beside it, so that a search that was stopped goes on.

  Raises:
    DataError: for a picture that cannot be read, if more than broken_share of
      all cannot. Up to that many have no proposals, and it is said.
  """
  folder = path.with_suffix(".parts")
  folder.mkdir(exist_ok=True)
  find = partial(of_record, dataset=dataset._replace(records=[]), how=how)
  every, errors = dataset.records, []
  boxes_px: list[np.ndarray] = []
  with tqdm(
    desc=path.stem, total=len(every), unit=" images", disable=None
  ) as bar:
    for first in range(0, len(every), PART):
      part, file = every[first : first + PART], folder / f"{first}.npz"
      done = known(file, part, how)
      if done is None:
        found = []
        for one in find_all(part, find, processes):
          if isinstance(one, DataError):
            errors.append(one)
            if len(errors) > broken_share * len(every):
              raise one
            one = np.zeros((0, 4), np.float32)
          found.append(one)
          bar.update()
        done = Proposals(found, str(how))
        proposals.write(file, done, part)
      else:
        bar.update(len(part))
      boxes_px += done.boxes_px
  if errors:
    logger.warning(
      "%s: %d pictures cannot be read and have no proposals, the first: %s",
      path.stem,
      len(errors),
      errors[0],
    )
  proposals.write(path, Proposals(boxes_px, str(how)), every)
  shutil.rmtree(folder)


def check(
  out: Path, datasets: Mapping[str, Dataset], how: Search
) -> dict[str, Path]:
  """Where the files are or will be, by the data set's name.

  Raises:
    DataError: if one is there, and is of other pictures or another search, or
      if the size of a picture is not known.
    PermissionError: if none can be written.
  """
  out.mkdir(parents=True, exist_ok=True)
  if not os.access(out, os.W_OK):
    raise PermissionError(f"--out={out} cannot be written; expected a folder")
  files = {name: out / f"{name}.npz" for name in datasets}
  for name, file in files.items():
    proposals.check_sizes(datasets[name].records)
    known(file, datasets[name].records, how)
  return files


def report(config: Any, out: Path, how: Search, processes: int) -> str:
  """Writes the files of a config's data sets; their recall, for people.

  Raises:
    ValueError: if the pictures cannot be read, or a file is of others.
    OSError: if `out` cannot be written.
  """
  config = complete(plan.last_stage(config))
  classes = build.read_classes(config.data)
  described = {
    **{n: d for n, d in config.data.train.items() if d.weight},
    "test": config.data.test,
  }
  sets = {
    name: build.make_source(config, name, one)._replace(proposals="")
    for name, one in described.items()
  }
  datasets = {
    name: sources.read_for(name, source, class_names=classes.names)
    for name, source in sets.items()
  }
  lines: list[str] = []
  for name, file in check(out, datasets, how).items():
    if not file.exists():
      share = 0.0 if name == "test" else config.data.broken_share
      search(file, datasets[name], how, processes=processes, broken_share=share)
    dataset = proposals.attach(datasets[name], str(file), most=how.most)
    figures = recall.of_proposals(dataset.records, classes.names)
    told = {
      "data": str(sets[name]),
      "fingerprint": proposals.fingerprint(dataset.records),
      "method": str(how),
      **figures,
    }
    write_whole(out / f"{name}.json", json.dumps(told, indent=1))
    lines += [
      f"{name}, {sets[name]}: {figures['proposals_per_picture']:.0f} proposals "
      f"a picture; objects that have one, in percent",
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
