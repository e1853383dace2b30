"""The HTTP server: an API over one open library."""
