"""The trainer behind ``nearfar fit --encoder``: encoders, augmentation, epochs."""
