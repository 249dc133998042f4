"""The loss of the PyTorch side: OHEM cross-entropy and Lovász as commonly published, with sorts, masks and autograd.

A one-channel head has the binary cross-entropy under the same mining and the Lovász hinge.
"""

import torch
import torch.nn.functional as F


def textbook_loss(logits, labels, lovasz, threshold=0.6, min_kept=1 / 16):
    if logits.shape[2:] != labels.shape[1:]:
        logits = F.interpolate(logits, labels.shape[1:], mode="bilinear", align_corners=False)
    valid = (labels != 255).flatten()
    binary = logits.shape[1] == 1
    if binary:
        rows, truth = logits.flatten()[valid], labels.flatten()[valid]
        losses = F.binary_cross_entropy_with_logits(rows, truth.float(), reduction="none")
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
    return total + lovasz_softmax(rows, labels.flatten()[valid])


def lovasz_weights(sorted_truth):
    """The difference of neighbouring Jaccard losses."""
    intersection = sorted_truth.sum() - sorted_truth.cumsum(0)
    union = sorted_truth.sum() + (1 - sorted_truth).cumsum(0)
    jaccard = 1 - intersection / union
    jaccard[1:] = jaccard[1:] - jaccard[:-1]
    return jaccard


def lovasz_softmax(rows, truth):
    terms = []
    for index in range(rows.shape[1]):
        foreground = (truth == index).float()
        if foreground.sum() == 0:
            continue
        errors, order = (foreground - rows[:, index]).abs().sort(descending=True)
        terms.append(torch.dot(errors, lovasz_weights(foreground[order])))
    return torch.stack(terms).mean()


def lovasz_hinge(rows, truth):
    foreground = truth.float()
    errors, order = (1 - rows * (2 * foreground - 1)).sort(descending=True)
    return torch.dot(F.relu(errors), lovasz_weights(foreground[order]))
