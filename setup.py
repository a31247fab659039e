"""Builds the native search core where a C++ compiler is; without one the package works with the pure twin.

Everything else about the package is in setup.cfg. THEMIS_SANITIZE=address,undefined builds the core with sanitizers
(checkers/bench/sanitize.sh).
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from setuptools import Extension, setup

SOURCE = Path("checkers")
MODULES = (
    "causal/_patterns",
    "linearizability/_core",
    "linearizability/_encode",
    "linearizability/monitors/_monitors",
    "linearizability/monitors/_registers",
    "transactions/_components",
)
"""Below SOURCE; each stands beside the headers that it includes."""


def extensions() -> list[Extension]:
    """The core, or nothing where Cython is missing."""
    try:
        from Cython.Build import cythonize
    except ImportError:
        return []
    flags = ["/std:c++17", "/O2"] if sys.platform == "win32" else ["-std=c++17", "-O3", "-g0", "-fvisibility=hidden"]
    link = [] if sys.platform in ("win32", "darwin") else ["-Wl,--strip-all"]  # Symbols are most of the files' size.
    if sanitizers := os.environ.get("THEMIS_SANITIZE"):
        flags += [f"-fsanitize={sanitizers}", "-fno-omit-frame-pointer", "-fno-sanitize-recover=undefined", "-g", "-O1"]
        link = [f"-fsanitize={sanitizers}"]
    modules = [
        Extension(
            f"checkers.{name.replace('/', '.')}",
            [str(SOURCE / f"{name}.pyx")],
            depends=sorted(map(str, (*SOURCE.glob("**/*.hpp"), *SOURCE.glob("**/*.pxd")))),
            include_dirs=[str((SOURCE / name).parent)],
            language="c++",
            extra_compile_args=flags,
            extra_link_args=link,
        )
        for name in MODULES
    ]
    built: list[Extension] = cythonize(modules, build_dir="build", language_level=3)
    for extension in built:  # Cython does not hand this on.
        extension.optional = True  # A failed build is a warning; `themis doctor` says that the pure twin runs.
    return built


setup(ext_modules=extensions(), options={"build_ext": {"parallel": os.cpu_count()}})
