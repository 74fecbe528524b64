"""How the embedded model was made: a textbook latent diffusion model, small enough for two cores.

Read in this order: ``world`` (what there is), ``sprites`` and ``scenes`` (pictures of it),
``captions`` (words for them), ``tokenizer``, ``autoencoder`` (pictures ⇄ latents), ``text`` (words
→ vectors), ``diffusion`` (noise → latents, guided by the words), ``decoder`` (its latents →
sharper pictures), ``judge`` and ``evaluate`` (does it draw what is asked?), ``export`` (the shipped
folder). ``loop`` and ``optimizer`` are the machinery under all of them.
"""
