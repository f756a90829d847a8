"""How long to wait between two looks at something that runs for seconds or for weeks."""

SHORTEST_WAIT_SECONDS = 2
LONGEST_WAIT_SECONDS = 2700


def next_wait_seconds(elapsed_seconds: float, bytes_done: int, bytes_total: int) -> int:
    """The wait before the next look: half of what remains at the rate so far.

    Halving comes close to the end in few looks without overshooting it. The wait is never above
    half of the time elapsed, because the rate of the first seconds says little: a snapshot writes
    its smallest files first. It is never below one percent of the time elapsed, so that the number
    of looks grows with the logarithm of the duration: a steady snapshot of two weeks takes less
    than 500 looks of nine history events each, and one whose estimate of the rest never settles
    less than 1,200; an execution holds 25,000 events.

    Args:
        elapsed_seconds: since the start.
        bytes_done: copied so far.
        bytes_total: to be copied in all; 0 while unknown.

    Returns:
        Whole seconds, between `SHORTEST_WAIT_SECONDS` and `LONGEST_WAIT_SECONDS`.
    """
    wait_seconds = elapsed_seconds / 2
    if 0 < bytes_done <= bytes_total:
        wait_seconds *= min(1, (bytes_total - bytes_done) / bytes_done)
    floor_seconds = max(SHORTEST_WAIT_SECONDS, elapsed_seconds / 100)
    return round(min(max(wait_seconds, floor_seconds), LONGEST_WAIT_SECONDS))
