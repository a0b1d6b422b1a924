# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash
#
# Two guests joined by a socket, for demo-rdma and check-rdma.

# pair OUT TOPOLOGY SECONDS SCRIPT LISTENER CALLER: SCRIPT in both, with its role
# as its argument.  Each leaves OUT/ROLE.{log,result,rc} and the like.
pair()
{
	local out=$1 topology=$2 seconds=$3 script=$4 i
	local port=$((20000 + RANDOM % 20000))	# if in use, QEMU will say so
	mkdir -p "$out"
	rm -f "$out"/*
	trap 'kill $(jobs -p) 2>/dev/null; exit 130' INT TERM
	echo "two guests, $topology, joined by 127.0.0.1:$port"
	pair_guest "$5" listen 1 &
	for ((i = 0; i < 600; i++)); do
		! grep -qi ":$(printf '%04x' $port) 00000000:0000 0A" \
			/proc/net/tcp || break
		sleep 0.1
	done
	pair_guest "$6" connect 2 &
	wait
}

# pair_guest ROLE HOW LAST-BYTE-OF-THE-MAC: one of them; the rest is pair's
pair_guest()
{
	local rc=0
	"$TREE/ci/vm" -n "$1" -o "$out" -T "$seconds" -A "$1" \
		-s "$script" -a "$TREE/ci/guest/pair-net.sh" \
		-q "-netdev socket,id=wire,$2=127.0.0.1:$port -device virtio-net-pci,netdev=wire,mac=52:54:00:00:00:0$3" \
		"$topology" >"$out/$1.vm" 2>&1 || rc=$?
	echo $rc >"$out/$1.rc"
}

# pair_failure OUT ROLE: why, if it has failed
pair_failure()
{
	[ "$(cat "$1/$2.rc")" -eq 0 ] ||
		echo "the guest that is to $2:" \
			"$(sed -n 's/^FAIL //p' "$1/$2.result" 2>/dev/null | head -1)"
}
