"""Masks of objects, by areas that are known, through every augmentation."""

import itertools
import json
import re

import cv2
import numpy as np
import pytest
from pycocotools import mask as coco_masks

from yolo9000.data import __main__ as doctor_command
from yolo9000.data import augment as aug
from yolo9000.data import batches as pipeline
from yolo9000.data import fitting, masks, sources
from yolo9000.data.batches import empty_batch
from yolo9000.data.flaws import Flaws
from yolo9000.data.formats import segmentation, shapes
from yolo9000.data.formats.reading import Source
from yolo9000.data.records import Dataset, Record

SIZE = WIDTH, HEIGHT = 80, 60
# A triangle; and a diamond with a square beside it.
TRIANGLE = masks.outline([np.array([[10, 50], [70, 50], [40, 8]])])
PARTS = masks.outline(
  [
    np.array([[20, 10], [35, 25], [20, 40], [5, 25]]),
    np.array([[50, 20], [70, 20], [70, 44], [50, 44]]),
  ]
)
OBJECTS = {"triangle": TRIANGLE, "parts": PARTS}


def box_of(mask):
  points = np.concatenate(masks.parts_of(mask))
  return np.array([*points.min(0), *points.max(0)], np.float32)


def clipped_area(mask, left, top, right, bottom):
  """Of the parts inside a window, by Sutherland and Hodgman; the shoelace."""
  total = 0.0
  for points in masks.parts_of(mask):
    points = [tuple(map(float, p)) for p in points]
    for axis, edge, sign in (
      *((0, left, 1), (0, right, -1)),
      *((1, top, 1), (1, bottom, -1)),
    ):
      kept = []
      for one, other in zip(points, [*points[1:], *points[:1]], strict=True):
        a, b = sign * (one[axis] - edge), sign * (other[axis] - edge)
        if a >= 0:
          kept.append(one)
        if a * b < 0:
          at = a / (a - b)
          kept.append(
            tuple(p + at * (q - p) for p, q in zip(one, other, strict=True))
          )
      points = kept
    if points:
      x, y = np.array(points).T
      total += abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2
  return total


PLACEMENTS = {
  "whole": fitting.Placement(0.0, 0.0, 1.0, 1.0),
  "crop": fitting.Placement(-0.4, -0.3, 1.1, 1.5),
  "letterbox": fitting.Placement(0.0, 0.125, 1.0, 0.875),
  "zoom out": fitting.Placement(0.3, 0.5, 0.7, 0.8),
}


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("flip", [False, True])
@pytest.mark.parametrize("where", PLACEMENTS)
def test_areas_follow_the_boxes(where, flip, name):
  """Area in the frame x the box's = the clipped object's; runs agree."""
  mask, placement = OBJECTS[name], PLACEMENTS[where]
  box = box_of(mask)[None] / np.float32([WIDTH, HEIGHT] * 2)
  boxes, big = fitting.place_boxes(box, placement, flip=flip, min_side=0.001)
  assert big.all()
  runs = masks.as_runs(mask, SIZE)
  outline, pixels = masks.placed(
    [mask, runs],
    np.repeat(boxes, 2, axis=0),
    placement,
    size=SIZE,
    flip=flip,
    side=28,
  )
  # The window that the input shows, on the source picture.
  left, top, right, bottom = placement
  window = (
    *(-left / (right - left) * WIDTH, -top / (bottom - top) * HEIGHT),
    *((1 - left) / (right - left) * WIDTH, (1 - top) / (bottom - top) * HEIGHT),
  )
  expected = clipped_area(mask, *window)
  scale = (right - left) * (bottom - top) / (WIDTH * HEIGHT)
  area = np.prod(boxes[0, 2:] - boxes[0, :2])
  found = outline.mean() / 255 * area
  assert found == pytest.approx(expected * scale, rel=5e-3)
  # COCO's program draws lines to whole pixels.
  assert pixels.mean() / 255 * area == pytest.approx(found, rel=0.04)
  differ = np.abs(outline.astype(int) - pixels).mean() / 255
  assert differ < 0.05
  if flip:
    straight, _ = fitting.place_boxes(
      box, placement, flip=False, min_side=0.001
    )
    plain = masks.placed(
      [mask], straight, placement, size=SIZE, flip=False, side=28
    )
    np.testing.assert_allclose(outline[:, ::-1], plain[0], atol=1)


