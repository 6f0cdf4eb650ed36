"""What many tests share: the frameworks, the losses and their inputs, the bounds of agreement."""
