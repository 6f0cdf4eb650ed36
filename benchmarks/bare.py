"""InfoNCE over a batch and its hard negatives in bare operations: what an exact gradient cannot do
without, on one matrix of all pairs and with nothing asked of the inputs."""

import torch

import nearfar as nf

_TEMPERATURE = 0.05


def ranking(
    query: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor
) -> tuple[torch.Tensor, tuple[torch.Tensor, torch.Tensor, torch.Tensor]]:
    """Value and gradients, of cosines that are never so large that exponentials want a shift."""
    n = len(query)
    documents = torch.cat([positive, negative])
    scales = [1 / torch.linalg.vector_norm(z, dim=1, keepdim=True) for z in (query, documents)]
    a, b = query * scales[0], documents * scales[1]
    logits = (a / _TEMPERATURE) @ b.T
    own = (a * b[:n]).sum(1) / _TEMPERATURE
    weights = logits.exp_()
    total = weights.sum(1)
    value = (total.log() - own).mean()
    weights.mul_((1 / (n * _TEMPERATURE * total))[:, None])
    of_a, of_b = weights @ b, weights.T @ a
    of_a.sub_(b[:n], alpha=1 / (n * _TEMPERATURE))
    of_b[:n].sub_(a, alpha=1 / (n * _TEMPERATURE))
    for g, unit, scale in zip((of_a, of_b), (a, b), scales, strict=True):
        g.addcmul_(unit, (g * unit).sum(1, keepdim=True), value=-1).mul_(scale)
    return value, (of_a, of_b[:n], of_b[n:])


def check(query: torch.Tensor, positive: torch.Tensor, negative: torch.Tensor) -> None:
    """Raises where that is not nearfar's loss."""
    loss = nf.InfoNCE(temperature=_TEMPERATURE, in_batch="always", own="all")
    value, gradients = loss.value_and_grad(query, positive, negative[:, None])
    found, others = ranking(query, positive, negative)
    torch.testing.assert_close(found, value)
    for x, y in zip(others, gradients, strict=True):
        torch.testing.assert_close(x, y.reshape(x.shape), rtol=1e-4, atol=1e-8)
