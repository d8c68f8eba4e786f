"""The server of the Studio: an app as a function, its security, its live stream."""
