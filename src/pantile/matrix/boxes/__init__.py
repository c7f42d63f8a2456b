"""Evenly spaced boxes of patches, which Fourier transforms and lags can work on."""
