"""What every command answers in one line, without a traceback."""


class InputError(ValueError):
    """Something given that cannot be used; the message names the place, the value and the remedy."""


class CloudError(RuntimeError):
    """What AWS holds is not what it should; told in one line, exit code 1."""
