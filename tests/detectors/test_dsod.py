"""DSOD: the published sizes, by counting, and its network by its own rules."""

from functools import partial

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax.traverse_util import flatten_dict
from support import counted

from yolo9000.detectors import dsod
from yolo9000.networks.densenet import DenseNet
from yolo9000.wordtree import Classes


@pytest.mark.parametrize(
  ("num_classes", "head_norm", "parameters"),
  [
    (20, False, 14_715_054),
    (80, False, 21_697_974),
    # With the program's batch norm in the heads a shift is where the bias was,
    # and there is a scale too: one more for each of 30 boxes' 25 numbers.
    (20, True, 14_715_054 + 30 * 25),
  ],
)
def test_it_has_as_many_parameters_and_boxes(
  num_classes, head_norm, parameters
):
  """Counted from the authors' program's list of layers; 14.8 M published."""
  network = dsod.Network(head_norm=head_norm)
  options = dsod.DSOD300._replace(network=network)
  assert counted(dsod, options, num_classes) == (parameters, 8744)


def test_levels_are_the_papers():
  """Table 1, and the parameters of the heads, of 21 classes.

  Sides round up, so that the last level has 2 x 2 cells.
  """
  x = jax.ShapeDtypeStruct((1, 300, 300, 3), jnp.float32)
  network = DenseNet()
  init = partial(network.init_with_output, train=True)
  levels, variables = jax.eval_shape(init, jax.random.key(0), x)
  assert [level.shape[1:] for level in levels] == [
    *((38, 38, 800), (19, 19, 512), (10, 10, 512)),
    *((5, 5, 256), (3, 3, 256), (2, 2, 256)),
  ]
  params = variables["params"]
  widths = [params[f"transition_{n}"]["kernel"].shape[2] for n in range(4)]
  assert widths == [416, 800, 1184, 1568]
  lengths = sum(level.shape[-1] for level in levels)
  body = sum(v.size for v in flatten_dict(params).values()) + lengths
  assert 14_715_054 - body == 2_909_550


def test_half_of_a_level_is_the_level_before_it():
  """Made smaller by maxima, so that one place can be known from its window."""
  network = DenseNet((1, 1, 1, 1), 4, (4, 4, 8), 4, (4,))
  x = jax.random.normal(jax.random.key(0), (1, 40, 40, 3))
  levels, variables = network.init_with_output(
    jax.random.key(1), x, train=False
  )
  _, second, third = levels
  assert (second.shape, third.shape) == ((1, 3, 3, 8), (1, 2, 2, 8))
  # Its batch norm has seen nothing: it divides by sqrt(1 + epsilon).
  corner = np.maximum(second[0, 2, 2], 0) / np.sqrt(1 + 1e-5)
  kernel = variables["params"]["level_0_smaller"]["kernel"][0, 0]
  # Of three cells the last is alone in its window.
  np.testing.assert_allclose(third[0, 1, 1, :4], corner @ kernel, atol=1e-5)


def test_what_cannot_be_says_what_can():
  classes = Classes(("a",))
  for change, message in (
    (dict(blocks=(6, 8, 8)), r"blocks is \(6, 8, 8\); expected four"),
    (dict(width=0), "width is 0; expected a number in"),
    (dict(levels=(256,)), "the network has 3 levels"),
  ):
    options = dsod.Options(dsod.Network(**change))
    with pytest.raises(ValueError, match=message):
      dsod.make_task(options, classes)
