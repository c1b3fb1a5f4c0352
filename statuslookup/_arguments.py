"""What an argument has to be, said before anything else is done with it."""


def check_methods(argument: str, value: object, methods: tuple[str, ...], expected: str) -> None:
    """Raise a ``TypeError`` that says what to pass, unless the value is an object with the methods."""
    if isinstance(value, type):
        raise TypeError(f"{argument} is {expected}, not {value.__name__} itself")
    if not all(callable(getattr(value, method, None)) for method in methods):
        raise TypeError(f"{argument} is {expected}, not {type(value).__name__}")
