"""A report a day as CSV: a row for each interval and node, with mean, least and greatest.

    - id: daily_csv
      type: universal_action
      parameters:
        monitored_nodes: [co2_concentration]
        driver:
          type: python
          config:
            script_path: user_scripts/daily_csv.py
            allowed_imports: [csv, datetime, io, pathlib, statistics]
            file_access: ["/var/lib/spectrophone/reports:rw"]
            python_config: {directory: /var/lib/spectrophone/reports, interval_s: 600, keep_days: 400}

Today's file is 2026-11-23.csv.part; when the day (UTC) is over it gets its name 2026-11-23.csv in one step, so that
whoever fetches *.csv never sees half a report. Beyond keep_days the oldest go. Invalid measurements do not count. The
uncertainty is the mean of those of the measurements, since what a calibration is off by does not average out.
"""

import csv
from datetime import UTC, datetime
from io import StringIO
from pathlib import Path
from statistics import fmean

HEADER = ("from", "node", "measurements", "mean_ppm", "uncertainty_ppm", "min_ppm", "max_ppm")
values = {}  # of the interval that runs: by node, concentrations and uncertainties


def initialize(config):
    global settings, began
    settings, began = config, 0


def on_measurement(measurement):
    global began
    now = measurement["timestamp"] // settings["interval_s"] * settings["interval_s"]
    if now != began:
        write()
        began = now
    if measurement["valid"] and measurement["concentration_ppm"] is not None:
        pair = measurement["concentration_ppm"], measurement["uncertainty_ppm"]
        values.setdefault(measurement["source_node_id"], []).append(pair)


def write():
    """Add the interval to its day's file, and give the files of past days their names."""
    time, directory = datetime.fromtimestamp(began, UTC), Path(settings["directory"])
    if values:
        day, text = directory / f"{time.date()}.csv.part", StringIO()
        rows = csv.writer(text, lineterminator="\n")
        rows.writerows([] if day.exists() else [HEADER])
        for node, pairs in values.items():
            ppm, sigma = zip(*pairs, strict=True)
            numbers = (fmean(ppm), fmean(sigma), min(ppm), max(ppm))
            rows.writerow((time.isoformat(), node, len(ppm), *(f"{number:.3f}" for number in numbers)))
        with day.open("a") as file:
            file.write(text.getvalue())
        values.clear()
    for whole in sorted(directory.glob("*.csv.part"))[:-1]:
        whole.rename(whole.with_suffix(""))
    for old in sorted(directory.glob("*.csv"))[: -settings["keep_days"]]:
        old.unlink()


def shutdown():
    write()
