"""Read PyTorch's pickled checkpoints without running, importing or trusting anything in them."""
