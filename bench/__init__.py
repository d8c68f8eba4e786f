"""Measurements, each beside its target and, where there is one, beside a peer measured in the same run."""