def test_cells_by_hand():
  """The half of a square below its diagonal, and one whole pixel of four."""
  half = masks.outline([np.array([[0, 0], [8, 8], [0, 8]])])
  cells = masks.in_frame(half, np.float64([0, 0, 8, 8]), size=(8, 8), side=4)
  expected = np.tril(np.full((4, 4), 255), -1) + np.diag([128] * 4)
  np.testing.assert_array_equal(cells, expected)
  pixels = np.zeros((8, 8), bool)
  pixels[2, 3] = True
  cells = masks.in_frame(
    masks.encode(pixels), np.float64([2, 2, 4, 4]), size=(8, 8), side=2
  )
  np.testing.assert_array_equal(cells, [[0, 255], [0, 0]])
  cells = masks.in_frame(
    masks.encode(pixels), np.float64([0, 0, 8, 8]), size=(8, 8), side=4
  )
  assert cells[1, 1] == 64 and cells.sum() == 64


def test_outlines_agree_with_a_large_drawing():
  """A star that crosses itself, and parts that touch, 64 times enlarged."""
  angle = np.arange(5) * 4 * np.pi / 5
  star = 20 + 18 * np.stack([np.sin(angle), -np.cos(angle)], axis=1)
  drawn = np.zeros((40 * 64, 40 * 64), np.uint8)
  cv2.fillPoly(drawn, [np.round(star * 64).astype(np.int32)], 1)
  expected = drawn.reshape(20, 128, 20, 128).mean(axis=(1, 3))
  frame = np.float64([0, 0, 40, 40])
  cells = masks.in_frame(masks.outline([star]), frame, size=(40, 40), side=20)
  assert np.abs(cells / 255 - expected).max() < 0.05
  halves = [np.array([[0, 0], [20, 0], [20, 40], [0, 40]])]
  halves.append(halves[0] + [20, 0])
  cells = masks.in_frame(masks.outline(halves), frame, size=(40, 40), side=7)
  assert (cells == 255).all()


EDGES = (10.0, 8.0, 70.0, 50.0)
POLYGON = [10.0, 50.0, 70.0, 50.0, 40.0, 8.0]


def runs_of(**changes):
  """Runs in COCO's text, of the triangle."""
  counts = masks.as_runs(TRIANGLE, SIZE).decode()
  return {"size": [HEIGHT, WIDTH], "counts": counts, **changes}


@pytest.mark.parametrize(
  ("value", "message"),
  [
    ([POLYGON[:4]], "polygon 1 of 1 has 4 numbers; expected x and y of 3"),
    ([POLYGON, POLYGON[:5]], "polygon 2 of 2 has 5 numbers"),
    ([[1, 2, 3, 4, "5", 6]], r"is \[1, 2, 3, 4, '5', 6\]; expected finite"),
    ([[1, 2, 3, 4, 1e999, 6]], "expected finite numbers"),
    ([[5, 0, 5, 9, 5, 4]], "has no area"),
    (["a"], "has 1 numbers"),
    # As fractions, x and y exchanged, beside the picture.
    ([[0.2, 0.2, 0.9, 0.2, 0.5, 0.9]], "lies from 0.2, 0.2 to 0.9, 0.9"),
    ([[5, 70, 40, 70, 20, 75]], "expected pixels of the object"),
    ([[90, 20, 99, 20, 95, 40]], "polygon 1 of 1 lies from 90, 20 to 99, 40"),
    ([POLYGON, [90, 20, 99, 20, 95, 40]], "polygon 2 of 2 lies from 90"),
    (runs_of(counts=[0, 3, 4797]), "segmentation lies from 0, 0 to 1, 3"),
    ([POLYGON, "a"], "polygon 2 of 2 is 'a'; expected a list of numbers"),
    ("a polygon", "'a polygon'; expected polygons or runs"),
    (runs_of(size=[WIDTH, HEIGHT]), r"\[80, 60\]; expected height and width"),
    (runs_of(counts=[10, 20]), "sum to 30; expected the pixels .* = 4800"),
    (runs_of(counts=[4801, -1]), "sum to"),
    (runs_of(counts=[HEIGHT * WIDTH]), "cover no pixel"),
    (runs_of(counts="zz~"), "sum to -1"),
    (runs_of(counts="Q"), "sum to -1"),
    (runs_of(counts=7), "are 7; expected whole numbers"),
  ],
)
def test_what_cannot_be_read_is_told(value, message):
  mask, wrong = segmentation.read(value, SIZE, EDGES)
  assert (mask is None) == (not isinstance(value, list) or POLYGON not in value)
  assert re.search(message, wrong), wrong


