# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=sh
#
# The network between two guests (ci/pair.sh): rxe on eth0.

# pair_up ADDRESS
pair_up()
{
	modprobe virtio_net && modprobe rdma_rxe || return 1
	tries=0
	while [ ! -e /sys/class/net/eth0 ]; do
		tries=$((tries + 1))
		[ $tries -lt 100 ] || return 1
		usleep 100000
	done
	ip addr add $1/24 dev eth0
	ip link set eth0 up
	/ci/toolbox rdma link add rxe0 type rxe netdev eth0
}

# pair_wait ADDRESS: the other guest may still be booting
pair_wait()
{
	tries=0
	until ping -c 1 -W 1 $1 >/dev/null 2>&1; do
		tries=$((tries + 1))
		[ $tries -lt 600 ] || return 1
	done
}

pair_down()
{
	/ci/toolbox rdma link delete rxe0
}
