#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# control.sh CHECKER: does something wrong that this checker must find, and
# the run must fail for.  A kernel that finds nothing here would find nothing
# in our modules either.

case $1 in
kasan)
	modprobe lkdtm || exit 1
	echo READ_AFTER_FREE >/sys/kernel/debug/provoke-crash/DIRECT
	;;
ubsan)
	modprobe lkdtm || exit 1
	echo ARRAY_BOUNDS >/sys/kernel/debug/provoke-crash/DIRECT
	;;
fence | order | dma)
	modprobe p2pbuf_control "wrong=$1" || exit 1
	rmmod p2pbuf_control
	;;
kmemleak)
	modprobe kmemleak-test || exit 1
	rmmod kmemleak-test
	;;
*)
	exit 2
	;;
esac
