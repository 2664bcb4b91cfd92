"""The command line: one file per command, each importing its heavy parts only when it runs."""
