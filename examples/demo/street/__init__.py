"""Procedural street scenes with pixel labels, in two looks of the same world."""

from .canvas import CLASSES, COLOURS, HEIGHT, IGNORE, LOOKS, WIDTH
from .light import render

__all__ = ["CLASSES", "COLOURS", "HEIGHT", "IGNORE", "LOOKS", "WIDTH", "render"]


