"""The line protocol: events and renewals, a line each, for `nc` and for programs of ten lines."""
