"""How fast the server answers, and what it costs."""
