"""Autoencoder: principal components, laws of codes, and what can be scored."""

TINY = ["model.latent_dim=1", "model.encoder.width=8", "model.decoder.width=8"]
