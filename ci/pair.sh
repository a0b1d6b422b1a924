# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Two guests joined by a socket, for demo-rdma and check-rdma.

# pair OUT TOPOLOGY SECONDS SCRIPT LISTENER CALLER: SCRIPT in both, with its role
# as its argument.  Each leaves OUT/ROLE.{log,result,rc} and the like.
pair()
{
	local out=$1 topology=$2 seconds=$3 script=$4 port begin
	mkdir -p "$out"
	trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM
	# A guest that has to be booted again (ci/vm) has lost the other one.
	for begin in 1 2 3; do
		rm -f "$out"/*
		port=$((20000 + RANDOM % 10000))	# if in use, QEMU will say so
		echo "two guests, $topology, joined by 127.0.0.1:$port"
		pair_begin "$5" "$6"
		while [ -n "$(jobs -rp)" ] && ! pair_rebooted; do sleep 1; done
		pair_rebooted || break
		echo "one of them had to be booted again: both begin anew"
		[ $begin -eq 3 ] || kill $(jobs -rp) 2>/dev/null || :
		wait
	done
	wait
}

# pair_begin LISTENER CALLER: both, in the background; the rest is pair's
pair_begin()
{
	local i
	pair_guest "$1" listen 1 &
	for ((i = 0; i < 600; i++)); do
		! grep -qi ":$(printf '%04x' $port) 00000000:0000 0A" \
			/proc/net/tcp || break
		sleep 0.1
	done
	pair_guest "$2" connect 2 &
}

# pair_rebooted: has either of them been booted again? pair's
pair_rebooted()
{
	grep -qs ': the emulator: ' "$out"/*.vm
}

# pair_guest ROLE HOW LAST-BYTE-OF-THE-MAC: one of them; the rest is pair's
pair_guest()
{
	local rc=0 vm
	trap 'kill "$vm" 2>/dev/null; wait "$vm" || :; exit 130' INT TERM
	"$TREE/ci/vm" -n "$1" -o "$out" -T "$seconds" -A "$1" \
		-s "$script" -a "$TREE/ci/guest/pair-net.sh" \
		-q "-netdev socket,id=wire,$2=127.0.0.1:$port -device virtio-net-pci,netdev=wire,mac=52:54:00:00:00:0$3" \
		"$topology" >"$out/$1.vm" 2>&1 &
	vm=$!
	wait "$vm" || rc=$?
	echo $rc >"$out/$1.rc"
}

# pair_failure OUT ROLE: why, if it has failed
pair_failure()
{
	[ "$(cat "$1/$2.rc")" -eq 0 ] ||
		echo "the guest that is to $2:" \
			"$(sed -n 's/^FAIL //p' "$1/$2.result" 2>/dev/null | head -1)"
}

# pair_tell OUT: the end of what each of them said; the logs may not outlive this run
pair_tell()
{
	local f
	for f in "$1"/*.log "$1"/*.console; do
		[ -s "$f" ] || continue
		echo "---- the end of $f"
		tr -d '\r' <"$f" | tail -n 12
	done
}
