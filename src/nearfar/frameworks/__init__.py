"""Where arrays come from: the only package that imports NumPy, PyTorch, TensorFlow or JAX.

- A framework is looked at only if the program has already imported it.
- Dispatch goes by the type of the arrays, never by a setting.
- Everything above speaks array-API names through one `Namespace`, plus operations whose name ends
  in an underscore and which *may consume their first argument*: in place where that is free, a new
  array elsewhere. Always write ``x = ns.op_(x, ...)`` and never use the old ``x`` again.
"""

from nearfar.frameworks.dispatch import framework_name, glue_of, namespace_of, signature
from nearfar.frameworks.numpy import NAMESPACE as HOST
from nearfar.frameworks.protocol.elementwise import LEAST, UNSEEN
from nearfar.frameworks.protocol.feature_sum import FeatureSum, FeatureWalk
from nearfar.frameworks.protocol.glue import (
    Evaluation,
    Glue,
    Prepared,
    Residuals,
    Statement,
    register_rebuild,
    value_and_grad,
)
from nearfar.frameworks.protocol.kernels import (
    Kernel,
    KernelSlopes,
    KernelSums,
    PartitionPasses,
    Problem,
    QueryPass,
    choose,
)
from nearfar.frameworks.protocol.namespace import HOST_MEMORY, Namespace
from nearfar.frameworks.protocol.types import (
    Array,
    Block,
    BlockTuples,
    Run,
    Scratch,
    SymbolicBlocks,
)
from nearfar.frameworks.reading import missing, to_host, unwrapped

__all__ = [
    "HOST",
    "HOST_MEMORY",
    "LEAST",
    "UNSEEN",
    "Array",
    "Block",
    "BlockTuples",
    "Evaluation",
    "FeatureSum",
    "FeatureWalk",
    "Glue",
    "Kernel",
    "KernelSlopes",
    "KernelSums",
    "Namespace",
    "PartitionPasses",
    "Prepared",
    "Problem",
    "QueryPass",
    "Residuals",
    "Run",
    "Scratch",
    "Statement",
    "SymbolicBlocks",
    "choose",
    "framework_name",
    "glue_of",
    "missing",
    "namespace_of",
    "register_rebuild",
    "signature",
    "to_host",
    "unwrapped",
    "value_and_grad",
]
