"""What extends SSD: sizes by counting, refinement by hand, options."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from support import counted

from yolo9000 import losses
from yolo9000.boxes import coding, matching
from yolo9000.boxes.suppression import Suppression
from yolo9000.detectors import fssd, m2det, refinedet, rfbnet, ssd
from yolo9000.networks.norm import Norm
from yolo9000.networks.resize import resize_bilinear
from yolo9000.wordtree import Classes


def released(options, **changes):
  """M2Det as its program is."""
  network = options.network._replace(shared=True, **changes)
  return options._replace(network=network)


PLAIN_M2DET = released(m2det.M2DET512, attention=False)


# Counted in the authors' PyTorch programs, or ports of Caffe's; of FSSD and
# RFBNet the six boxes in each cell of the first map are theirs too.
@pytest.mark.parametrize(
  ("detector", "options", "num_classes", "parameters", "boxes"),
  [
    (fssd, fssd.FSSD300, 20, 34_132_960, 11_620),
    (fssd, fssd.FSSD300, 80, 40_217_440, 11_620),
    (fssd, fssd.FSSD512, 20, 35_527_542, 32_756),
    (fssd, fssd.FSSD512, 80, 42_441_822, 32_756),
    (rfbnet, rfbnet.RFBNET300, 20, 36_531_296, 11_620),
    (rfbnet, rfbnet.RFBNET300, 80, 45_104_096, 11_620),
    (rfbnet, rfbnet.RFBNET512, 20, 37_417_910, 32_756),
    (rfbnet, rfbnet.RFBNET512, 80, 46_820_510, 32_756),
    (rfbnet, rfbnet.RFBNET512_E, 20, 40_532_726, 32_756),
    (rfbnet, rfbnet.RFBNET512_E, 80, 49_935_326, 32_756),
    (refinedet, refinedet.REFINEDET320, 20, 34_440_884, 6375),
    (refinedet, refinedet.REFINEDET320, 80, 36_100_484, 6375),
    (refinedet, refinedet.REFINEDET512, 20, 34_440_884, 16_320),
    (refinedet, refinedet.REFINEDET512, 80, 36_100_484, 16_320),
    (m2det, released(m2det.M2DET320), 80, 133_159_604, 12_810),
    (m2det, PLAIN_M2DET, 80, 132_633_140, 32_760),
  ],
)
def test_it_has_as_many_parameters_and_boxes(
  detector, options, num_classes, parameters, boxes
):
  assert counted(detector, options, num_classes) == (parameters, boxes)


def test_resizing_is_by_straight_lines_between_pixels():
  x = np.random.default_rng(0).normal(size=(2, 3, 5, 2)).astype(np.float32)
  found = resize_bilinear(jnp.asarray(x), (7, 9))
  places = np.linspace(0, 2, 7), np.linspace(0, 4, 9)
  rows = np.stack(
    [np.interp(places[0], np.arange(3), x[1, :, n, 0]) for n in range(5)]
  )
  expected = np.stack(
    [np.interp(places[1], np.arange(5), row) for row in rows.T]
  )
  np.testing.assert_allclose(found[1, ..., 0], expected, atol=1e-5)


def random_arm(rng, count=30):
  """Anchors on a lattice; what an ARM and an ODM say of them."""
  low = rng.uniform(0, 0.6, (count, 2))
  anchors = np.concatenate([low, low + rng.uniform(0.1, 0.3, (count, 2))], 1)
  shapes = {"arm": 2, "arm_codes": 4, "odm": 4, "odm_codes": 4}
  said = {n: rng.normal(size=(count, k)) for n, k in shapes.items()}
  said["arm"][:8, 0] = 9.0  # no object, for sure
  arrays = (anchors, *said.values())
  return [jnp.asarray(array, jnp.float32) for array in arrays]


def test_the_second_module_starts_where_the_first_ends():
  """Its loss is SSD's of the moved anchors alone that are not easy.

  So are its detections; and through what moved them no gradient goes.
  """
  anchors, arm, arm_codes, odm, odm_codes = random_arm(np.random.default_rng(0))
  boxes, labels = anchors[5:25:5] + 0.02, jnp.array([0, 1, 2, 0])
  mask = jnp.array([True, True, True, False])
  loss = refinedet.Loss()
  hard = np.asarray(jax.nn.softmax(arm)[:, 1] > loss.easy)
  assert 0 < hard.sum() < len(hard)
  moved = coding.decode(arm_codes, anchors, ssd.WEIGHTS)

  @jax.jit
  def of_both(arm, arm_codes):
    found = refinedet.picture_loss(
      *(arm, arm_codes, odm, odm_codes, boxes, labels, mask),
      anchors=anchors,
      how=loss,
    )
    return sum(found["odm"][0].values()), found

  (_, found), grads = jax.value_and_grad(of_both, (0, 1), has_aux=True)(
    arm, arm_codes
  )
  assert all((np.asarray(grad) == 0).all() for grad in grads)
  of_arm = ssd.picture_loss(
    *(arm, arm_codes, boxes, jnp.zeros(4, int), mask),
    default_boxes=anchors,
    how=loss,
  )
  matches = matching.match_forced(
    moved, boxes, mask, threshold=loss.threshold, bipartite=loss.bipartite
  )
  assert 0 < (matches.assigned & ~hard).sum() < matches.assigned.sum()
  of_odm = losses.multibox_loss(
    *(odm[hard], odm_codes[hard], boxes, labels),
    anchors=moved[hard],
    matches=jax.tree.map(lambda x: x[hard], matches),
    weights=ssd.WEIGHTS,
    negatives=loss.negatives,
  )
  near = partial(np.testing.assert_allclose, rtol=1e-5)
  jax.tree.map(near, found["odm"][0], of_odm)
  assert found["odm"][1] == (matches.assigned & hard).sum()
  jax.tree.map(near, found["arm"], of_arm)
  how = Suppression(0.45, 0.1, 30, 30)
  shown = refinedet.detections(
    *(arm, arm_codes, odm, odm_codes), anchors=anchors, easy=loss.easy, how=how
  )
  alone = ssd.detections(
    odm[hard], odm_codes[hard], default_boxes=moved[hard], how=how
  )
  for one, other in zip(
    jax.tree.leaves(shown), jax.tree.leaves(alone), strict=True
  ):
    np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-6)


def test_what_cannot_be_says_what_can():
  classes = Classes(("a",))
  for detector, changes, message in (
    (rfbnet, {"kind": "large"}, "kind is 'large'; allowed are plain, enhanced"),
    (rfbnet, {"blocks": ((9, 1),)}, "expected .filters, stride, dilation.,"),
    (rfbnet, {"blocks": ((9, 0, 1),)}, r"blocks has \(9, 0, 1\); expected"),
    (
      rfbnet,
      {"extras": ((9, 9, 3, 1),)},
      "expected .first, filters, side, str",
    ),
    (m2det, {"scales": 2}, "scales is 2; expected a whole number in"),
    (m2det, {"modules": 1.5}, "modules is 1.5; expected a whole number in"),
    (m2det, {"width": 0.0}, "width is 0.0; expected a number in"),
    (fssd, {"extras": ()}, r"extras is \(\); expected at least one"),
    (fssd, {"fused": 0}, "fused is 0; expected a whole number in"),
    (refinedet, {"transferred": -7}, "transferred is -7; expected a whole"),
    (fssd, {"levels": ()}, "6 ratios and 6 steps; the network has 0 levels"),
    (refinedet, {"dtype": "int8"}, "dtype is 'int8'; allowed are float32"),
  ):
    options = detector.Options()
    options = options._replace(network=options.network._replace(**changes))
    with pytest.raises(ValueError, match=message):
      detector.make_task(options, classes)


@pytest.mark.parametrize("detector", [ssd, m2det])
def test_a_picture_too_small_for_its_levels(detector):
  options = detector.Options()
  options = options._replace(
    default_boxes=options.default_boxes._replace(size=64)
  )
  task = detector.make_task(options, Classes(("a",)))
  with pytest.raises(ValueError, match=r"larger task\.default_boxes\.size"):
    jax.eval_shape(partial(task.init, size=(64, 64)), jax.random.key(0))


@pytest.mark.parametrize(
  ("branch", "height", "width"),
  [
    (rfbnet.plain(2)[0], 2, 2),
    (rfbnet.plain(2)[1], 1 + 3, 1 + 3),
    (rfbnet.plain(2)[2], 1 + 1 + 5, 1 + 1 + 5),
    (rfbnet.plain(1)[2], 1 + 1 + 3, 1 + 1 + 3),
    (rfbnet.SMALL[0], 1, 1),
    (rfbnet.SMALL[1], 1 + 3, 3),
    (rfbnet.SMALL[2], 3, 1 + 3),
    (rfbnet.SMALL[3], 1 + 5, 1 + 5),
    (rfbnet.SMALL_E[4], 5, 1 + 5),
    (rfbnet.SMALL_E[6], 1 + 7, 1 + 7),
    (rfbnet.LONG, 3 + 7, 3 + 7),
  ],
)
def test_how_far_a_branch_of_rfbnet_sees(branch, height, width):
  """Cells up and down, and to either side, that change what one cell says."""
  block = rfbnet.Block(16, (branch,), 1, 1, Norm(), jnp.float32)
  x = jax.random.normal(jax.random.key(0), (1, 23, 23, 4))
  variables = block.init(jax.random.key(1), x, train=False)

  @jax.grad
  def gradient(x):
    return jnp.sum(block.apply(variables, x, train=False)[0, 11, 11])

  rows, columns = np.nonzero(np.any(np.asarray(gradient(x)[0]), axis=-1))
  assert (rows.min(), rows.max()) == (11 - height, 11 + height)
  assert (columns.min(), columns.max()) == (11 - width, 11 + width)


def test_a_branch_of_an_enhanced_block_goes_with_its_dilation():
  network = rfbnet.RFBNET512_E.network
  assert [v for *_, v in network.blocks] == [2, 2, 2, 1, 1]
  blocks = ((9, 1, 3),)
  options = rfbnet.Options(network._replace(blocks=blocks, extras=()))
  with pytest.raises(ValueError, match="expected smallest dilations of 1 or 2"):
    rfbnet.make_task(options, Classes(("a",)))


@pytest.mark.parametrize(
  ("name", "value"),
  [
    ("size", 0),
    ("sides", (0, -5, 60, 111, 162, 213, 264)),
    ("ratios", ((0,), (-2, 3), (2,), (2,), (2,), (2,))),
    ("steps", (0,) * 6),
  ],
)
def test_default_boxes_are_of_numbers_above_0(name, value):
  options = ssd.Options()
  shapes = options.default_boxes._replace(**{name: value})
  with pytest.raises(ValueError, match=f"task.default_boxes.{name} is .*0, in"):
    ssd.make_task(options._replace(default_boxes=shapes), Classes(("a",)))


@pytest.mark.parametrize(
  ("options", "num_boxes"),
  [(fssd.PUBLISHED300, 8732), (fssd.PUBLISHED512, 24_564)],
)
def test_fssd_has_the_published_number_of_boxes(options, num_boxes):
  """By the README of the program in Caffe, whose numbers the paper has."""
  assert counted(fssd, options, 20)[1] == num_boxes


def test_easy_anchors_that_are_assigned_teach_if_they_are_kept():
  """As in the program; easy ones that are not assigned never teach."""
  anchors, arm, arm_codes, odm, odm_codes = random_arm(np.random.default_rng(0))
  arm_codes = arm_codes * 0
  boxes, labels = anchors[:2], jnp.array([0, 1])  # of those that are easy

  def of(odm, *, keep_assigned):
    found = refinedet.picture_loss(
      *(arm, arm_codes, odm, odm_codes, boxes, labels, jnp.ones(2, bool)),
      anchors=anchors,
      how=refinedet.Loss(keep_assigned=keep_assigned),
    )
    return sum(found["odm"][0].values()), found["odm"][1]

  counts, taught = {}, {}
  for keep in (False, True):
    run = partial(of, keep_assigned=keep)
    grads, counts[keep] = jax.grad(run, has_aux=True)(odm)
    taught[keep] = np.any(np.asarray(grads)[:8], axis=1)
  assert not taught[False].any()
  assert taught[True][:2].all()
  assert taught[True].sum() == counts[True] - counts[False] >= 2
