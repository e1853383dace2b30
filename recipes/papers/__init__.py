"""The systems of the papers that this project builds on, one command each. Not installed."""
