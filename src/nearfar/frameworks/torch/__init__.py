"""PyTorch: operations in place and pure ones, autograd and the compiler."""
