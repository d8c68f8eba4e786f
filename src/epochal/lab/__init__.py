"""The lab: train a family of networks and keep what became of each."""
