"""The server of the Studio: an app as a function, its security, its live stream."""

from epochal.server.app import make_app
from epochal.server.security import LOOPBACK_HOSTS, is_loopback, new_token
from epochal.server.serve import DEFAULT_PORT, Address, Server, serve, start_in_background

__all__ = [
    "DEFAULT_PORT",
    "LOOPBACK_HOSTS",
    "Address",
    "Server",
    "is_loopback",
    "make_app",
    "new_token",
    "serve",
    "start_in_background",
]
