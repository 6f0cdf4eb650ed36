"""TensorFlow: pure operations, eager and in graphs."""
