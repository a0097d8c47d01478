"""Strict numbers, checked shapes, two virtual devices."""

import tempfile
from pathlib import Path

import jax
import jaxtyping
import pytest

# Before anything of the package is imported: shapes are checked at every call.
jaxtyping.install_import_hook("yolo9000", "beartype.beartype")

jax.config.update("jax_num_cpu_devices", 2)
# Many tests compile the same programs.
jax.config.update("jax_compilation_cache_dir", tempfile.mkdtemp())
jax.config.update("jax_persistent_cache_min_compile_time_secs", 0)
jax.config.update("jax_numpy_dtype_promotion", "strict")
jax.config.update("jax_numpy_rank_promotion", "raise")

SHARED = Path(__file__).parents[2] / "shared"


@pytest.fixture
def shared():
  """The folder with real pictures and recorded numbers, if it is there."""
  if not SHARED.is_dir():
    pytest.skip(f"{SHARED} is not here")
  return SHARED


@pytest.fixture(scope="module")
def libraries_promote():
  """Optax and Flax promote dtypes inside; the package's files need not.

  Set for all threads: the loop compiles in one of its own.
  """
  jax.config.update("jax_numpy_dtype_promotion", "standard")
  yield
  jax.config.update("jax_numpy_dtype_promotion", "strict")
