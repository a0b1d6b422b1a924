#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# demo-rdma.sh ROLE: one of the two guests, `send` or `receive`.

role=$1 port=7471
# a kernel that checks itself takes half an hour for the whole
rounds=8
case $(uname -r) in *-p2pbuf-debug) rounds=2 ;; esac
case $role in
receive) mine=10.78.0.1 ;;
send) mine=10.78.0.2 ;;
esac

fail() { echo "remote-vram: $*"; exit 1; }

. /payload/pair-net.sh
pair_up $mine || fail 'no network'

# a software NIC copies with the CPU: VRAM needs pages
echo 1 >/sys/module/p2pbuf_exporter/parameters/paged
for pci in $P2PBUF_EXPORTER_PCI $P2PBUF_EXPORTER2_PCI; do
	echo $pci >/sys/bus/pci/drivers/p2pbuf_exporter/unbind
	echo $pci >/sys/bus/pci/drivers_probe
done

if [ $role = receive ]; then
	/examples/remote-vram receive $mine $port $rounds
	rc=$?
else
	dd if=/dev/urandom of=$P2PBUF_NVME_MAIN bs=1M count=64 conv=fsync 2>/dev/null
	pair_wait 10.78.0.1 || fail 'the other guest does not answer'
	tries=0
	while :; do
		/examples/remote-vram send 10.78.0.1 $port $P2PBUF_NVME_MAIN \
			$rounds >/tmp/said 2>&1
		rc=$?
		tries=$((tries + 1))
		grep -q 'remote-vram: connect' /tmp/said && [ $tries -lt 300 ] ||
			break
		sleep 1
	done
	cat /tmp/said
fi
pair_down
exit $rc
