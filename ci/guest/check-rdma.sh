#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# check-rdma.sh ROLE: one of the two guests, `serve` or `call`.

. /payload/pair-net.sh
fail() { echo "pair: FAIL $*"; exit 1; }

modprobe sch_netem || fail "no netem"
rc=0
if [ "$1" = serve ]; then
	pair_up 10.78.0.1 || fail 'no network'
	/selftests/p2pbuf-pair serve 10.78.0.1 || rc=$?
else
	pair_up 10.78.0.2 || fail 'no network'
	pair_wait 10.78.0.1 || fail 'the other guest does not answer'
	/selftests/p2pbuf-pair call 10.78.0.1 || rc=$?
fi
pair_down
exit $rc
