"""Strict numbers, checked shapes, two virtual devices."""

import functools
import os
import tempfile
from pathlib import Path

import jax
import jaxlib.version
import jaxtyping
import numpy as np
import pytest

# Most of the time goes into compiling for speed that no test wants; commands
# that tests start inherit this. Without fusion emitters, and in one module, a
# step compiles in a third of the time. XLA ends at a flag that it does not
# know: jaxlib 0.11 has lost the first. With XLA_FLAGS= programs are compiled as
# for users.
FLAGS = [
  "--xla_backend_optimization_level=0",
  "--xla_cpu_parallel_codegen_split_count=1",
]
if jaxlib.version.__version_info__ < (0, 11):
  FLAGS.append("--xla_cpu_use_fusion_emitters=false")
os.environ.setdefault("XLA_FLAGS", " ".join(FLAGS))

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


@pytest.fixture(scope="session")
def goldens():
  """Recorded numbers of the original program by name, if they are there."""

  def load(name):
    path = SHARED / "reference" / "goldens" / f"{name}.npz"
    if not path.is_file():
      pytest.skip(f"{path} is not here")
    with np.load(path) as source:
      return dict(source)

  return functools.cache(load)


@pytest.fixture(scope="session")
def golden_network(tmp_path_factory):
  """Writes the program's files of a recorded network: paths of two."""

  def write(source, weights="weights"):
    folder = tmp_path_factory.mktemp("golden")
    (folder / "net.cfg").write_text(str(source["cfg"]))
    (folder / "net.weights").write_bytes(source[weights].tobytes())
    if "tree" in source:
      (folder / "golden.tree").write_text(str(source["tree"]))
    return folder / "net.cfg", folder / "net.weights"

  return write


@pytest.fixture(scope="module")
def libraries_promote():
  """Optax and Flax promote dtypes inside; the package's files need not.

  Set for all threads: the loop compiles in one of its own.
  """
  jax.config.update("jax_numpy_dtype_promotion", "standard")
  yield
  jax.config.update("jax_numpy_dtype_promotion", "strict")
