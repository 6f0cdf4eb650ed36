"""Supervised contrastive learning in PyTorch, from a note."""

import torch
from torch import nn


class SupervisedContrastiveLoss(nn.Module):
    def __init__(self, temperature=0.07):
        super().__init__()
        self.temperature = temperature

    def forward(self, projections, targets):
        projections = nn.functional.normalize(projections, dim=1)
        logits = projections @ projections.T / self.temperature
        # For the logarithm's sake.
        exp = torch.exp(logits - logits.max(dim=1, keepdim=True).values.detach()) + 1e-5
        similar = targets.unsqueeze(1).repeat(1, len(targets)) == targets
        out = 1 - torch.eye(len(targets), dtype=logits.dtype, device=logits.device)
        positives = similar * out
        count = positives.sum(dim=1)
        logs = -torch.log(exp / (exp * out).sum(dim=1, keepdim=True))
        per_sample = (logs * positives).sum(dim=1)[count > 0] / count[count > 0]
        return per_sample.mean()
