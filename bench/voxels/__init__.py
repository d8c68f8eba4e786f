"""Blocks of voxels: turning them in the Studio, and drawing them in Python."""
