"""httpx and httpx2, for the tests that say the same of both."""

import httpx
import httpx2
import pytest

BOTH_LIBRARIES = pytest.mark.parametrize("library", [httpx, httpx2], ids=["httpx", "httpx2"])
