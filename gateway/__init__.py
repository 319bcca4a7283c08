"""Spectrophone: the gateway of a photoacoustic sensor box. Start at gateway/loop.py."""
