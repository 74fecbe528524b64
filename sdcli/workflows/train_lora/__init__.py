"""Train a LoRA on a folder of images with captions."""
