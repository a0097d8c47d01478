"""How fast pictures come: python -m yolo9000.benchmarks.data

500x375 JPEG files to augmented batches, for a detector at 416 and a classifier
at 224, by threads and by worker processes, in rounds that take turns, beside
decoding alone, of which each rate is told as a ratio; what an accelerator needs
of it; how the memory grows; and the doctor. Imports no jax, so that the memory
is the pipeline's own.
"""

from __future__ import annotations

import os
import resource
import statistics
import tempfile
import time
from collections.abc import Generator
from pathlib import Path

import cv2
import numpy as np

from yolo9000 import command_line
from yolo9000.data import augment, doctor
from yolo9000.data import batches as pipeline
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset, Record, read_picture
from yolo9000.tables.accelerators import ACCELERATORS, REACHED
from yolo9000.types import Batch

SIZE = (500, 375)
# The original program's strengths for VOC, and for Darknet-19.
DETECTION = augment.Augmentation("crop", 0.2, 0.1, 1.5, 1.5, True, 0.005)
CLASSIFICATION = augment.Classification(
  (0.5, 1.75), 7.0, 0.75, "black", 0.1, 0.75, 0.75, True
)
DECODING = "decoding alone, 1 thread"
SHORTEST = 0.5  # seconds that a measurement must take at least
YOLOV2_GFLOP = 34.9  # forward, one picture at 416, the paper's passthrough


def write_pictures(folder: Path, count: int) -> Dataset:
  """Drawn pictures with a camera's noise, 57 kB each, with boxes."""
  records = []
  drawn = shapes.read(Source("shapes", "", "train"), Flaws(strict=True))
  scale = np.array([*SIZE, *SIZE]) / shapes.SIDE
  for number, record in enumerate(drawn.records[:count]):
    image = cv2.resize(drawn.read_image(record), SIZE)
    noise = np.random.default_rng(number).normal(0, 3.5, image.shape)
    path = folder / f"{number}.jpg"
    cv2.imwrite(str(path), np.clip(image + noise, 0, 255).astype(np.uint8))
    boxes_px = (record.boxes_px * scale).astype(np.float32)
    records.append(
      Record(
        str(path),
        *SIZE,
        boxes_px,
        record.labels,
        record.difficult,
        image_id=number,
      )
    )
  return Dataset(records, shapes.CLASS_NAMES, read_picture, [])


def labels_alone(dataset: Dataset) -> Dataset:
  """The same pictures with one label each and no boxes."""
  none = np.zeros((0, 4), np.float32)
  records = [
    record._replace(
      boxes_px=none,
      labels=np.zeros(0, np.int32),
      difficult=np.zeros(0, bool),
      image_label=int(record.labels[0]),
    )
    for record in dataset.records
  ]
  return dataset._replace(records=records)


class SizeOfStep:
  """One size for all steps; can be sent to a worker process."""

  def __init__(self, size: int):
    self.size = size

  def __call__(self, step: int) -> int:
    """The side of the network's input."""
    return self.size


def batches(
  dataset: Dataset,
  how: augment.Augmentation | augment.Classification,
  *,
  size: int,
  batch_size: int,
  threads: int,
  processes: int,
) -> Generator[Batch, None, None]:
  """Endless augmented batches."""
  return pipeline.train_batches(
    [dataset],
    weights=[1.0],
    augmentations=[how],
    wanted=pipeline.Wanted(30),
    batch_size=batch_size,
    rows=range(batch_size),
    size_of_step=SizeOfStep(size),
    seed=0,
    start_step=0,
    broken_share=0.0,
    workers=pipeline.Workers(threads, processes),
  )


def rate_of(
  stream: Generator[Batch, None, None], *, warm_up: int, seconds: float
) -> float:
  """Images per second of a stream at full speed.

  Batches that lie ready when the clock starts would come for nothing, so that
  many are taken before.
  """
  for _ in range(warm_up):
    next(stream)
  count, start = 0, time.perf_counter()
  while time.perf_counter() < start + seconds:
    count += len(next(stream).image)
  return count / (time.perf_counter() - start)


def decoding(dataset: Dataset, *, seconds: float) -> float:
  """Images per second that one thread decodes, the measure of the others."""
  count, start = 0, time.perf_counter()
  while time.perf_counter() < start + seconds:
    read_picture(dataset.records[count % 64])
    count += 1
  return count / (time.perf_counter() - start)


def measure_speed(
  dataset: Dataset,
  *,
  threads: int,
  processes: int,
  rounds: int,
  seconds: float,
) -> dict[str, float]:
  """Prints, and returns, images/s of each way to make batches.

  The ways take turns; each begins anew, so that no other runs beside it.
  """
  kinds = {
    "detector, 416": (dataset, DETECTION, 416),
    "classifier, 224": (labels_alone(dataset), CLASSIFICATION, 224),
  }
  workers = {"1 thread": (1, 0), f"{threads} threads": (threads, 0)}
  if processes:
    workers[f"{processes} processes"] = (0, processes)
  rates: dict[str, list[float]] = {}
  for _ in range(rounds):
    plain = decoding(dataset, seconds=seconds)
    rates.setdefault(DECODING, []).append(plain)
    for kind, (pictures, how, size) in kinds.items():
      for name, (of_threads, of_processes) in workers.items():
        stream = batches(
          pictures,
          how,
          size=size,
          batch_size=32,
          threads=of_threads,
          processes=of_processes,
        )
        ready = 4 * (max(of_threads, of_processes) + 1)
        rate = rate_of(stream, warm_up=ready, seconds=seconds)
        stream.close()
        rates.setdefault(f"{kind}, {name}", []).append(rate)
  medians = {name: statistics.median(found) for name, found in rates.items()}
  for name, rate in medians.items():
    ratio = rate / medians[DECODING]
    print(f"{name:32} {rate:8.0f} images/s {ratio:6.2f} times", flush=True)
  return medians


