"""``vtloc-run bundles``: list the bundles that are known by name."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Annotated

import typer

from vtloc_runtime.bundle.bundle import Bundle
from vtloc_runtime.bundle.bundle_names import bundle_names, bundles_folder, named_folder
from vtloc_runtime.cli.console.program import new_application
from vtloc_runtime.cli.console.terminal import PROGRAM, print_line
from vtloc_runtime.errors import BundleError
from vtloc_runtime.system.tables import print_table
from vtloc_runtime.system.text import plain

app = new_application()

_COLUMNS = ("name", "frames by", "sentences by", "localizer", "precisions", "MB", "licence")
_LONGEST = 48


@dataclass(frozen=True, slots=True)
class NamedBundle:
    """One line of the list.

    Attributes:
        name: What ``--bundle`` takes.
        path: Its folder.
        visual_encoder: What encodes its frames.
        text_encoder: What encodes its sentences.
        localizer: Whether it has a trained localizer.
        precisions: What its networks come in.
        bytes: The size of its files, without engines.
        license: The licence of its weights.
        damage: What is wrong with it; empty where nothing was found.
    """

    name: str
    path: str
    visual_encoder: str = ""
    text_encoder: str = ""
    localizer: bool = False
    precisions: tuple[str, ...] = ()
    bytes: int = 0
    license: str = ""
    damage: str = ""


@app.command(epilog="Exit codes: 0 all can be used; 5 one of them is damaged.")
def bundles(
    *,
    verify: Annotated[
        bool, typer.Option("--verify", help="Read every file, and compare its hash.")
    ] = False,
    json: Annotated[bool, typer.Option("--json", help="Print one JSON array.")] = False,
) -> int:
    """List the bundles in your bundles folder, which --bundle takes by name.

    The folder is $VTLOC_BUNDLES, or vtloc/bundles in your data folder (~/.local/share).
    vtloc-export onnx --name NAME puts bundles there.
    """
    found = [look_at(name, verify=verify) for name in bundle_names()]
    if json:
        import msgspec

        typer.echo(msgspec.json.encode([asdict(one) for one in found]).decode())
    elif not found:
        print_line(
            f"{PROGRAM} bundles: no bundles in {plain(str(bundles_folder()))}; "
            "make one with: vtloc-export onnx MODEL --name NAME"
        )
    else:
        _print(found)
    return BundleError.exit_code if any(one.damage for one in found) else 0


def look_at(name: str, *, verify: bool = False) -> NamedBundle:
    """What a named bundle is, or what is wrong with it.

    Args:
        name: One of `bundle_names`.
        verify: Compare the hash of every file as well.
    """
    path = named_folder(name)
    try:
        bundle = Bundle.open(path)
        if verify:
            bundle.verify()
        size = sum(bundle.resolve(file).stat().st_size for file in bundle.files())
    except BundleError as error:
        return NamedBundle(name, str(path), damage=error.what)
    except OSError as error:
        return NamedBundle(name, str(path), damage=error.strerror or "cannot be read")
    manifest = bundle.manifest
    return NamedBundle(
        name,
        str(path),
        visual_encoder=manifest.provenance.visual_encoder,
        text_encoder=manifest.provenance.text_encoder,
        localizer="localizer" in manifest.networks,
        precisions=tuple(
            sorted({one for network in manifest.networks.values() for one in network.variants})
        ),
        bytes=size,
        license=manifest.license,
    )


def _print(found: list[NamedBundle]) -> None:
    print_table(
        f"Bundles in {plain(str(bundles_folder()))}", _COLUMNS, [_row(one) for one in found]
    )
    for one in found:
        if one.damage:
            print_line(f"{PROGRAM} bundles: {plain(one.name)} is damaged: {plain(one.damage)}")


def _row(one: NamedBundle) -> tuple[str, ...]:
    if one.damage:
        return (plain(one.name), "damaged", *[""] * (len(_COLUMNS) - 2))
    return (
        plain(one.name),
        plain(one.visual_encoder)[:_LONGEST],
        plain(one.text_encoder)[:_LONGEST],
        "yes" if one.localizer else "no",
        " ".join(one.precisions),
        f"{one.bytes / 1e6:.0f}",
        plain(one.license)[:_LONGEST],
    )
