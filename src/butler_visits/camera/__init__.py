"""Cameras: their model, their file formats, and which one applies to an exposure."""

from .lookup import CameraFinder
from .model import Camera

__all__ = ["Camera", "CameraFinder"]
