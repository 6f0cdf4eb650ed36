"""The rows of a report as small images, all in one picture: a page of thousands stays small."""

import base64
import io
import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

_SHOWN = 56  # pixels of a side on the page
_MOST_BYTES = 2_500_000


@dataclass(frozen=True)
class Thumbnails:
    """One picture of all rows, line by line, as text for a page, and where each row is in it."""

    uri: str
    places: list[str]  # (n,) as CSS has offsets
    width: int  # of a row on the page
    height: int
    sheet: str  # the picture's size on the page, as CSS has it


def thumbnails(images: NDArray[np.uint8]) -> Thumbnails:
    """Put images (n, height, width) or (n, height, width, 3) into one picture, smaller if large."""
    n, height, width = images.shape[:3]
    columns = math.ceil(math.sqrt(n))
    lines = math.ceil(n / columns)
    sheet = np.zeros((lines * height, columns * width, *images.shape[3:]), np.uint8)
    for k, image in enumerate(images):
        y, x = k // columns * height, k % columns * width
        sheet[y : y + height, x : x + width] = image
    enlarged = max(1, round(_SHOWN / max(height, width)))
    step = (width * enlarged, height * enlarged)
    places = [f"-{k % columns * step[0]}px -{k // columns * step[1]}px" for k in range(n)]
    size = f"{columns * step[0]}px {lines * step[1]}px"
    return Thumbnails(_encoded(Image.fromarray(sheet)), places, *step, size)


def _encoded(sheet: Image.Image) -> str:
    """Lossless where that is small, else as JPEG, at last with fewer pixels."""
    out = io.BytesIO()
    sheet.save(out, format="png", optimize=True)
    kind = "png"
    while out.tell() > _MOST_BYTES:
        if kind == "jpeg":
            sheet = sheet.resize((sheet.width * 3 // 4, sheet.height * 3 // 4))
        kind, out = "jpeg", io.BytesIO()
        sheet.save(out, format="jpeg", quality=70)
    return f"data:image/{kind};base64,{base64.b64encode(out.getvalue()).decode()}"
