"""Cameras: their model, their file formats and their parity; no Butler."""

from .model import Camera

__all__ = ["Camera"]
