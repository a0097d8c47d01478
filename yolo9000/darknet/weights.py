"""The original program's .weights files, and batch norm between programs.

A file holds a header and then, row by row of the network's table, float32
numbers of the layers that have any:

  convolutional  biases; with batch norm, whose biases they are then, scales,
                 means, variances; kernels [filter][channel][y][x].
  connected      biases; weights [output][input]; with batch norm scales, means,
                 variances. The input is a picture's numbers by channel, y, x.
  local          biases [filter][y][x]; weights [place][filter][channel][y][x].

Source: load_weights_upto and save_weights_upto in parser.c.
"""

from __future__ import annotations

import logging
import math
import struct
from collections.abc import Callable, Iterator, Sequence
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from yolo9000.files import FileError, write_whole
from yolo9000.networks.rows import (
  Connected,
  Conv,
  Layer,
  Local,
  Network,
  Shape,
  layer_name,
)
from yolo9000.networks.shapes import output_shapes

logger = logging.getLogger("yolo9000")

Variables = dict[str, Any]  # params and batch_stats, as Flax has them


class Header(NamedTuple):
  """The first 20 bytes; before version 0.2, of 2017, the first 16.

  `seen` counts the pictures that the weights were trained on.
  """

  major: int = 0
  minor: int = 2
  revision: int = 0
  seen: int = 0

  @property
  def format(self) -> str:
    """As struct has it."""
    return "<3i" + ("Q" if self.major * 10 + self.minor >= 2 else "i")

  @property
  def transposed(self) -> bool:
    """Whether connected layers are stored [input][output]."""
    return self.major > 1000 or self.minor > 1000


class _Array(NamedTuple):
  """An array of a file: where it belongs, and how it lies there."""

  collection: str
  module: str
  name: str
  shape: Shape  # in the file
  axes: tuple[int, ...]  # of the file, in our order
  our_shape: Shape

  def from_file(self, numbers: np.ndarray) -> np.ndarray:
    """Our array of the file's numbers."""
    array = numbers.reshape(self.shape).transpose(self.axes)
    return np.ascontiguousarray(array.reshape(self.our_shape))

  def to_file(self, array: np.ndarray) -> np.ndarray:
    """The inverse of `from_file`."""
    shape = [self.shape[axis] for axis in self.axes]
    return array.reshape(shape).transpose(np.argsort(self.axes)).ravel()


def _vectors(layer: str, row: Conv | Connected, size: int) -> list[_Array]:
  """Biases and, with batch norm, scales, means and variances."""
  norm = f"{layer}_norm"
  places = [("params", norm if row.batch_norm else layer, "bias")]
  if row.batch_norm:
    places += [("params", norm, "scale")]
    places += [("batch_stats", norm, "mean"), ("batch_stats", norm, "var")]
  return [_Array(*place, (size,), (0,), (size,)) for place in places]


def _layer_arrays(
  layer: str, row: Layer, before: Shape, after: Shape, *, transposed: bool
) -> list[_Array]:
  """The arrays of one layer in the file's order."""
  match row:
    case Conv(filters, size):
      vectors = _vectors(layer, row, filters)
      shape = (filters, before[-1], size, size)
      ours = (size, size, before[-1], filters)
      kernel = _Array("params", layer, "kernel", shape, (2, 3, 1, 0), ours)
      return [*vectors, kernel]
    case Local(filters, size):
      height, width, _ = after
      patch = before[-1] * size * size
      bias = (filters, height, width)
      kernel = (height, width, filters, patch)
      return [
        _Array("params", layer, "bias", bias, (1, 2, 0), after),
        _Array(
          "params",
          layer,
          "kernel",
          kernel,
          (0, 1, 3, 2),
          (height, width, patch, filters),
        ),
      ]
    case Connected(outputs):
      vectors = _vectors(layer, row, outputs)
      planar = before if len(before) == 1 else (before[2], *before[:2])
      inputs = tuple(range(len(planar)))  # axes of the input in the file
      to_ours = (*inputs[1:], inputs[0])  # channels last
      if transposed:
        shape, axes = (*planar, outputs), (*to_ours, len(planar))
      else:
        shape, axes = (outputs, *planar), (*(n + 1 for n in to_ours), 0)
      ours = (math.prod(before), outputs)
      kernel = _Array("params", layer, "kernel", shape, axes, ours)
      return [vectors[0], kernel, *vectors[1:]]
  return []


