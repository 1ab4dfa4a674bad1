"""Readers of providers' exports: a file for each provider, after its public description."""
