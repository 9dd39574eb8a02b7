"""Builds the optional native kernels; everything else about the package is in pyproject.toml.

The library is plain C, loaded by ctypes: it needs no Python headers.  Without a compiler the
package still installs, and runs its numpy kernels (`zoptim.kernels.backend()` says which).  OpenMP
is used where the compiler has it.  Fusing a multiplication with an addition would change bits:
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
]


class BuildKernels(build_ext):
    """Adds the compiler's flags, OpenMP if it links, and no Python module entry point."""

    def build_extension(self, ext: Extension) -> None:
        if self.compiler.compiler_type == "msvc":
            ext.extra_compile_args = ["/O2", "/fp:precise", "/std:c11", "/openmp"]
        else:
            ext.extra_compile_args = ["-O3", "-std=gnu11", "-ffp-contract=off", "-fno-strict-aliasing"]
            ext.extra_compile_args += ["-fvisibility=hidden", "-g0"]
            if self._links("-fopenmp"):
                ext.extra_compile_args.append("-fopenmp")
                ext.extra_link_args = ["-fopenmp"]
        super().build_extension(ext)

    def get_export_symbols(self, ext: Extension) -> list[str]:
        return []  # the functions are exported by attributes; there is no PyInit

    def _links(self, flag: str) -> bool:
        """Whether a shared library can be built with this flag."""
        with tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "probe.c"
            source.write_text("#include <omp.h>\nint probe(void) { return omp_get_max_threads(); }\n")
            saved = os.dup(2)  # the compiler's complaint about a missing OpenMP is not news
            try:
                with open(os.devnull, "w") as null:
                    os.dup2(null.fileno(), 2)
                objects = self.compiler.compile([str(source)], output_dir=folder, extra_preargs=[flag])
                self.compiler.link_shared_object(
                    objects, str(Path(folder) / "probe.so"), extra_preargs=[flag]
                )
            except Exception as error:  # any failure means: build without it
                print(
                    f"zoptim: no OpenMP ({type(error).__name__}); kernels run on one thread", file=sys.stdout
                )
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
