"""The frame of every service under `twistd`: options, how it starts and ends, signals, and its log."""
