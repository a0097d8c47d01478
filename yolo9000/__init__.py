"""YOLOv2 and YOLO9000 (arXiv 1612.08242) in JAX and Flax."""

__version__ = "0.1.0"