def test_every_form_of_the_same_object():
  """Compressed, not compressed, polygons, and what COCO's program says."""
  whole = coco_masks.frPyObjects([POLYGON], HEIGHT, WIDTH)[0]
  pixels = masks.decode(whole["counts"], SIZE)
  assert pixels.sum() == coco_masks.area(whole)
  counts = np.diff(
    np.flatnonzero(np.diff(pixels.T.reshape(-1), prepend=0, append=2)),
    prepend=0,
  ).tolist()
  forms = (
    *(
      {"size": [HEIGHT, WIDTH], "counts": c}
      for c in (counts, runs_of()["counts"])
    ),
    [POLYGON],
    POLYGON,
  )
  for form in forms:
    mask, wrong = segmentation.read(json.loads(json.dumps(form)), SIZE, EDGES)
    assert not wrong
    again = masks.decode(masks.as_runs(mask, SIZE), SIZE)
    np.testing.assert_array_equal(again, pixels)
  assert segmentation.read([], SIZE, EDGES) == (None, "")


def coco_folder(root, annotations):
  content = {
    "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 60}],
    "categories": [{"id": 1, "name": "cat"}],
    "annotations": [
      {
        "id": n,
        "image_id": 1,
        "category_id": 1,
        "bbox": [10 - n, 8, 60 + n, 42],
        "iscrowd": 0,
        "area": 1260.0,
        **row,
      }
      for n, row in enumerate(annotations)
    ],
  }
  (root / "a.json").write_text(json.dumps(content))
  cv2.imwrite(str(root / "a.png"), np.zeros((60, 80, 3), np.uint8))
  return Source("coco", str(root), "a.json", masks=True)


def test_coco_is_read_with_masks(tmp_path):
  rows = [
    {"segmentation": [POLYGON]},
    {"segmentation": runs_of(), "iscrowd": 1},
    {"segmentation": [POLYGON, [1, 2]]},
    {"segmentation": []},
    {"segmentation": {"size": [1, 1], "counts": [1]}},
  ]
  source = coco_folder(tmp_path, rows)
  flaws = Flaws(strict=True)
  data = sources.read(source, flaws)
  (record,) = data.records
  kinds = [type(mask) for mask in record.masks]
  none = type(None)
  assert kinds == [np.ndarray, bytes, np.ndarray, none, none]
  assert [flaw.kind for flaw in data.flaws] == ["bad mask"] * 2
  assert "annotation 2: polygon 2 of 2 has 2 numbers" in data.flaws[0].message
  assert data.notes["objects without a mask"] == 2 and not data.passed
  kept = record.take(~record.difficult)
  assert [type(mask) for mask in kept.masks] == [kinds[n] for n in (0, 2, 3, 4)]
  # Nobody asks for them: nothing is read, and nothing is wrong.
  data = sources.read(source._replace(masks=False), Flaws(strict=True))
  assert data.records[0].masks is None and not data.flaws
  assert data.passed["annotation's key segmentation"] == 5


@pytest.mark.parametrize(
  ("image", "value", "strict"),
  [
    ({}, [POLYGON], True),
    ({}, runs_of(), True),
    ({}, POLYGON, False),  # one polygon in no list
    ({}, [], False),
    ({}, [[1, 2]], False),
    ({}, runs_of(size=[1, 1]), False),
    ({"width": None}, [POLYGON], False),
    ({"height": 0}, [POLYGON], False),
  ],
)
def test_what_cocos_own_program_can_read(image, value, strict):
  """It ends in the middle of its work, or counts nothing, for the others."""
  content = {
    "images": [{"id": 1, "width": WIDTH, "height": HEIGHT, **image}],
    "annotations": [{"image_id": 1, "segmentation": value}],
  }
  assert segmentation.is_strict(content) == strict


@pytest.mark.parametrize(("words", "flaws"), [([], 0), (["--masks"], 2)])
def test_the_doctor_looks_at_them_if_asked(tmp_path, capsys, words, flaws):
  rows = [
    {"segmentation": [POLYGON]},
    {"segmentation": [[1, 2]]},
    {"segmentation": {"size": [1, 1], "counts": [1]}},
  ]
  coco_folder(tmp_path, rows)
  split = (str(tmp_path), "a.json", f"--out={tmp_path / 'out'}")
  code = doctor_command.main(["coco", *split, *words])
  assert code == (1 if flaws else 0), capsys.readouterr().out
  assert (tmp_path / "out" / "flaws.txt").read_text().count("bad mask") == flaws


