# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Shared by the scripts in ci/: where things live, and how a step is reported.
#
# Model: what is downloaded or made from downloads (build root, kernels,
# source pieces) lies in a cache outside the tree and is never changed once
# its final name exists: everything is made under a temporary name and
# renamed when complete.  What is built from this tree lies in BUILD.

set -Eeuo pipefail
# never die without a word
last_words() { trap 'echo "${0##*/}: failed at line $LINENO: $BASH_COMMAND" >&2' ERR; }
last_words

TREE=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd -P)
BUILD=$(realpath -m "${BUILD:-$TREE/build}")
CACHE=$(realpath -m "${XDG_CACHE_HOME:-$HOME/.cache}/p2pbuf")
SUITE=trixie

die()
{
	echo "${0##*/}: $*" >&2
	exit 1
}

# Packages of the build root.  Changing a list makes a new root.
ROOT_PACKAGES=(
	ca-certificates gcc-14 gcc libc6-dev make pkgconf binutils patch bc
	liburing-dev libdrm-dev libmd-dev libibverbs-dev librdmacm-dev
	kmod cpio zstd xz-utils busybox-static util-linux udev
	fio nvme-cli pciutils e2fsprogs xfsprogs btrfs-progs mdadm lvm2 dosfstools
	ibverbs-providers rdmacm-utils iproute2 procps strace
)
# Added to the root by the first `make style` or `make fuzz-lib`: nobody else
# needs them.
STYLE_PACKAGES=(sparse perl python3 clang libclang-rt-dev man-db gcc-multilib g++
	dwarves shellcheck)

# Added by the first `make check-external`.
EXTERNAL_PACKAGES=(perftest python3-pyverbs rdmacm-utils)

ROOT=$CACHE/root-$SUITE-$(printf '%s\n' "${ROOT_PACKAGES[@]}" |
	sha256sum | cut -c1-12)

# Which kernel: KVER wins, else what set-up picked.
kver()
{
	if [ -n "${KVER:-}" ]; then
		echo "$KVER"
	elif [ -s "$CACHE/kver" ]; then
		cat "$CACHE/kver"
	else
		die "no kernel picked yet: run 'make setup'"
	fi
}

# 7.3.4+deb13-amd64 -> 7.3, the name linux-source packages carry
kver_series()
{
	sed -E 's/^([0-9]+\.[0-9]+).*/\1/' <<<"$1"
}

kernel_dir() { echo "$CACHE/kernel-$1"; }
source_dir() { echo "$CACHE/source-$(kver_series "$1")"; }

# step NAME COMMAND...: runs it with its output in a log; one line with the
# time it took, and on failure one line that says what went wrong.
step()
{
	local name=$1 log start rc=0
	shift
	mkdir -p "$CACHE/log"
	log=$CACHE/log/$(tr -cs 'a-zA-Z0-9\n' - <<<"$name").log
	start=$(date +%s.%N)
	# a subshell with its own -e: bash ignores -e inside an `if` or `||`
	set +e
	trap - ERR
	(set -e; "$@") >"$log" 2>&1
	rc=$?
	set -e
	last_words
	if [ $rc -ne 0 ]; then
		echo "setup: FAILED: $name: $(why "$log") (log: $log)" >&2
		exit 1
	fi
	printf 'setup: %-52s %6.1f s\n' "$name" \
		"$(echo "$(date +%s.%N) $start" | awk '{ print $1 - $2 }')"
}

# The line of a log that a person wants to see first.
why()
{
	local line
	line=$(grep -m1 -E '^(E: |[a-z-]+: error|.*: (error|fatal|FAILED)[: ])' "$1" ||
		tail -n 1 "$1")
	echo "${line:-no output}"
}
