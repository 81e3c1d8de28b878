"""What every service under `twistd` needs around it, whatever it does: signals, and the files of the log."""
