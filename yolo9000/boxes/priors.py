"""Box priors by k-means, and how well priors fit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from yolo9000 import boxes as box
from yolo9000.types import Float

STRIDE = 32  # pixels per cell

# Published priors for VOC, in cells: the program's configurations of January
# 2017 and from March 2017 on.
VOC_2017 = (
  *((1.08, 1.19), (3.42, 4.41), (6.63, 11.38)),
  *((9.42, 5.11), (16.62, 10.52)),
)
VOC = (
  *((1.3221, 1.73145), (3.19275, 4.00944), (5.05587, 8.09892)),
  *((9.47112, 4.84053), (11.2364, 10.0071)),
)
# For COCO, January 2017.
COCO_2017 = (
  *((0.738768, 0.874946), (2.42204, 2.65704), (4.30971, 7.04493)),
  *((10.246, 4.59428), (12.6868, 11.8741)),
)


def hand_picked(*, cells: int) -> tuple[tuple[float, float], ...]:
  """Nine anchor boxes (w, h) in cells, of a picture with so many cells a side.

  Three sizes in three shapes, twice as wide as high to twice as high as wide:
  the 128, 256 and 512 pixels of the region proposal network, which sees
  pictures of VOC with sides of about 600 and 800.

  Source: Faster R-CNN, arXiv 1506.01497, section 3.3; Table 1 has nine anchor
  boxes and does not list them.
  """
  return tuple(
    (round(side * ratio**0.5, 2), round(side / ratio**0.5, 2))
    for side in (cells * pixels / 700 for pixels in (128, 256, 512))
    for ratio in (0.5, 1.0, 2.0)
  )


class Priors(NamedTuple):
  """Shapes, smallest first, and how well they fit."""

  shapes: Float[np.ndarray, "A 2"]
  average_iou: float


def shapes_in_cells(
  records: Sequence[Any], *, image_size: int, resize: str
) -> Float[np.ndarray, "N 2"]:
  """Width and height of every box on the network's grid.

  Args:
    records: annotated pictures, `data.records.Record`.
    image_size: side of the network's input in pixels.
    resize: "stretch" or "letterbox", as the pictures will be resized.
  """
  cells = image_size / STRIDE
  sizes = [np.zeros((0, 2))]
  for record in records:
    edges = record.edges_px[:2]
    scale = edges if resize == "stretch" else np.full(2, edges.max())
    size_px = record.boxes_px[:, 2:] - record.boxes_px[:, :2]
    sizes.append(size_px * cells / scale)
  return np.concatenate(sizes)


def average_iou(
  shapes: Float[np.ndarray, "N 2"], priors: Float[np.ndarray, "A 2"]
) -> float:
  """Mean over shapes of the IoU with the closest prior, centres aligned.

  Source: Table 1, "Avg IOU".
  """
  return float(np.mean(np.max(box.shape_iou(shapes[:, None], priors[None]), 1)))


def kmeans(
  shapes: Float[np.ndarray, "N 2"],
  count: int,
  *,
  seed: int,
  distance: str = "iou",
  restarts: int = 10,
  iterations: int = 300,
) -> Priors:
  """The best of several k-means under the distance 1 - IoU, or Euclid's.

  Args:
    shapes: widths and heights, any unit.
    count: number of priors, at most the number of different shapes.
    seed: of the random starts.
    distance: "iou", or "sse" for the sum of squared differences, which makes
      larger boxes matter more; it serves for Table 1.
    restarts: starts to choose from.
    iterations: at most, per start.

  Raises:
    ValueError: if there are fewer different shapes than count.

  Source: section 2, dimension clusters.
  """
  shapes = np.asarray(shapes, np.float64)
  different = np.unique(shapes, axis=0)
  if not 0 < count <= len(different):
    raise ValueError(
      f"{count} priors need at least one and at most as many as the "
      f"{len(different)} different box shapes"
    )
  rng = np.random.default_rng(seed)
  best = None
  for _ in range(restarts):
    priors = rng.permutation(different)[:count]
    nearest = None
    for _ in range(iterations):
      before = nearest
      nearest = np.argmax(_closeness(shapes, priors, distance), axis=1)
      if before is not None and np.array_equal(nearest, before):
        break
      members = [shapes[nearest == n] for n in range(count)]
      priors = np.stack(
        [m.mean(0) if len(m) else priors[n] for n, m in enumerate(members)]
      )
    fit = float(np.mean(np.max(_closeness(shapes, priors, distance), axis=1)))
    if best is None or fit > best[0]:
      best = (fit, priors)
  assert best is not None
  priors = best[1][np.argsort(np.prod(best[1], axis=1))]
  return Priors(priors, average_iou(shapes, priors))


def _closeness(
  shapes: Float[np.ndarray, "N 2"],
  priors: Float[np.ndarray, "A 2"],
  distance: str,
) -> Float[np.ndarray, "N A"]:
  """The higher, the nearer."""
  if distance == "iou":
    return box.shape_iou(shapes[:, None], priors[None])
  if distance == "sse":
    return -np.sum((shapes[:, None] - priors[None]) ** 2, axis=2)
  raise ValueError(f"distance is {distance!r}; allowed are iou, sse")


# Generation, number of priors, the paper's average IoU on VOC 2007.
TABLE_1 = (
  ("Cluster SSE", 5, 58.7),
  ("Cluster IOU", 5, 61.0),
  ("Anchor Boxes", 9, 60.9),
  ("Cluster IOU", 9, 67.2),
)


def table_1(
  shapes: Float[np.ndarray, "N 2"], *, cells: int
) -> list[tuple[str, int, float, float]]:
  """Generation, number, our and the paper's average IoU in percent.

  Args:
    shapes: widths and heights in cells.
    cells: on a side of the grid, for the hand-picked anchor boxes.

  Returns:
    A row for each of TABLE_1 that there are enough different shapes for.
  """
  rows = []
  different = len(np.unique(shapes, axis=0))
  for generation, count, paper in TABLE_1:
    if count > different:
      continue
    if generation == "Anchor Boxes":
      value = average_iou(shapes, np.array(hand_picked(cells=cells)))
    else:
      distance = generation.removeprefix("Cluster ").lower()
      value = kmeans(shapes, count, seed=0, distance=distance).average_iou
    rows.append((generation, count, 100 * value, paper))
  return rows


def curve(
  shapes: Float[np.ndarray, "N 2"], *, most: int = 15, seed: int = 0
) -> list[Priors]:
  """Priors for 1 to `most` clusters: the paper's Figure 2."""
  most = min(most, len(np.unique(shapes, axis=0)))
  return [kmeans(shapes, count, seed=seed) for count in range(1, most + 1)]
