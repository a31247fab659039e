"""`themis image`: the container image of the environment docker."""

from __future__ import annotations

import click

from harness.cli import options
from harness.cli.ending import say
from harness.environments.base import EnvironmentUnavailable
from harness.errors import UsageError
from histories.printing import block


@click.group()
def image() -> None:
    """The container image of the nodes, for --env docker."""


@image.command()
@click.option("--again", is_flag=True, help="Build it although it is there.")
@click.option(
    "--target", default="", help="With the packages of this target, where it is a program outside the project."
)
def build(again: bool, target: str) -> int:
    """Build the image of the nodes, which the first run with --env docker would do otherwise.

    Its base is pulled where a registry answers, and made by debootstrap (as root) elsewhere.

    \b
    Examples:
      themis image build
      themis image build --target etcd
    """
    from harness.environments.docker import image as images
    from harness.environments.docker.engine import reach
    from harness.run.plan import find_target
    from targets.target import Program

    found = find_target(target) if target else None
    packages = found.packages if isinstance(found, Program) else ()

    def tell(text: str) -> None:
        say(block(text))

    try:
        client = reach()
        name = (images.build if again else images.ensure)(client, tell, packages)
    except EnvironmentUnavailable as error:
        raise UsageError(str(error)) from error
    options.echo(name)
    return 0
