"""InfoNCE as two repositories write it, from a note."""

import torch
import torch.nn.functional as F


def moco(q, k, queue, T=0.07):
    """Logits and labels, for cross-entropy outside."""
    q, k, queue = F.normalize(q, dim=1), F.normalize(k, dim=1), F.normalize(queue, dim=1)
    l_pos = torch.einsum("nc,nc->n", q, k).unsqueeze(-1)
    l_neg = torch.einsum("nc,kc->nk", q, queue)
    logits = torch.cat([l_pos, l_neg], dim=1) / T
    return logits, torch.zeros(logits.shape[0], dtype=torch.long)


def hcl_pseudocode(out_1, out_2, temperature=0.5, tau_plus=0.1, beta=1.0):
    """As the paper's pseudo-code has it: weights are beta times the exponentials."""
    n = len(out_1)
    out_1, out_2 = F.normalize(out_1, dim=1), F.normalize(out_2, dim=1)
    out = torch.cat([out_1, out_2])
    neg = torch.exp(out @ out.T / temperature)
    mask = ~torch.eye(n, dtype=torch.bool).repeat(2, 2)
    neg = neg.masked_select(mask).view(2 * n, -1)
    pos = torch.exp((out_1 * out_2).sum(dim=1) / temperature).repeat(2)
    size = 2 * n - 2
    weights = beta * neg / neg.mean(dim=1, keepdim=True)
    reweighted = (weights * neg).sum(dim=1)
    estimate = (-tau_plus * size * pos + reweighted) / (1 - tau_plus)
    estimate = torch.clamp(estimate, min=size * torch.e ** (-1 / temperature))
    return (-torch.log(pos / (pos + estimate))).mean()
