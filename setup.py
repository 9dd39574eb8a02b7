"""Builds the optional native kernels; everything else about the package is in pyproject.toml.

The library is plain C, loaded by ctypes.  Where Python's headers are, it is an extension module too, so that
small calls cost less.  Without a compiler the package still installs, and runs its numpy kernels
(`zoptim.kernels.backend()` says which).  OpenMP is used where the compiler has it.  Fusing a multiplication with an addition would change bits:
-ffp-contract=off is not a matter of taste.
"""

import os
import sys
import tempfile
from pathlib import Path

from setuptools import Extension, setup
from setuptools.command.build_ext import build_ext

HERE = "src/zoptim/kernels"
HEADERS = [
    "native.h",
    "native_body.h",
    "native_scalar.h",
    "native_avx2.h",
    "native_avx512.h",
    "native_neon.h",
    "native_outer.h",
    "native_product.h",
    "native_quick.h",
]


class BuildKernels(build_ext):
    """Adds the compiler's flags, OpenMP if it links, and Python's side where its headers are."""

    def build_extension(self, ext: Extension) -> None:
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = ["/O2", "/fp:precise", "/std:c11", "/openmp"]
        else:
            ext.extra_compile_args = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fno-strict-aliasing"]
            ext.extra_compile_args += ["-fvisibility=hidden", "-g0"]
            if self._links("-fopenmp"):
                ext.extra_compile_args.append("-fopenmp")
                ext.extra_link_args = ["-fopenmp"]
        headers = ["-I" + path for path in self.include_dirs]
        if self._builds("#define Py_LIMITED_API 0x030B0000\n#include <Python.h>\n", headers, link=False):
            ext.define_macros.append(("ZO_PYTHON", "1"))
        super().build_extension(ext)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []  # the functions are exported by attributes

    def _links(self, flag: str) -> bool:
        """Whether a shared library can be built with this flag."""
        code = "#include <omp.h>\nint probe(void) { return omp_get_max_threads(); }\n"
        if self._builds(code, [flag]):
            return True
        print("zoptim: no OpenMP; kernels run on one thread", file=sys.stdout)
        return False

    def _builds(self, code: str, flags: list[str], link: bool = True) -> bool:
        """Whether the compiler takes this; any failure means that it does not."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text(code)
            saved = os.dup(2)  # the compiler's complaint about what is missing is not news
            try:
                with open(os.devnull, "w") as null:
                    os.dup2(null.fileno(), 2)
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_preargs=flags)
                if link:
                    self.compiler.link_shared_object(
                        objects, str(Path(folder) / "probe.so"), extra_preargs=flags
                    )
            except Exception:
                return False
            finally:
                os.dup2(saved, 2)
                os.close(saved)
        return True


setup(
    ext_modules=[
        Extension(
            "zoptim.kernels._native",
            sources=[f"{HERE}/native.c"],
            depends=[f"{HERE}/{name}" for name in HEADERS],
            optional=True,
        )
    ],
    cmdclass={"build_ext": BuildKernels},
)