def _arrays(network: Network, *, transposed: bool) -> Iterator[list[_Array]]:
  """The arrays of every layer, in the file's order."""
  table, shape = network
  shapes = [shape, *output_shapes(table, shape)]
  for index, row in enumerate(table):
    yield _layer_arrays(
      layer_name(index),
      row,
      shapes[index],
      shapes[index + 1],
      transposed=transposed,
    )


def _read_header(path: Path, data: bytes) -> Header:
  if len(data) < 16:
    raise FileError(
      f"{path}: has {len(data)} bytes; expected a header of 16 or 20"
    )
  header = Header(*struct.unpack_from("<3i", data))
  strange = not all(0 <= number < 10**6 for number in header[:3])
  if strange or len(data) < struct.calcsize(header.format):
    raise FileError(
      f"{path}: begins with {data[:12].hex(' ')}; expected version numbers "
      f"such as 0, 2, 0, in four bytes each"
    )
  return Header(*struct.unpack_from(header.format, data))


def read_weights(
  path: str | Path, network: Network, *, partial: bool, first: int = 0
) -> tuple[Variables, Header, int]:
  """Parameters and batch statistics of a network.

  Args:
    path: of the .weights file.
    network: that the file was written for.
    partial: take a file that ends after any layer, as `darknet partial` makes
      them (darknet19_448.conv.23); the later layers have no entry then.
    first: read so many layers, whatever follows them in the file; 0 for all.
      The file may be of another network that begins with the same ones.

  Returns:
    float32 NumPy variables, the header, and how many layers the file covers.

  Raises:
    FileError: if the file's length is not that of the network, naming
      the layer in which it ends and the bytes; for numbers that are not finite
      and negative variances.
  """
  path = Path(path)
  try:
    data = path.read_bytes()
  except OSError as error:
    raise FileError(f"{path}: cannot be read: {error.strerror}") from None
  header = _read_header(path, data)
  layers = list(_arrays(network, transposed=header.transposed))
  sizes = [4 * sum(math.prod(a.shape) for a in arrays) for arrays in layers]
  position = struct.calcsize(header.format)
  if first:
    layers, sizes = layers[:first], sizes[:first]

  def covers(header: int) -> int | None:
    end = min(len(data), header + sum(sizes)) if first else len(data)
    return _covered(end, header, sizes, partial and not first)

  has_upper_half = data[16:20] == bytes(4)
  fits = not first or position == 16 or has_upper_half
  covered = covers(position) if fits else None
  if covered is None and len(data) >= 20:
    # Programs of 32 bits, and some converters, write a counter of the other
    # width. Then the numbers fill the file only after the other header, and the
    # counter's upper half is 0 exactly if the header has one.
    other = "<3iQ" if position == 16 else "<3ii"
    if has_upper_half == (position == 16):
      covered = covers(struct.calcsize(other))
    if covered is not None:
      position = struct.calcsize(other)
      header = Header(*struct.unpack_from(other, data))
      logger.warning(
        "%s: is of version %d.%d, but its length is that of a header of %d "
        "bytes, and it is read so",
        path,
        header.major,
        header.minor,
        position,
      )
  if covered is None:
    raise _wrong_length(path, len(data), position, network, sizes)
  variables: Variables = {"params": {}, "batch_stats": {}}
  for index, arrays in enumerate(layers[:covered]):
    for array in arrays:
      count = math.prod(array.shape)
      numbers = np.frombuffer(data, "<f4", count, position)
      position += 4 * count
      kind = type(network.layers[index]).__name__
      where = f"{path}: layer {index} ({kind}), {array.name}"
      if not np.isfinite(numbers).all():
        raise FileError(f"{where}: holds numbers that are not finite")
      if array.name == "var" and numbers.min() < 0:
        raise FileError(
          f"{where}: holds {numbers.min()}; expected variances of 0 or more. "
          f"Is the file of another cfg?"
        )
      of_layer = variables[array.collection].setdefault(array.module, {})
      of_layer[array.name] = array.from_file(numbers)
  return variables, header, covered


