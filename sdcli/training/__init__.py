"""Train the embedded model, a small latent diffusion model, on two CPU cores.

The modules in reading order: `concepts` (the objects, colors and backgrounds), `sprites`,
`backgrounds` and `scenes` (images of them), `captions` (texts for the images), `tokenizer`,
`autoencoder` (images to latents and back), `text_encoder` (captions to vectors), `diffusion` (noise
to latents, guided by the captions), `decoder_finetune` (sharper images from the UNet's latents),
`judge`, `match_quality`, `heldout` and `evaluate` (quality), `report` and `contact_sheet` (results)
and `export` (the model folder). All stages use `loop` and `optimizer`.
"""
