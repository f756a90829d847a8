"""Draws the figures of `bench.write_stop` as `bench/write_stop.svg`."""

import matplotlib as mpl
from matplotlib import pyplot as plt

from bench.results import CHURNS, FILE, TITLES, Results

_SHADES = ("#b9d4ee", "#6fa3d8", "#1f5fa8")
_INCHES = (11, 6)
_BAR = 0.27


def main() -> None:
    """Draw a bar for each contender and size, a panel for each churn."""
    results = Results.load()
    # The same figures give the same file.
    mpl.rcParams |= {"svg.hashsalt": "bench", "svg.fonttype": "none", "font.size": 9}
    figure, panels = plt.subplots(1, len(CHURNS), figsize=_INCHES, sharey=True, layout="tight")
    for panel, (churn, title) in zip(panels, CHURNS.items(), strict=True):
        figures = getattr(results, churn)
        for number, (size, shade) in enumerate(zip(figures.sizes_bytes, _SHADES, strict=True)):
            bars = panel.barh(
                [row + (number - 1) * _BAR for row in range(len(TITLES))],
                [figures.write_stop_seconds[contender][number] for contender in TITLES],
                height=_BAR,
                color=shade,
                label=f"{size / 1e6:.0f} MB",
            )
            panel.bar_label(bars, fmt="%.1f s", padding=3)
        panel.set_title(title)
        panel.set_xlabel("seconds without writes")
        panel.margins(x=0.15)
        panel.legend(loc="lower right", frameon=False)
        panel.spines[["top", "right"]].set_visible(False)
    panels[0].set_yticks(range(len(TITLES)), TITLES.values())
    panels[0].invert_yaxis()
    figure.savefig(FILE.with_name("write_stop.svg"), metadata={"Date": None})


if __name__ == "__main__":
    main()
