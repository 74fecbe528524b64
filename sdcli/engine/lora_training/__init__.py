"""Train a LoRA with PEFT and the training objective of Diffusers."""
