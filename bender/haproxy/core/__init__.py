"""The driver's decisions about HAProxy: values and pure functions, which get the time as an argument."""
