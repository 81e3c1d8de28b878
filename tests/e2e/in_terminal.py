"""`python in_terminal.py COMMAND …` runs a command in a new terminal, and closes the terminal on SIGUSR1.

Its exit status is that of the command, or 128 + N if signal N ended the command.
"""

import os
import pty
import signal
import sys

pid, terminal = pty.fork()
if pid == 0:
    os.execvp(sys.argv[1], sys.argv[1:])
signal.signal(signal.SIGUSR1, lambda *_: os.close(terminal))
try:
    while os.read(terminal, 4096):
        pass
except OSError:
    pass
status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
sys.exit(128 - status if status < 0 else status)
