"""The loss of the PyTorch side: OHEM cross-entropy and Lovász as commonly published, with sorts, masks and autograd.

A one-channel head has the binary cross-entropy under the same mining and the Lovász hinge.
"""

import torch
import torch.nn.functional as F
from loss_reference import lovasz_hinge, lovasz_of_rows


def textbook_loss(logits, labels, lovasz, threshold=0.6, min_kept=1 / 16):
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    valid = (labels != 255).flatten()
    binary = logits.shape[1] == 1
    if binary:
        rows, truth = logits.flatten()[valid], labels.flatten()[valid]
        losses = F.binary_cross_entropy_with_logits(rows, truth.to(rows.dtype), reduction="none")
        scores = torch.sigmoid(rows.detach() * (2 * truth - 1))
    else:
        losses = F.cross_entropy(logits, labels, ignore_index=255, reduction="none").flatten()[valid]
        probabilities = torch.softmax(logits, 1)
        scores = probabilities.detach().gather(1, labels.where(labels != 255, 0).unsqueeze(1)).flatten()[valid]
    k = min(int(labels.numel() * min_kept), scores.numel() - 1)
    cut = max(scores.sort().values[k].item(), threshold)
    total = losses[scores < cut].mean()
    if not lovasz:
        return total
    if binary:
        return total + lovasz_hinge(rows, truth)
    rows = probabilities.permute(0, 2, 3, 1).reshape(-1, logits.shape[1])[valid]
    return total + lovasz_of_rows(rows, labels.flatten()[valid])
