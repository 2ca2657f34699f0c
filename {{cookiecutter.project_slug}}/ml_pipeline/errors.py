"""What every command answers in one line, without a traceback."""


class InputError(ValueError):
    """Something given that cannot be used; the message names the place, the value and the remedy."""
