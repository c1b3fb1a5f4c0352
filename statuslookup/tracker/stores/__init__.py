"""Where a tracker keeps its messages: what a store is, and two of them."""
