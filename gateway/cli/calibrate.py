"""`spectrophone calibrate zero | span | fit | show`: from calibration gases to a calibration file."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from gateway.board import Board
    from gateway.calibrating import Gas, GasLine
    from gateway.calibration import Calibration
    from gateway.config.config import Config
    from gateway.config.settings import Settings
    from gateway.tables import Conditions

_TABLES = ("light", "resonance", "water", "gas_law", "steering", "drift")
_EXAMPLE = """\
example:
  spectrophone calibrate zero --config gateway.yaml --new
  spectrophone calibrate span --ppm 1000 --sigma-ppm 5 --config gateway.yaml --gas "co2 in n2" --operator Ada
  spectrophone calibrate fit --curve saturating --resonance resonance.json --config gateway.yaml
  spectrophone calibrate show --config gateway.yaml

zero takes 30 records of the lock_in; span takes them until sigma is 0.1 % of the signal above the background (--until),
30 at most and 3 at least; --seconds sets the time instead. Every point is added to DIRECTORY/NODE.points.jsonl; as soon
as the points give a curve, a new version of the calibration is written and DIRECTORY/NODE.toml is the current one. Name
it in the node: calibration: calibration/NODE.toml, from the working directory. The simulated cell is filled with the
gas by itself. docs/calibration.md tells the rest.
"""


def register(subparsers: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to the command line."""
    plain = argparse.RawDescriptionHelpFormatter
    parser = subparsers.add_parser(
        "calibrate",
        help="take calibration gases, and make, keep and show calibrations",
        description="Calibrate a concentration node with zero gas and span gases.",
        epilog=_EXAMPLE,
        formatter_class=plain,
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    helps = {
        "zero": "read zero gas",
        "span": "read a gas of known concentration",
        "fit": "fit the points of this session anew",
        "show": "the current calibration, its points, checks and history",
    }
    for action, told in helps.items():
        each = actions.add_parser(action, help=told, description=f"{told}.", epilog=_EXAMPLE, formatter_class=plain)
        each.add_argument("--config", type=Path, metavar="F", help="the configuration; the built-in one if absent")
        each.add_argument("--node", metavar="N", help="the concentration node; the only one if absent")
        each.add_argument("--directory", type=Path, default=Path("calibration"), metavar="D", help="./calibration")
        each.add_argument("--json", action="store_true", help="one JSON object a line, on standard output")
        if action in ("zero", "span"):
            _reading_options(each, action)
        if action != "show":
            _file_options(each)
    parser.set_defaults(run=run)


def _reading_options(parser: argparse.ArgumentParser, action: str) -> None:
    if action == "span":
        parser.add_argument("--ppm", type=float, required=True, metavar="X", help="concentration on the certificate")
        parser.add_argument("--until", type=float, default=1e-3, metavar="R", help="sigma over signal; 0.001 if absent")
    parser.add_argument("--sigma-ppm", type=float, default=0.0, metavar="U", help="one standard deviation of the gas")
    parser.add_argument("--seconds", type=float, metavar="S", help="how long, in place of until it suffices")
    parser.add_argument("--microphone", metavar="DEVICE", help='an ALSA device ("default"), "sim" or "file:PATH"')
    parser.add_argument("--temperature", type=float, metavar="C", help="temperature of the gas, degrees Celsius")
    parser.add_argument("--pressure", type=float, metavar="PA", help="its pressure, pascal")
    parser.add_argument("--humidity", type=float, metavar="P", help="its relative humidity, percent")
    parser.add_argument("--new", action="store_true", help="begin a new session: earlier points no longer count")


def _file_options(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--curve", choices=("line", "saturating"), default="line", help="line if absent")
    parser.add_argument(
        "--resonance", type=Path, metavar="FILE", help="what `sweep --out FILE` found in this air; as before if absent"
    )
    parser.add_argument("--valid-days", type=float, metavar="D", help="when it expires; never if absent")
    for name, told in (
        ("operator", "who calibrates"),
        ("gas", "what is in the bottles"),
        ("certificate", "their certificates"),
    ):
        parser.add_argument(f"--{name}", metavar="TEXT", help=f"{told}; as in the calibration before if absent")


def run(args: argparse.Namespace) -> int:
    """Take a point, fit, or show; 0 when the point is written or the curve made."""
    from gateway import configured
    from gateway.errors import CalibrationError
    from gateway.log import set_up

    checked = configured.prepare(args.config)
    config, board = configured.accepted(checked)
    set_up(checked.secrets)
    if args.action == "show":
        return _show(args, config)
    try:
        args.directory.mkdir(parents=True, exist_ok=True)
        return _point_and_fit(args, config, board)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise CalibrationError(f"{args.directory}: cannot be written ({reason})", "Name another --directory") from None


def _point_and_fit(args: argparse.Namespace, config: Config, board: Board) -> int:
    import sys

    from gateway import points
    from gateway.errors import CalibrationError, ConfigError

    line = points.line(config, args.node)
    if args.action == "fit":
        return _fit(args, line.node)
    _read(args, config, board, line)
    try:
        return _fit(args, line.node)
    except (CalibrationError, ConfigError) as error:
        print(f"spectrophone: the point is written; no new calibration yet: {error}", file=sys.stderr)
    return 0


def _read(args: argparse.Namespace, config: Config, board: Board, line: GasLine) -> None:
    import asyncio
    import sys

    from gateway import calibrating, jsonlines, points
    from gateway.clock import RealClock
    from gateway.config.override import overridden
    from gateway.progress import Progress

    node, gas, clock = line.node, _gas(args, line.node), RealClock()
    config = overridden(config, device=args.microphone, ppm=gas.ppm if board.simulated else None)
    known = _conditions(args)
    progress = Progress(sys.stderr, f"reading {gas.ppm:g} ppm", 1.0)
    try:
        reading, conditions = asyncio.run(points.take(config, board, clock, line, gas, known, progress.at))
    finally:
        progress.end()
    if args.new:
        calibrating.begin(args.directory, node, clock)
    calibrating.remember(args.directory, node, reading, _completed(conditions, config, board.simulated))
    if args.json:
        print(jsonlines.line({"kind": "point", "node": node, **reading.model_dump(mode="json")}))
    else:
        print(f"{node}: {calibrating.point_of(reading)}")


def _completed(conditions: Conditions, config: Config, simulated: bool) -> Conditions:
    """With what the configuration says where neither command line nor microphone did."""
    from gateway.tables import Conditions

    told: dict[str, Any] = config.laser.model_dump(include={"duty", "power_w"})
    if simulated:
        told |= config.cell.model_dump(include={"temperature_c", "pressure_pa", "humidity_percent"})
    return Conditions(**{**told, **conditions.model_dump(exclude_none=True)})


def _gas(args: argparse.Namespace, node: str) -> Gas:
    """What the command line says is in the cell."""
    from gateway.calibrating import Gas, with_background, wrong
    from gateway.errors import UsageError

    span = args.action == "span"
    gas = Gas(args.ppm, args.sigma_ppm, args.seconds, args.until) if span else Gas(0.0, args.sigma_ppm, args.seconds)
    if found := wrong(gas, span=span):
        option, value, why = found
        raise UsageError(f"--{option.replace('_', '-')} {value:g}: {why}")
    return with_background(gas, args.directory, node, new=args.new)


def _conditions(args: argparse.Namespace) -> Conditions:
    """What the command line says of the gas."""
    from pydantic import ValidationError

    from gateway.errors import UsageError
    from gateway.tables import Conditions

    given = {"temperature_c": args.temperature, "pressure_pa": args.pressure, "humidity_percent": args.humidity}
    try:
        return Conditions(**given)
    except ValidationError as error:
        first = error.errors()[0]
        raise UsageError(f"{first['loc'][0]} {first['input']}: not a condition of a gas", first["msg"]) from None


def _fit(args: argparse.Namespace, node: str) -> int:
    from datetime import UTC, datetime, timedelta

    from gateway import calibrating, carried, jsonlines
    from gateway.clock import RealClock

    clock, until = RealClock(), None
    swept = None if args.resonance is None else carried.swept(args.resonance)
    if args.valid_days is not None:
        now = datetime.fromtimestamp(clock.utc_ns() // 1_000_000_000, UTC)
        until = (now + timedelta(days=args.valid_days)).isoformat()
    about = {"operator": args.operator, "gas": args.gas, "certificate": args.certificate, "valid_until": until}
    said = {name: value for name, value in {**about, "swept": swept}.items() if value is not None}
    if said:
        calibrating.note(args.directory, node, said)
    made, file = calibrating.calibrate(args.directory, node, clock, saturating=args.curve == "saturating")
    if args.json:
        print(jsonlines.line(as_object(made)))
        return 0
    print(f"{file}: {calibrating.curve_of(made)}; {checks_of(made)}")
    return 0


def _show(args: argparse.Namespace, config: Config) -> int:
    from gateway import calibration, jsonlines, points
    from gateway.clock import RealClock

    node = args.node or points.line(config, None).node
    file = calibration.current(args.directory, node)
    found = calibration.load(file)
    if args.json:
        print(jsonlines.line(as_object(found)))
        return 0
    print(f"{file}\n{described(found, RealClock().utc_ns())}\nhistory")
    for version in calibration.history(args.directory, node):
        print(f"  {version.name}{'  current' if found.id and found.id in version.name else ''}")
    return 0


def as_object(calibration: Calibration) -> dict[str, Any]:
    """A calibration as a JSON object."""
    return {"kind": "calibration", **calibration.model_dump(mode="json", by_alias=True)}


def checks_of(calibration: Calibration) -> str:
    """The checks in a line: "chi-square 1.2 with 2 degrees of freedom, p = 0.55"."""
    checks = calibration.checks
    if checks is None:
        return "no checks: written by hand"
    if checks.p_value is None:
        return "no check possible: as many points as parameters"
    return f"chi-square {checks.chi2:.2f} with {checks.dof} degrees of freedom, p = {checks.p_value:.3g}"


def numbers_of(table: Settings | None) -> str:
    """A table in a line: "power_w 0.02, duty 0.5"; nothing where there is none."""
    found = {} if table is None else table.model_dump(exclude_none=True)
    return ", ".join(f"{name} {value:g}" for name, value in found.items())


def described(calibration: Calibration, utc_ns: int) -> str:
    """A calibration as people read it, points and residuals included."""
    from gateway.calibrating import curve_of
    from gateway.dsp.calibrate import residuals

    background, expiry = calibration.background, calibration.valid_until
    expired = expiry is not None and expiry.timestamp() * 1e9 < utc_ns
    facts = [
        ("node", calibration.node),
        ("id", calibration.id or "none: written by hand"),
        ("created", f"{calibration.created:%Y-%m-%d %H:%M:%S %Z}"),
        ("valid until", f"{expiry:%Y-%m-%d %H:%M:%S %Z}{'  EXPIRED' if expired else ''}" if expiry else ""),
        ("previous", calibration.previous),
        ("operator", calibration.operator),
        ("gas", calibration.gas),
        ("certificate", calibration.certificate),
        ("conditions", numbers_of(calibration.conditions)),
        ("curve", curve_of(calibration)),
        ("phase", f"{calibration.phase_deg:.3f} degrees"),
        ("background", f"{background.re:+.6g} {background.im:+.6g}j ± {background.sigma:.2g} full scale"),
        *((name.replace("_", " "), numbers_of(getattr(calibration, name))) for name in _TABLES),
        ("checks", checks_of(calibration)),
    ]
    lines = [f"{name:<12} {fact}" for name, fact in facts if fact]
    lines.append("points")
    points = calibration.points
    for point, residual in zip(points, residuals(calibration.numbers, [p.point for p in points]), strict=True):
        off = f"off by {residual.ppm:+.3g} ppm ({residual.sigmas:+.1f} sigma)"
        lines.append(f"  {point.ppm:g} ± {point.sigma_ppm:g} ppm  {off}  {point.records} records")
    return "\n".join(lines)
