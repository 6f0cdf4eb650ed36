"""Functions are held against the same conventions on the same batches, computed once for all."""

from support import conventions

conventions.share()
