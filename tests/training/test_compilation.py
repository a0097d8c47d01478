"""What commands set before anything is compiled."""

import os
import subprocess
import sys

import pytest

from yolo9000.training import compilation

CODE = """
import jax, jax.numpy as jnp, os
from yolo9000.training import compilation
compilation.set_up()
print(os.environ["XLA_FLAGS"])
x = jnp.ones((1, 8, 8, 3))
print(jax.jit(lambda x, k: jax.lax.conv_general_dilated(x, k, (1, 1), "SAME",
  dimension_numbers=("NHWC", "HWIO", "NHWC")))(x, jnp.ones((3, 3, 3, 1))).max())
"""


@pytest.mark.parametrize("own", [None, "--xla_backend_optimization_level=1"])
def test_xla_knows_the_flags_and_a_users_own_come_first(own):
  """XLA ends the process at a flag that it does not know."""
  env = {k: v for k, v in os.environ.items() if k != "XLA_FLAGS"}
  if own is not None:
    env["XLA_FLAGS"] = own
  done = subprocess.run(
    [sys.executable, "-c", CODE],
    env=env,
    capture_output=True,
    text=True,
    timeout=300,
  )
  assert done.returncode == 0, done.stderr
  flags, largest = done.stdout.split()
  assert flags == (own or compilation.CONVOLUTIONS) and float(largest) == 27
