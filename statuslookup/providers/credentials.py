"""What is wrong with credentials, found without showing them, before a provider refuses them."""

from .._wire import Secret


def flaw_of(secret: Secret) -> str | None:
    """Say what was copied along with a token, or in place of it, without any part of it."""
    if not secret.reveal():
        return "it is empty"
    if has_line_break(secret.reveal()):
        return "there is a line break in it"
    if set(secret.reveal()) & set("\"'`"):
        return "there are quotes in it"
    if set(secret.reveal()) & set("<>"):
        return "this is what stands for it in an example"
    return None


def has_line_break(text: str) -> bool:
    """Tell whether a line break was copied along: the end of a file or of a command's output."""
    return "\n" in text or "\r" in text
