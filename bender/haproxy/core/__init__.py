"""What is to be done to HAProxy: values and pure functions, to which time is an argument."""
