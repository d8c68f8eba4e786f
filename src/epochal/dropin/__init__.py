"""The calls of trackers that people come from: change the import, keep the script."""
