"""What extends SSD: sizes by counting, refinement and blocks by hand."""

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
    (m2det, {"scales": 2}, "scales is 2; expected a number in"),
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
