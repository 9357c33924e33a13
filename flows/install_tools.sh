#!/bin/sh
# Install what is missing of the simulators and of Yosys, from Debian. With the argument `venv`: Python's venv module.
set -eu

missing=""
if [ "${1:-}" = venv ]; then
    missing="python3-venv"
else
    command -v iverilog >/dev/null || missing="$missing iverilog"
    command -v verilator >/dev/null || missing="$missing verilator"
    command -v yosys >/dev/null || missing="$missing yosys"
fi
[ -n "$missing" ] || exit 0

root=""
if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "Please install$missing: neither root nor sudo here." >&2; exit 1; }
    root="sudo"
fi
command -v apt-get >/dev/null || { echo "Please install$missing: apt-get isn't there." >&2; exit 1; }
echo "Installing$missing from Debian ..."
$root apt-get update -qq
# shellcheck disable=SC2086  # a list of packages
$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends $missing >/dev/null
