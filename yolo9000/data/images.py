"""Picture files: their size, their orientation and their pixels."""

from __future__ import annotations

import io
import re
from typing import Any, NamedTuple

import cv2
import numpy as np
import PIL.Image

from yolo9000.data.disk import (
  DataError,
  cannot_be_read,
  checked_path,
  read_bytes,
  shown,
)
from yolo9000.types import UInt8

# One picture per thread is faster than one picture over all threads.
cv2.setNumThreads(0)

PICTURES = (
  *(".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".gif"),
  *(".jfif", ".jpe", ".jp2", ".dib", ".pbm", ".pgm", ".ppm", ".pnm"),
)
# More than any camera takes; a few bytes of PNG can claim to be gigapixels.
MAX_PIXELS = 100_000_000
ROTATED = (5, 6, 7, 8)  # EXIF orientations that exchange width and height


def _is_cut_off(data: bytes) -> bool:
  """Whether a JPEG or PNG lacks its end marker.

  OpenCV fills the lost part with grey and says nothing. The marker cannot occur
  inside a JPEG's last scan; before it, it may belong to a thumbnail. Damage in
  the middle of a JPEG is not seen.
  """
  if data.startswith(b"\x89PNG"):
    return b"IEND\xaeB`\x82" not in data
  if not data.startswith(b"\xff\xd8") or data.endswith(b"\xff\xd9"):
    return False
  return data.find(b"\xff\xd9", data.rfind(b"\xff\xda")) < 0


class Header(NamedTuple):
  """What a picture's first bytes say."""

  width: int  # of the stored pixels
  height: int
  orientation: int  # EXIF's, 1 to 8; 1: as stored


def read_header(file: Any, name: str) -> Header:
  """Size and orientation of a picture, without decoding it.

  Raises:
    DataError: if it is no picture or claims more than MAX_PIXELS.
  """
  try:
    with PIL.Image.open(file) as image:
      width, height = image.size
      orientation = 1
      if "exif" in image.info or image.format == "TIFF":
        orientation = image.getexif().get(0x0112, 1)
  except (PIL.Image.DecompressionBombError, PIL.Image.DecompressionBombWarning):
    width = height = MAX_PIXELS
  except Exception:  # PIL's readers raise whatever their format suggests
    raise DataError(f"{shown(name)}: not a picture that can be read") from None
  if width * height > MAX_PIXELS:
    raise DataError(
      f"{shown(name)}: the picture claims more than {MAX_PIXELS:,} pixels"
    )
  return Header(width, height, orientation)


def picture_size(name: str) -> tuple[int, int]:
  """Width and height of a file's stored pixels.

  Raises:
    DataError: if the file is missing, or as `read_header`.
  """
  try:
    with checked_path(name).open("rb") as file:
      return read_header(file, name)[:2]
  except (OSError, ImportError, ValueError) as error:
    raise cannot_be_read(name, error) from None


def deep_picture(
  data: bytes, *, oriented: bool
) -> tuple[np.ndarray, int] | None:
  """The uint16 (H, W, 3) RGB values of a picture of 16 bits, and the bits used.

  Cameras store 10, 12 or 14 bits in 16, which look black if 16 are assumed. The
  bits are those that the file tells (PNG's sBIT, TIFF's MaxSampleValue, the
  greatest value of a PGM) if its values fit into them, and otherwise the least
  of 8, 10, 12, 14 and 16 into which they fit.

  Args:
    data: the file's content.
    oriented: as in `decode`.

  Returns:
    None for a picture of another depth.
  """
  if data.startswith(b"\x89PNG"):
    can_be = data[24:25] == b"\x10"
  else:
    can_be = data.startswith((b"II*", b"MM\0", b"P", b"\0\0\0\x0cjP"))
  if not can_be:
    return None
  # OpenCV returns no colours for a TIFF of 16 bits that is asked for as RGB.
  flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH
  flags |= 0 if oriented else cv2.IMREAD_IGNORE_ORIENTATION
  image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
  if image is None or image.dtype != np.uint16:
    return None
  needed = max(8, int(image.max()).bit_length())
  bits = _told_bits(data)
  if not needed <= bits <= 16:
    bits = next(b for b in (8, 10, 12, 14, 16) if b >= needed)
  return image[..., ::-1], bits


def _told_bits(data: bytes) -> int:
  """The significant bits that a picture's file tells; 0: it does not."""
  if data.startswith(b"\x89PNG"):
    place = data.find(b"sBIT", 0, data.find(b"IDAT"))
    return data[place + 4] if place >= 0 else 0
  if data[:2] in (b"P5", b"P6", b"P2", b"P3"):
    numbers = re.findall(rb"\d+", re.sub(rb"#[^\n]*", b"", data[2:200]))
    return int(numbers[2]).bit_length() if len(numbers) > 2 else 0
  if data[:4] in (b"II*\0", b"MM\0*"):
    try:
      with PIL.Image.open(io.BytesIO(data)) as image:
        greatest = image.tag_v2.get(281, 0)  # pyright: ignore
      return int(np.max(greatest)).bit_length()
    except Exception:  # a damaged tag; PIL raises whatever it suggests
      return 0
  return 0


def decode(
  data: bytes, name: str, *, oriented: bool
) -> UInt8[np.ndarray, "H W 3"]:
  """The bytes of a picture file as RGB; grey and CMYK pictures too.

  One of 16 bits is divided as `deep_picture` tells.

  Args:
    data: the file's content.
    name: of the file, for messages.
    oriented: whether to turn it as its EXIF orientation says.

  Raises:
    DataError: if it is truncated, larger than MAX_PIXELS or no picture.
  """
  read_header(io.BytesIO(data), name)
  if _is_cut_off(data):
    raise DataError(
      f"{shown(name)}: the picture ends before its end marker",
      "truncated picture",
    )
  flags = cv2.IMREAD_COLOR_RGB
  if not oriented:
    flags |= cv2.IMREAD_IGNORE_ORIENTATION
  try:
    image = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if deep := deep_picture(data, oriented=oriented):
      values, bits = deep
      image = (values >> (bits - 8)).astype(np.uint8)
  except cv2.error:
    image = None
  if image is None:
    raise DataError(f"{shown(name)}: not a picture that OpenCV can decode")
  return image


def decode_picture(path: str) -> UInt8[np.ndarray, "H W 3"]:
  """A picture file as people see it, turned as its EXIF orientation says.

  Raises:
    DataError: if the file is missing, or as `decode`.
  """
  return decode(read_bytes(path), path, oriented=True)
