"""Two ways to a loss of several prefixes in bare products, exponentials and sums, without masks:
L = sum over prefixes of the mean over rows i of log sum_{j != i} exp(s_ij).

An exact method visits every pair twice, since a row's sum has to be known before its slopes are.
`by_itself` takes one prefix after another and keeps exponentials in between, as far as 64 MiB
hold them. `products_once` adds up the products of the features from prefix to prefix, and joins the
gradients of all prefixes into one product for every block of features. A cosine's prefixes have
norms of their own there: each tile is multiplied by those of its rows and columns, and what the
gradient has along a row is the sum of the row's slopes times its products.
"""

from collections.abc import Iterator

import torch

Tensor = torch.Tensor

TEMPERATURE = 0.1
SIDE = 384
KEPT = 2**26 // 4
"""Numbers that may be kept from the first visit."""

_room: dict[str, Tensor] = {}


def _tile(name: str, rows: slice, columns: slice) -> Tensor:
    if name not in _room:
        _room[name] = torch.empty(KEPT if name == "kept" else SIDE * SIDE)
    shape = rows.stop - rows.start, columns.stop - columns.start
    return _room[name][: shape[0] * shape[1]].view(shape)


def _tiles(n: int) -> Iterator[tuple[slice, slice]]:
    """Half of all."""
    blocks = [slice(k, min(k + SIDE, n)) for k in range(0, n, SIDE)]
    return ((a, b) for k, a in enumerate(blocks) for b in blocks[: k + 1])


def _add_sums(sums: Tensor, tile: Tensor, i: slice, j: slice) -> None:
    sums[i] += tile.sum(1)
    if i != j:
        sums[j] += tile.sum(0)


def _add_products(gradient: Tensor, tile: Tensor, p: Tensor, i: slice, j: slice) -> None:
    gradient[i].addmm_(tile, p[j])
    if i != j:
        gradient[j].addmm_(tile.T, p[i])


def _exponentials(logits: Tensor, i: slice, j: slice, out: Tensor) -> Tensor:
    torch.exp(logits, out=out)
    return out.fill_diagonal_(0) if i == j else out


def one_prefix(z: Tensor, cosine: bool) -> tuple[Tensor, Tensor]:
    """Value, and gradient by the rows."""
    factor = (1 / z.norm(dim=1, keepdim=True) if cosine else 1) * TEMPERATURE**-0.5
    p, n = z * factor, len(z)
    sums, gradient, kept, used = torch.zeros(n), torch.zeros_like(p), {}, 0
    for i, j in _tiles(n):
        tile = _tile("tile", i, j)
        if used + tile.numel() <= KEPT:
            _tile("kept", i, j)
            tile = _room["kept"][used : used + tile.numel()].view(tile.shape)
            kept[i.start, j.start] = tile
            used += tile.numel()
        torch.mm(p[i], p[j].T, out=tile)
        _add_sums(sums, _exponentials(tile, i, j, tile), i, j)
    slopes = 1 / (n * sums)
    for i, j in _tiles(n):
        tile = kept.get((i.start, j.start))
        if tile is None:
            tile = torch.mm(p[i], p[j].T, out=_tile("tile", i, j))
            _exponentials(tile, i, j, tile)
        weights = torch.add(slopes[i, None], slopes[j], out=_tile("weights", i, j)).mul_(tile)
        _add_products(gradient, weights, p, i, j)
    if cosine:
        gradient -= p * (gradient * p).sum(1, keepdim=True) * TEMPERATURE
    return sums.log().mean(), gradient * factor


def by_itself(z: Tensor, dims: tuple[int, ...], cosine: bool) -> tuple[Tensor, Tensor]:
    value, gradient = torch.zeros(()), torch.zeros_like(z)
    for features in dims:
        one, some = one_prefix(z[:, :features], cosine)
        value += one
        gradient[:, :features] += some
    return value, gradient