def print_needs(per_core: float) -> None:
  """How many cores feed an accelerator that trains YOLOv2 at 416."""
  print(
    f"a training step of YOLOv2 at 416 is {3 * YOLOV2_GFLOP:.0f} GFLOP per "
    f"image; at {100 * REACHED:.0f} % of the published bfloat16 rate:"
  )
  for name, accelerator in ACCELERATORS.items():
    rate = 1000 * accelerator.tflops * REACHED / (3 * YOLOV2_GFLOP)
    print(
      f"  {name:12} {rate:6.0f} images/s, {rate / per_core:5.1f} of these cores"
    )


def measure_memory(dataset: Dataset, *, threads: int, images: int) -> None:
  """Prints the most memory used after a tenth of the images, and after all."""
  stream = batches(
    dataset, DETECTION, size=416, batch_size=32, threads=threads, processes=0
  )
  for share in (0.1, 0.9):
    for _ in range(max(1, int(share * images) // 32)):
      next(stream)
    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    seen = images if share == 0.9 else int(share * images)
    print(f"memory after {seen} images: {most:.0f} MiB at most", flush=True)


def write_voc(root: Path, count: int) -> None:
  """A VOC folder of small pictures with three boxes each."""
  for name in ("Annotations", "ImageSets/Main", "JPEGImages"):
    (root / name).mkdir(parents=True)
  box = (
    "<object>\n<name>{}</name>\n<difficult>0</difficult>\n<bndbox>\n"
    "<xmin>{}</xmin>\n<ymin>{}</ymin>\n<xmax>{}</xmax>\n<ymax>{}</ymax>\n"
    "</bndbox>\n</object>\n"
  )
  for n in range(count):
    rng = np.random.default_rng(n)
    image = cv2.resize(
      rng.integers(0, 256, (6, 8, 3)).astype(np.uint8), (80, 60)
    )
    cv2.imwrite(str(root / f"JPEGImages/{n}.jpg"), image)
    objects = "".join(
      box.format(f"class {m}", x, y, x + 20 + m, y + 10)
      for m, (x, y) in enumerate(rng.integers(1, 40, (3, 2)))
    )
    (root / f"Annotations/{n}.xml").write_text(
      "<annotation>\n<size><width>80</width><height>60</height></size>\n"
      f"{objects}</annotation>\n"
    )
  names = "\n".join(map(str, range(count)))
  (root / "ImageSets/Main/train.txt").write_text(names)


def measure_doctor(root: Path, *, annotations: int, threads: int) -> None:
  """Prints how long the doctor takes over so many annotation files."""
  write_voc(root, annotations)
  start = time.perf_counter()
  findings = doctor.examine(
    "voc", str(root), (), class_names=(), outside=False, threads=threads
  )
  boxes = doctor.box_statistics(
    findings.datasets, image_size=416, resize="stretch"
  )
  list(doctor.lines(findings, boxes, image_size=416, shown_flaws=10))
  seconds = time.perf_counter() - start
  print(
    f"doctor: {annotations} annotation files with {3 * annotations} boxes and "
    f"their 80x60 pictures in {seconds:.1f} s, {len(findings.flaws)} flaws"
  )


def main() -> None:
  """Prints a line for each part."""
  cores = os.cpu_count() or 1
  parser = command_line.parser("yolo9000.benchmarks.data", __doc__)
  parser.add_argument("--threads", type=int, default=cores)
  parser.add_argument("--processes", type=int, default=cores)
  parser.add_argument("--rounds", type=int, default=3)
  parser.add_argument("--seconds", type=float, default=3.0, help="of each way")
  parser.add_argument("--memory_images", type=int, default=20000)
  parser.add_argument("--annotations", type=int, default=10000)
  args = parser.parse_args()
  if args.seconds < SHORTEST or args.rounds < 1:
    parser.error(
      f"--seconds={args.seconds:g} --rounds={args.rounds} would measure noise; "
      f"expected at least {SHORTEST} seconds and one round"
    )
  with tempfile.TemporaryDirectory() as name:
    folder = Path(name)
    dataset = write_pictures(folder, 64)
    # Listed again and again, as data sets are large; shuffling few is slow.
    dataset = dataset._replace(records=dataset.records * 100)
    sizes = [Path(r.path).stat().st_size for r in dataset.records[:64]]
    print(
      f"{SIZE[0]}x{SIZE[1]} JPEGs of {np.mean(sizes) / 1000:.0f} kB in the "
      f"mean, batches of 32, {cores} cores"
    )
    measure_memory(dataset, threads=args.threads, images=args.memory_images)
    rates = measure_speed(
      dataset,
      threads=args.threads,
      processes=args.processes,
      rounds=args.rounds,
      seconds=args.seconds,
    )
    print_needs(rates["detector, 416, 1 thread"])
    measure_doctor(
      folder / "voc", annotations=args.annotations, threads=args.threads
    )


if __name__ == "__main__":
  main()
