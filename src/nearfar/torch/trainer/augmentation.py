"""Random changes that leave a row what it is: of images, and of rows of features."""

import math
from dataclasses import dataclass

import torch
from torch.nn import functional as F


@dataclass(frozen=True)
class ImageChanges:
    """Turn, scale, shear, shift, brighten and add noise to standardised images ``(n, c, h, w)``.

    Parameters
    ----------
    strength
        0 changes nothing. 1: up to 15 degrees, a scale of 0.8 to 1.2, a shear of 0.15, a shift by
        an eighth of the size, contrast and brightness by 0.3, noise of deviation 0.1.
    flip
        Mirror half of the images left to right.
    """

    strength: float = 1.0
    flip: bool = False

    def __call__(self, images: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        def draw(*shape: int) -> torch.Tensor:
            """Numbers from -1 to 1; drawn where the generator is, for the same on any device."""
            values = torch.rand(n, *shape, generator=generator, dtype=images.dtype)
            return (2 * values - 1).to(images.device)

        n, s = len(images), self.strength
        angle, scale, shear = math.pi / 12 * s * draw(), 1 + 0.2 * s * draw(), 0.15 * s * draw()
        mirror = torch.where(draw() < 0, -1.0, 1.0).to(images) if self.flip else 1.0
        cos, sin = torch.cos(angle), torch.sin(angle)
        rows = [
            torch.stack([mirror * scale * cos, scale * (shear * cos - sin)], 1),
            torch.stack([mirror * scale * sin, scale * (shear * sin + cos)], 1),
        ]
        theta = torch.cat([torch.stack(rows, 1), 0.25 * s * draw(2, 1)], 2)  # (n, 2, 3)
        grid = F.affine_grid(theta, list(images.shape), align_corners=False)
        # The border's value goes on outside: zero would be grey, the mean of all pixels.
        moved = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
        moved = moved * (1 + 0.3 * s * draw(1, 1, 1)) + 0.3 * s * draw(1, 1, 1)
        noise = torch.randn(images.shape, generator=generator, dtype=images.dtype)
        return moved + 0.1 * s * noise.to(images.device)


@dataclass(frozen=True)
class FeatureChanges:
    """Replace a random share of the features by those of other rows of the batch.

    Parameters
    ----------
    strength
        0 changes nothing; 1 replaces 0.3 of the entries.

    Source: SCARF, Bahri et al. 2022, arXiv 2106.15147, algorithm 1, with the marginal distribution
    of the batch for that of the training rows.
    """

    strength: float = 1.0

    def __call__(self, rows: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        n, shape = len(rows), rows.shape
        flat = rows.reshape(n, -1)
        chosen = torch.rand(flat.shape, generator=generator) < 0.3 * self.strength
        others = torch.randint(n, flat.shape, generator=generator).to(rows.device)
        return torch.where(chosen.to(rows.device), flat.gather(0, others), flat).reshape(shape)