def train(data, **changes):
  options = dict(
    weights=[1.0],
    augmentations=[aug.Augmentation("crop", 0.2, 0.1, 1.5, 1.5, True, 0.01)],
    wanted=pipeline.Wanted(12),
    batch_size=4,
    rows=range(4),
    size_of_step=lambda step: 64,
    seed=0,
    start_step=0,
    broken_share=0.0,
    workers=pipeline.Workers(2),
  )
  stream = pipeline.train_batches([data], **{**options, **changes})
  found = list(itertools.islice(stream, 3))
  stream.close()
  return found


MASKS = pipeline.Wanted(12, mask_size=14)


def size_of_step(step):
  """Goes to worker processes, which a lambda cannot."""
  return 64


def test_batches_have_masks_where_they_are_wanted():
  """And are else as before to the byte, in threads and in processes."""
  source = Source("shapes", "", "train[:20]")
  plain = shapes.read(source, Flaws(strict=True))
  data = shapes.read(source._replace(masks=True), Flaws(strict=True))
  without, with_ = train(plain), train(data, wanted=MASKS)
  for one, other in zip(without, with_, strict=True):
    assert one.masks is None
    assert other.masks.shape == (4, 12, 14, 14)
    assert other.masks.dtype == np.uint8
    for name, x, y in zip(one._fields[:-1], one[:-1], other[:-1], strict=True):
      np.testing.assert_array_equal(x, y, err_msg=name)
    assert other.masks[~other.mask].max() == 0
    assert (other.masks[other.mask].max((1, 2)) > 127).all()
  for one in train(data):  # read, and not asked for
    assert one.masks is None
  workers = pipeline.Workers(0, 1)
  made = train(data, wanted=MASKS, workers=workers, size_of_step=size_of_step)
  for one, other in zip(with_, made, strict=True):
    np.testing.assert_array_equal(one.masks, other.masks)
  with pytest.raises(ValueError, match="and no masks, and data.mask_size 14"):
    train(plain, wanted=MASKS)
  assert empty_batch(1, size=8, max_objects=2).masks is None


def test_drawn_masks_are_what_is_drawn():
  """Pixels that change when an object is left out are its own; and no others.

  Where it hides others, or its edge is soft, half of the change is asked for.
  """
  source = Source("shapes", "", "train[:12]", masks=True)
  data = shapes.read(source, Flaws(strict=True))
  for record in data.records:
    _, split, number = record.path.split("/")
    shown = np.stack([masks.decode(one, (256, 256)) for one in record.masks])
    assert shown.sum(0).max() == 1
    # The last object hides what is below it, and nothing hides it.
    last = record.take(slice(-1, None))
    box = last.boxes_px[0].astype(int)
    own = shown[-1].astype(bool)
    # OpenCV's outlines stick out by a pixel at most.
    low, high = np.maximum(box[:2] - 1, 0), box[2:] + 1
    assert own[low[1] : high[1], low[0] : high[0]].sum() == own.sum()
    whole = shapes.draw_scene(
      split, int(number), record.boxes_px, record.labels
    )
    rest = record.take(slice(0, -1))
    less = shapes.draw_scene(split, int(number), rest.boxes_px, rest.labels)
    changed = (whole != less).any(-1)
    assert changed[own].mean() > 0.999 and own[changed].mean() > 0.6
    inner = cv2.erode(changed.astype(np.uint8), np.ones((3, 3))).astype(bool)
    assert own[inner].all()


def test_objects_of_unknown_masks_have_empty_ones():
  record = Record(
    *("a", WIDTH, HEIGHT, box_of(TRIANGLE)[None].repeat(2, 0)),
    *(np.zeros(2, np.int32), np.zeros(2, bool)),
    masks=(None, TRIANGLE),
  )
  picture = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
  data = Dataset([record] * 4, ("cat",), lambda record: picture, [])
  (batch, *_) = train(data, wanted=pipeline.Wanted(12, mask_size=8))
  known = batch.masks[batch.mask].reshape(4, 2, -1).max(-1) > 0
  assert known.sum() == 4 and (known.sum(1) == 1).all()
