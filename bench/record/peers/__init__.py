"""Epochal's recorder beside other trackers, with the same work in the same kind of process."""
