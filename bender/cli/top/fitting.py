"""Fit text from the registry into the cells of a screen: escape, cut and pad it by its width in a terminal."""

from __future__ import annotations

from bender.net.escaping import escaped

#: The mark for text that is cut.
CUT = "…"


def fitted(text: str, width: int, *, right: bool = False) -> str:
    """Return text of exactly this width, with control characters escaped. Text that is cut ends with `CUT`."""
    if width <= 0:
        return ""
    text = escaped(text)
    if text.isascii():
        if len(text) > width:
            return text[: width - 1] + CUT
        return text.rjust(width) if right else text.ljust(width)
    from rich.cells import cell_len, set_cell_size  # noqa: PLC0415 - its tables are large, and names are mostly ASCII

    used = cell_len(text)
    if used > width:
        return set_cell_size(text, width - 1) + CUT
    return " " * (width - used) + text if right else text + " " * (width - used)


def width_of(text: str) -> int:
    """Return the number of terminal columns that a text takes when it is escaped."""
    if text.isascii() and text.isprintable():
        return len(text)
    from rich.cells import cell_len  # noqa: PLC0415 - see fitted

    return cell_len(escaped(text))


def age(duration_s: float) -> str:
    """Return a duration in a few characters, without fractions, so that ages are readable while they change."""
    duration_s = max(0.0, duration_s)
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "min")):
        if duration_s >= 2 * size:
            return f"{duration_s / size:.0f} {unit}"
    return f"{int(duration_s)} s"
