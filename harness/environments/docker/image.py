"""Finds the image of a node, or builds it once and keeps it.

Its base is python:X.Y-slim of the controller's own Python where a registry answers; without one, a Debian that debootstrap
makes. What targets import of others is copied from the controller's packages where its Python is the base's, else pip gets
it for that Python. There is an image for each set of Debian packages that programs ask for: they are in the base that
debootstrap makes, or are installed on top of a registry's.
"""

from __future__ import annotations

import hashlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import docker
from docker.errors import APIError, BuildError, ImageNotFound

from harness.environments.base import EnvironmentUnavailable
from harness.environments.docker.engine import ENGINE_ERRORS, explained
from harness.environments.linux import packing
from harness.store.modes import created_by

REPOSITORY = "themis-node"
BASE_REPOSITORY = "themis-base"
SUITE = "bookworm"
"""The Debian of the base without a registry: its Python is 3.11."""
BASE_PACKAGES = ("ca-certificates", "iproute2", "iptables", "libfaketime", "python3")
LABEL = "themis.image"
PYTHON_LABEL = "themis.python"
"""major.minor of the Python in the image."""
DOCKERFILE = Path(__file__).with_name("Dockerfile")

Say = Callable[[str], None]
_PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]+")


def wanted(packages: Sequence[str] = ()) -> str:
    """The name of the image that fits this Themis and has these Debian packages, whether it exists or not."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    for package in packages:
        if not _PACKAGE.fullmatch(package):
            raise EnvironmentUnavailable(f"packages: {package!r} is no name of a Debian package")
    content = "\n".join([DOCKERFILE.read_text(), here, platform.machine(), *packing.versions(), *sorted(set(packages))])
    return f"{REPOSITORY}:{hashlib.sha256(content.encode()).hexdigest()[:12]}"


def find(client: docker.DockerClient, name: str) -> bool:
    """Whether the engine has this image."""
    try:
        client.images.get(name)
    except ImageNotFound:
        return False
    return True


def ensure(client: docker.DockerClient, say: Say, packages: Sequence[str] = ()) -> str:
    """The name of the image with these packages. Builds it where it is missing. Raises EnvironmentUnavailable when it cannot
    be."""
    name = wanted(packages)
    if find(client, name):
        return name
    say(f"building the image {name}{f' with {chr(32).join(packages)}' if packages else ''}, once")
    return build(client, say, packages)


@created_by(is_shared=True)  # A program in the image may not run as root.
def build(client: docker.DockerClient, say: Say, packages: Sequence[str] = ()) -> str:
    """Build the image anew and return its name. Raises EnvironmentUnavailable with what failed and what to do."""
    name = wanted(packages)
    packages = sorted(set(packages))
    try:
        base, is_offline = _base(client, say, packages)
        with tempfile.TemporaryDirectory(prefix="themis-image-") as directory:
            context = Path(directory)
            shutil.copyfile(DOCKERFILE, context / "Dockerfile")
            version = _python_of(client, base)
            has_site = False
            if version == f"{sys.version_info.major}.{sys.version_info.minor}":
                say("copying what nodes import")
                has_site = packing.copy_dependencies(context / "site", say)
            if has_site:
                try:
                    _build(client, context, base, name, version, is_offline, packages)
                    return name
                except BuildError as error:
                    # As where this Python's packages were compiled against a newer C library than the base's.
                    say(f"the copied packages do not work there ({_build_end(error)}); asking pip for others")
            _download(context / "site", version, say)
            _build(client, context, base, name, version, is_offline, packages)
    except BuildError as error:
        raise EnvironmentUnavailable(f"the image could not be built: {_build_end(error)}") from error
    except ENGINE_ERRORS as error:
        raise EnvironmentUnavailable(f"the image could not be built: {explained(error)}") from error
    return name


def _base(client: docker.DockerClient, say: Say, packages: Sequence[str]) -> tuple[str, bool]:
    """The name of the base image, which it pulls or makes where that is missing, and whether everything is in it, these packages
    included."""
    name = f"python:{sys.version_info.major}.{sys.version_info.minor}-slim"
    if find(client, name):
        return name, False
    digest = hashlib.sha256(" ".join(packages).encode()).hexdigest()[:12]
    made = f"{BASE_REPOSITORY}:{SUITE}{f'-{digest}' if packages else ''}"
    if find(client, made):
        return made, True
    say(f"pulling {name}")
    try:
        client.images.pull(name)
    except APIError as error:
        say(f"no registry answers ({explained(error)[:120]}); making a base with debootstrap")
        _bootstrap(client, made, say, packages)
        return made, True
    return name, False


def _bootstrap(client: docker.DockerClient, name: str, say: Say, packages: Sequence[str]) -> None:
    if shutil.which("debootstrap") is None:
        raise EnvironmentUnavailable(
            "the image of the nodes is missing, no registry answers to pull its base from, and debootstrap, which makes one, "
            "is not installed: apt-get install debootstrap"
        )
    say(f"debootstrap {SUITE} (some minutes)")
    with tempfile.TemporaryDirectory(prefix="themis-base-", ignore_cleanup_errors=True) as directory:
        root, packed = Path(directory) / "root", Path(directory) / "root.tar"
        log = Path(directory) / "log"
        with log.open("wb") as output:
            ended = subprocess.run(
                [
                    "debootstrap",
                    "--variant=minbase",
                    f"--include={','.join([*BASE_PACKAGES, *packages])}",
                    SUITE,
                    str(root),
                ],
                stdout=output,
                stderr=output,
                check=False,
            )
        if ended.returncode:
            last = log.read_text(errors="replace").strip()[-500:]
            raise EnvironmentUnavailable(f"debootstrap failed (it needs root and a Debian mirror): {last}")
        left_out = ("proc", "sys", "dev", "run", "tmp", "var/cache/apt", "var/lib/apt/lists")
        excluded = [f"--exclude=./{path}/*" for path in left_out]
        subprocess.run(["tar", "-C", str(root), *excluded, "-cf", str(packed), "."], check=True)
        say("importing it")
        repository, _, tag = name.partition(":")
        client.api.import_image(src=str(packed), repository=repository, tag=tag, changes=[f"LABEL {LABEL}=base"])
    if not find(client, name):
        raise EnvironmentUnavailable("the engine did not take the base that debootstrap made; its log says why")


def _python_of(client: docker.DockerClient, base: str) -> str:
    script = "import sys; print('%d.%d' % sys.version_info[:2])"
    printed = client.containers.run(base, ["python3", "-c", script], remove=True, network_mode="none")
    return bytes(printed).decode().strip()


def _download(site: Path, version: str, say: Say) -> None:
    say(f"asking pip for what nodes import, for Python {version}")
    shutil.rmtree(site, ignore_errors=True)
    machine = platform.machine()
    platforms = [f"--platform=manylinux{tag}_{machine}" for tag in ("2014", "_2_17", "_2_28", "_2_34", "_2_36")]
    command = [sys.executable, "-m", "pip", "install", "--quiet", "--target", str(site), "--only-binary=:all:"]
    ended = subprocess.run(
        [*command, f"--python-version={version}", *platforms, *packing.DEPENDENCIES], capture_output=True, check=False
    )
    if ended.returncode:
        raise EnvironmentUnavailable(
            f"pip found no packages for Python {version}: {ended.stderr.decode(errors='replace').strip()[-500:]}; "
            f"run themis with Python {version}, or where a registry or an index answers"
        )


def _build(
    client: docker.DockerClient,
    context: Path,
    base: str,
    name: str,
    version: str,
    is_offline: bool,
    packages: Sequence[str],
) -> None:
    client.images.build(
        path=str(context),
        tag=name,
        buildargs={"BASE": base, "PACKAGES": "" if is_offline else " ".join(packages)},
        labels={LABEL: "node", PYTHON_LABEL: version},
        network_mode="none" if is_offline else "default",
        rm=True,
        forcerm=True,
    )


def _build_end(error: BuildError) -> str:
    said = [str(part.get("stream") or part.get("error") or "").strip() for part in error.build_log]
    return " ".join(line for line in said if line)[-600:] or str(error)
