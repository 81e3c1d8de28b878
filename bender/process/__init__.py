"""What every service under `twistd` needs around it: options, how it starts and ends, signals, and its log."""