class _Once:
    """Products of the rows as the largest prefix scales them."""

    def __init__(self, z: Tensor, dims: tuple[int, ...], cosine: bool) -> None:
        norms = [z[:, :end].norm(dim=1) for end in dims] if cosine else []
        self.factor = (1 / norms[-1][:, None] if cosine else 1) * TEMPERATURE**-0.5
        self.p = z * self.factor
        self.scales = [norms[-1] / x for x in norms[:-1]]
        """What the rows of every smaller prefix are multiplied by."""
        cuts = zip((0, *dims), dims, strict=False)
        self.blocks = [self.p[:, start:end].contiguous() for start, end in cuts]

    def __iter__(self) -> Iterator[int]:
        return iter(range(len(self.blocks)))

    def scaled(self, k: int) -> bool:
        return k < len(self.scales)

    def exponentials(self, k: int, products: Tensor, i: slice, j: slice) -> Tensor:
        """Of a prefix, and `products` are its own then."""
        products.addmm_(self.blocks[k][i], self.blocks[k][j].T, beta=int(k > 0))
        logits, out = products, _tile("exponentials", i, j)
        if self.scaled(k):
            x = self.scales[k]
            logits = torch.outer(x[i], x[j], out=out).mul_(products)
        return _exponentials(logits, i, j, out)

    def weights(self, k: int, slopes: Tensor, i: slice, j: slice) -> Tensor:
        out = _tile(f"weights {k}", i, j)
        if not self.scaled(k):
            return torch.add(slopes[i, None], slopes[j], out=out)
        x = self.scales[k]
        left = torch.stack([slopes[i] * x[i], x[i]], 1)
        return torch.mm(left, torch.stack([x[j], slopes[j] * x[j]]), out=out)


def products_once(z: Tensor, dims: tuple[int, ...], cosine: bool) -> tuple[Tensor, Tensor]:
    once, n = _Once(z, dims, cosine), len(z)
    sums = [torch.zeros(n) for _ in dims]
    for i, j in _tiles(n):
        for k in once:
            _add_sums(sums[k], once.exponentials(k, _tile("products", i, j), i, j), i, j)
    slopes = [1 / (n * x) for x in sums]
    gradients = [torch.zeros_like(x) for x in once.blocks]
    along = [torch.zeros(n) for _ in once.scales]
    for i, j in _tiles(n):
        products, weighted = _tile("products", i, j), []
        for k in once:
            found = once.exponentials(k, products, i, j)
            weighted.append(once.weights(k, slopes[k], i, j).mul_(found))
            if once.scaled(k):
                _add_sums(along[k], torch.mul(weighted[k], products, out=found), i, j)
        for k in reversed(list(once)):
            if k + 1 < len(weighted):
                weighted[k] += weighted[k + 1]
            _add_products(gradients[k], weighted[k], once.blocks[k], i, j)
    gradient = torch.cat(gradients, 1)
    if cosine:
        along.append((gradient * once.p).sum(1) - sum(along))
        for end, x in zip(dims, along, strict=True):
            some = once.p[:, :end]
            gradient[:, :end] -= some * (x / (some**2).sum(1))[:, None]
    return sum((x.log().mean() for x in sums), torch.zeros(())), gradient * once.factor


def check(dims: tuple[int, ...], cosine: bool) -> None:
    """Raise where either is not the loss that both say they are."""
    z = torch.randn(500, dims[-1], generator=torch.Generator().manual_seed(3))
    z *= 1 if cosine else 0.1
    leaf = z.double().requires_grad_()
    value = torch.zeros((), dtype=leaf.dtype)
    for features in dims:
        some = leaf[:, :features]
        some = torch.nn.functional.normalize(some, dim=1) if cosine else some
        logits = (some @ some.T / TEMPERATURE).fill_diagonal_(-torch.inf)
        value = value + logits.logsumexp(1).mean()
    value.backward()
    for method in (by_itself, products_once):
        found, gradient = method(z, dims, cosine)
        torch.testing.assert_close(found.double(), value.detach(), rtol=1e-5, atol=0)
        worst = (gradient - leaf.grad).abs().max() / leaf.grad.abs().max()
        if worst > 1e-5:
            raise AssertionError(f"{method.__name__}: a gradient that is off by {worst:.1e}")
