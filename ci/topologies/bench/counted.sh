# SPDX-License-Identifier: GPL-2.0
# shellcheck shell=bash disable=SC2034
#
# Turns a topology into one that is measured: one CPU whose clock advances by
# one nanosecond an instruction and jumps over idle times, the exporter, and
# one drive that answers at once.  Instructions, not cycles.

SMP=1
# the driver refuses more than there are CPUs
APPEND=${APPEND/poll_queues=2/poll_queues=1}
ACCEL=icount
DISKS=()
FIRST+=(-drive if=none,id=main,driver=null-co,size=1G,read-zeroes=on)
SLOTS=("$EXPORTER" "$NVME")
LAST=()
