"""The loss as it is published for PyTorch: textbook Lovász-Softmax (Berman et al. 2018) and OHEM as in HRNet's code.

What the benchmark compares with, kept as people use it: one sort per class, autograd for the gradient.
"""

import torch
import torch.nn.functional as F


def lovasz_grad(sorted_foreground):
    """δ as the difference of neighbouring Jaccard losses."""
    total = sorted_foreground.sum()
    intersection = total - sorted_foreground.cumsum(0)
    union = total + (1 - sorted_foreground).cumsum(0)
    jaccard = 1.0 - intersection / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1].clone()
    return jaccard


def lovasz_of_rows(probabilities, labels):
    """Lovász-Softmax of valid pixels, `[P, C]` and `[P]`, over the classes present."""
    losses = []
    for c in range(probabilities.shape[1]):
        foreground = (labels == c).to(probabilities.dtype)
        if foreground.sum() == 0:
            continue
        errors, order = torch.sort((foreground - probabilities[:, c]).abs(), 0, descending=True)
        losses.append(torch.dot(errors, lovasz_grad(foreground[order])))
    return torch.stack(losses).mean()


def lovasz_softmax(probabilities, labels, ignore=255):
    flat = probabilities.permute(0, 2, 3, 1).reshape(-1, probabilities.shape[1])
    labels = labels.reshape(-1)
    valid = labels != ignore
    return lovasz_of_rows(flat[valid], labels[valid])


def lovasz_hinge(logits, labels):
    """Of one channel, `[P]` each."""
    foreground = labels.to(logits.dtype)
    errors, order = torch.sort(1 - logits * (2 * foreground - 1), 0, descending=True)
    return torch.dot(F.relu(errors), lovasz_grad(foreground[order]))


def ohem_cross_entropy(logits, labels, threshold=0.6, min_kept=None, ignore=255):
    min_kept = labels.numel() // 16 if min_kept is None else min_kept
    probabilities = F.softmax(logits, 1)
    losses = F.cross_entropy(logits, labels, ignore_index=ignore, reduction="none").reshape(-1)
    mask = labels.reshape(-1) != ignore
    own = labels.clone()
    own[own == ignore] = 0
    scores = probabilities.gather(1, own.unsqueeze(1)).reshape(-1)[mask]
    scores, order = scores.sort()
    cut = max(scores[min(min_kept, scores.numel() - 1)].item(), threshold)
    return losses[mask][order][scores < cut].mean()


def ohem_lovasz(logits, labels):
    return ohem_cross_entropy(logits, labels) + lovasz_softmax(F.softmax(logits, 1), labels)


def loss_and_gradient(logits, labels):
    logits = logits.detach().requires_grad_(True)
    loss = ohem_lovasz(logits, labels)
    loss.backward()
    return loss.detach(), logits.grad
