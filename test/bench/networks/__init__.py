"""Segmentation networks for the benchmark, in plain PyTorch: no packages of models, weights random but sane.

Each builder takes the number of classes and returns a module whose forward gives logits `[N, C, h, w]`, true to its
published architecture; check_networks.py compares them with exported models.
"""

from .table import NETWORKS, build, classes_of, folded

__all__ = ["NETWORKS", "build", "classes_of", "folded"]
