"""The commands of the command line, a file for each, and the passphrases that two of them read."""
