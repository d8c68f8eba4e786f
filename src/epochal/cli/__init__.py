"""The command line: one file for each verb. The only room that prints."""