def _covered(
  length: int, header: int, sizes: Sequence[int], partial: bool
) -> int | None:
  """How many layers a file of this length covers; None if it ends in one.

  Args:
    length: of the file, in bytes.
    header: bytes of its header.
    sizes: bytes of each layer.
    partial: whether it may end after any layer.
  """
  ends = [header + end for end in accumulate(sizes)]
  if length == ends[-1]:
    return len(sizes)
  return ends.index(length) + 1 if partial and length in ends else None


def _wrong_length(
  path: Path, length: int, header: int, network: Network, sizes: Sequence[int]
) -> FileError:
  ends = [header + end for end in accumulate(sizes)]
  if length > ends[-1]:
    return FileError(
      f"{path}: has {length} bytes, {length - ends[-1]} more than the "
      f"{len(ends)} layers of the network need, {ends[-1]}"
    )
  inside = next(n for n, end in enumerate(ends) if end > length)
  return FileError(
    f"{path}: has {length} bytes and ends in layer {inside} "
    f"({type(network.layers[inside]).__name__}), {ends[inside] - length} bytes "
    f"before that layer's end; all {len(ends)} layers of the network need "
    f"{ends[-1]}"
  )


def write_weights(
  path: str | Path,
  network: Network,
  variables: Variables,
  header: Header,
) -> None:
  """The inverse of `read_weights`, to the byte."""
  parts = [struct.pack(header.format, *header)]
  for arrays in _arrays(network, transposed=header.transposed):
    for array in arrays:
      ours = variables[array.collection][array.module][array.name]
      parts.append(array.to_file(np.asarray(ours, "<f4")).tobytes())
  write_whole(Path(path), b"".join(parts))


# What batch norm divides by, of the running variance.
Deviation = Callable[[Any], Any]


def epsilon_deviation(epsilon: float) -> Deviation:
  """sqrt(v + epsilon), as `networks.chain.Chain` has it."""
  return lambda variance: (variance + epsilon) ** 0.5


# The program on GPU from October 2017.
PROGRAM_EPSILON = 1e-5
gpu_deviation = epsilon_deviation(PROGRAM_EPSILON)


def cpu_deviation(variance: Any) -> Any:
  """sqrt(v) + 1e-6: the program on CPU, and everywhere before that."""
  return variance**0.5 + 1e-6


def change_deviation(
  variables: Variables, old: Deviation, new: Deviation
) -> Variables:
  """The same outputs from a program whose batch norm divides by `new`.

  The scales take up the difference, exactly; statistics stay as they are.
  """
  params = dict(variables["params"])
  for name, stats in variables["batch_stats"].items():
    ratio = new(stats["var"]) / old(stats["var"])
    params[name] = {**params[name], "scale": params[name]["scale"] * ratio}
  return {**variables, "params": params}


def fold(
  layers: Sequence[Layer], variables: Variables, deviation: Deviation
) -> tuple[tuple[Layer, ...], Variables]:
  """The same network without batch norm: its kernels and biases take it in.

  Equal up to rounding for predictions; it cannot be trained further.
  """
  params = dict(variables["params"])
  table = []
  for index, row in enumerate(layers):
    if isinstance(row, (Conv, Connected)) and row.batch_norm:
      layer = layer_name(index)
      norm, stats = (
        params.pop(f"{layer}_norm"),
        variables["batch_stats"][f"{layer}_norm"],
      )
      factor = norm["scale"] / deviation(stats["var"])
      params[layer] = {
        "kernel": params[layer]["kernel"] * factor,
        "bias": norm["bias"] - stats["mean"] * factor,
      }
      row = row._replace(batch_norm=False)
    table.append(row)
  return tuple(table), {"params": params}
