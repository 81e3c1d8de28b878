"""The common parts of all services under `twistd`: options, start and end of the process, signals, log."""
