#!/bin/sh
# The native kernels on this machine and, emulated, on 64-bit ARM: every edition agrees, and both print one digest.
# Needs a compiler, aarch64-linux-gnu-gcc and qemu-aarch64-static (Debian: gcc-aarch64-linux-gnu, libc6-dev-arm64-cross,
# qemu-user-static).  Not part of CI.  Usage: sh bench/editions.sh
set -eu
here=$(dirname "$0")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
flags="-O3 -std=gnu11 -ffp-contract=off -fno-strict-aliasing"
cc $flags "$here/editions.c" -o "$work/here"
aarch64-linux-gnu-gcc $flags -static "$here/editions.c" -o "$work/arm"
a=$("$work/here")
b=$(qemu-aarch64-static "$work/arm")
echo "here $a, 64-bit ARM $b"
[ "$a" = "$b" ]
