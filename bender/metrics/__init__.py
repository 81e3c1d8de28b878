"""What nodes and drivers count and how it is shown to Prometheus: plain numbers, and their text.

The code that does the work counts in plain numbers, which cost next to nothing; they become metrics when they are
asked for, and there is no second book of them.
"""
