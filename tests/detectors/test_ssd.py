"""SSD, against torchvision's and by counting."""

import ast
from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import counted

from yolo9000 import losses
from yolo9000.boxes import matching
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import ssd
from yolo9000.wordtree import Classes


def of_largest(found, expected):
  atol = 1e-4 * np.abs(expected).max()
  np.testing.assert_allclose(np.asarray(found), expected, atol=atol)


def test_heads_are_torchvisions(goldens):
  golden = goldens("tv_ssd")
  params, maps = {}, []
  for level in range(4):
    maps.append(jnp.asarray(golden[f"head/feat{level}"].transpose(0, 2, 3, 1)))
    for ours, theirs in (
      ("labels", "classification"),
      ("coords", "regression"),
    ):
      name = f"head/w/{theirs}_head.module_list.{level}"
      params[f"{ours}_{level}"] = {
        "kernel": golden[f"{name}.weight"].transpose(2, 3, 1, 0),
        "bias": golden[f"{name}.bias"],
      }
  heads = ssd.Heads((4, 6, 6, 4), int(golden["num_classes"]) - 1)
  raw = heads.apply({"params": params}, maps)
  of_largest(raw.logits, golden["head/cls_logits"])
  of_largest(raw.codes, golden["head/bbox_regression"])
  assert raw.grids == ((8, 10), (4, 5), (2, 3), (1, 1))


@pytest.mark.parametrize(
  ("case", "negatives"),
  [
    *(("all", 3.0), ("no_boxes", 3.0), ("forced_only", 3.0)),
    *(("ratio1", 1.0), ("ratio_all", 1e6)),
  ],
)
def test_the_loss_is_torchvisions(goldens, case, negatives):
  golden = goldens("tv_ssd")
  pictures = golden[f"loss/{case}/images"]
  anchors = jnp.asarray(golden["default_boxes"])
  boxes, labels = np.zeros((4, 6, 4), np.float32), np.zeros((4, 6), np.int32)
  mask = np.zeros((4, 6), bool)
  for n in range(4):
    count = len(golden[f"loss/gt_labels{n}"])
    boxes[n, :count] = golden[f"loss/gt_boxes{n}"]
    labels[n, :count] = golden[f"loss/gt_labels{n}"] - 1  # without background
    mask[n, :count] = True

  def of_picture(logits, codes, boxes, labels, mask):
    matches = matching.match_forced(
      anchors, boxes, mask, threshold=0.5, bipartite=False
    )
    given = (logits, codes, boxes, labels)
    loss = partial(
      losses.multibox_loss,
      anchors=anchors,
      matches=matches,
      weights=ssd.WEIGHTS,
    )
    parts = loss(*given, negatives=negatives)
    if case == "ratio_all":
      # Where the background has fewer boxes than are wanted of it, torchvision
      # takes assigned ones too, a second time.
      parts["label"] += loss(*given, negatives=0.0)["label"]
    return parts, matches

  @jax.jit
  def of_batch(logits, codes):
    given = [jnp.asarray(x[pictures]) for x in (boxes, labels, mask)]
    parts, matches = jax.vmap(of_picture)(logits, codes, *given)
    counts = jnp.sum(matches.assigned, axis=1)
    valid = jnp.ones(len(pictures), bool)
    parts = losses.over_counted(parts, counts, valid)
    return sum(parts.values()), (parts, matches)

  grads, (parts, matches) = jax.grad(of_batch, (0, 1), has_aux=True)(
    jnp.asarray(golden["loss/cls_logits"][pictures]),
    jnp.asarray(golden["loss/bbox_regression"][pictures]),
  )
  np.testing.assert_array_equal(
    np.where(matches.assigned, matches.truth, -1),
    golden["loss/matched_idxs"][pictures],
  )
  found = {
    "classification": parts["label"],
    "bbox_regression_loss": parts["coord"],
    "grad_cls_logits": grads[0],
    "grad_bbox_regression": grads[1],
  }
  for name, array in found.items():
    of_largest(array, golden[f"loss/{case}/{name}"])
  np.testing.assert_array_equal(
    matches.assigned.sum(1), golden[f"loss/{case}/num_positive"]
  )
  used = (np.asarray(grads[0]) != 0).any(-1)
  np.testing.assert_array_equal(used, golden[f"loss/{case}/used"])


def test_detections_are_torchvisions(goldens):
  golden = goldens("tv_ssd")
  height, width = golden["image_hw"]
  edges = np.float32([width, height, width, height])
  how = Suppression(
    float(golden["post/nms_thresh"]),
    float(golden["post/score_thresh"]),
    max_candidates=int(golden["post/topk_candidates"]),
    max_detections=int(golden["post/detections_per_img"]),
  )
  found = jax.jit(
    jax.vmap(
      partial(
        ssd.detections,
        default_boxes=jnp.asarray(golden["default_boxes"] / edges),
        how=how,
      )
    )
  )(
    jnp.asarray(golden["post/cls_logits"]),
    jnp.asarray(golden["post/bbox_regression"]),
  )
  for n in range(2):
    assert found.mask[n].all()
    boxes = np.asarray(found.boxes[n]) * edges
    of_largest(boxes, golden[f"post/boxes{n}"])
    of_largest(found.scores[n], golden[f"post/scores{n}"])
    np.testing.assert_array_equal(
      found.labels[n], golden[f"post/labels{n}"] - 1
    )


def test_default_boxes_are_torchvisions(goldens):
  golden = goldens("tv_ops")
  call = ast.literal_eval(str(golden["default_boxes/ssd300/call"]))
  grids = tuple(map(tuple, golden["default_boxes/ssd300/feature_hw"].tolist()))
  # Its levels have scales of their own.
  sides = tuple(300 * scale for scale in call["scales"])
  how = ssd.DefaultBoxes(sides=sides, clip=True)
  of_largest(300 * how.on(grids), golden["default_boxes/ssd300/xyxy"])


@pytest.mark.parametrize(
  ("options", "num_classes", "parameters", "boxes"),
  [
    (ssd.SSD300, 20, 26_285_486, 8732),
    (ssd.SSD300, 80, 34_305_206, 8732),
    (ssd.SSD512, 20, 27_188_676, 24_564),
    (ssd.SSD512, 80, 36_038_196, 24_564),
  ],
)
def test_it_has_as_many_parameters_and_boxes(
  options, num_classes, parameters, boxes
):
  """Counted in the PyTorch port; the boxes are the paper's."""
  assert counted(ssd, options, num_classes) == (parameters, boxes)


def test_what_cannot_be_says_what_can():
  classes = Classes(("a", "b"))
  task = ssd.make_task(ssd.SSD300, classes)
  with pytest.raises(ValueError, match="size 320x320 .* expected 300x300"):
    task.check_size((320, 320))
  few = ssd.SSD300.default_boxes._replace(steps=(8, 16))
  with pytest.raises(ValueError, match="2 steps; the network has 6 levels"):
    ssd.make_task(ssd.SSD300._replace(default_boxes=few), classes)
