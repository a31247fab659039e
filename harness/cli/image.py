"""`themis image`: the container image of the environment docker."""

from __future__ import annotations

import click

from harness.cli import options
from harness.environments.base import EnvironmentUnavailable
from harness.errors import UsageError
from histories.printing import block


@click.group()
def image() -> None:
    """The container image of the nodes, for --env docker."""


@image.command()
@click.option("--again", is_flag=True, help="Build it although it is there.")
def build(again: bool) -> int:
    """Build the image of the nodes, which the first run with --env docker would do otherwise.

    Its base is pulled where a registry answers, and made by debootstrap (as root) elsewhere.

    \b
    Example:
      themis image build
    """
    from harness.environments.docker import image as images
    from harness.environments.docker.engine import reach

    def say(text: str) -> None:
        options.echo(f"themis: {block(text)}", err=True)

    try:
        client = reach()
        name = images.build(client, say) if again else images.ensure(client, say)
    except EnvironmentUnavailable as error:
        raise UsageError(str(error)) from error
    options.echo(name)
    return 0


COMMANDS = (image,)
