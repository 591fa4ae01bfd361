"""Which badge a number of completed units earns."""


def level(completed, levels):
    """The highest level reached, or None."""
    reached = [(needed, name) for name, needed in levels.items() if completed >= needed]
    return max(reached)[1] if reached else None
