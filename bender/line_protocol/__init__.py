"""The line protocol: events and renewals in lines of JSON, for `nc` and for programs of ten lines."""
