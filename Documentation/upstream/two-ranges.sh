#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# In a guest: gives the exporter's device to vfio-pci and runs two-ranges.c.
#
#   ci/in-root gcc-14 -D_GNU_SOURCE -static -Iuapi -o $BUILD/two-ranges \
#       Documentation/upstream/two-ranges.c
#   ci/vm -l -s Documentation/upstream/two-ranges.sh -a $BUILD/two-ranges epyc-iommu

pci=$P2PBUF_EXPORTER_PCI
d=/sys/bus/pci/devices/$pci
modprobe vfio-pci && modprobe vfio_iommu_type1 allow_unsafe_interrupts=1 || exit 1
echo "$pci" >$d/driver/unbind
echo vfio-pci >$d/driver_override
echo "$pci" >/sys/bus/pci/drivers_probe
/payload/two-ranges "/dev/vfio/$(basename "$(readlink $d/iommu_group)")" "$pci" \
	"/dev/${P2PBUF_NVME_MAIN##*/}"
rc=$?
dmesg | tail -n 5
echo "$pci" >$d/driver/unbind
echo >$d/driver_override
echo "$pci" >/sys/bus/pci/drivers_probe
exit $rc
