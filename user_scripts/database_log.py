"""Every measurement as a row of a database: PostgreSQL (which needs `pip install pg8000`), SQLite or InfluxDB.
Rows go every batch_s (10) seconds, and wait while the database is away.

    - id: database_log
      type: universal_action
      parameters:
        monitored_nodes: [co2_concentration]
        driver:
          type: python
          config:
            script_path: user_scripts/database_log.py
            timeout_ms: 15000
            allowed_imports: [base64, contextlib, datetime, pg8000, sqlite3, ssl, urllib]
            network: ["db.example.org:5432", "influx.example.org:8086"]
            file_access: ["/var/lib/spectrophone/log:rw"]
            python_config:
              store: postgresql                          # or sqlite, or influxdb; leave out what the others want
              postgresql: {host: db.example.org, port: 5432, database: lab, user: box, password: "${DB_PASSWORD}"}
              sqlite: {database: /var/lib/spectrophone/log/measurements.db}
              influxdb: {url: "https://influx.example.org:8086/write?db=lab", user: box, password: "${DB_PASSWORD}"}
"""

import sqlite3
import ssl
from base64 import b64encode
from contextlib import closing
from datetime import datetime
from urllib.request import Request, urlopen

NAMES = ("key", "time", "box", "source_node_id", "concentration_ppm", "uncertainty_ppm", "valid")
TABLE = """CREATE TABLE IF NOT EXISTS measurements (key VARCHAR PRIMARY KEY, time TIMESTAMPTZ, box VARCHAR,
           node VARCHAR, ppm DOUBLE PRECISION, sigma_ppm DOUBLE PRECISION, valid BOOLEAN)"""
INSERT = "INSERT INTO measurements VALUES (%s, %s, %s, %s, %s, %s, %s) ON CONFLICT (key) DO NOTHING"
rows = []


def initialize(config):
    global settings, tls, due
    settings, tls, due = config, ssl.create_default_context(cafile=config.get("ca_file")), 0


def on_measurement(measurement):
    global due
    rows.append([(measurement["metadata"] | measurement)[name] for name in NAMES])
    del rows[:-10_000]
    if measurement["timestamp"] >= due:
        due = measurement["timestamp"] + settings.get("batch_s", 10)
        shutdown()


def shutdown():
    store, batch = settings["store"], rows[:500]
    try:
        (influxdb if store == "influxdb" else sql)({"timeout": 5} | settings[store], batch)
    except Exception as error:
        said = error.args[0]["M"] if error.args and isinstance(error.args[0], dict) else str(error)  # pg8000's
        raise ConnectionError(f"{len(rows)} row(s) wait for {store}: {said}") from error
    del rows[: len(batch)]


def sql(login, batch):
    if not (sqlite := settings["store"] == "sqlite"):
        from pg8000 import dbapi
    database = sqlite3.connect(**login) if sqlite else dbapi.connect(**login, ssl_context=tls)
    with closing(database), closing(database.cursor()) as cursor:
        cursor.execute(TABLE)
        cursor.executemany(INSERT.replace("%s", "?") if sqlite else INSERT, batch)
        database.commit()


def influxdb(server, batch):
    lines = []
    for _, time, box, node, ppm, sigma, valid in batch:
        value = "" if ppm is None else f",ppm={ppm},sigma_ppm={sigma}"
        ms = round(datetime.fromisoformat(time).timestamp() * 1000)
        lines.append(f"concentration,box={box},node={node} valid={valid}{value} {ms}")
    login = {"Authorization": "Basic " + b64encode(f"{server['user']}:{server['password']}".encode()).decode()}
    request = Request(server["url"] + "&precision=ms", "\n".join(lines).encode(), login)
    urlopen(request, timeout=server["timeout"], context=tls).close()
