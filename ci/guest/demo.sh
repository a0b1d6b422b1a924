#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# The main job, inside the guest: a disk, a GPU's memory, three processes.
# The last line is gpu-app's `demo: PASS ...` or `demo: FAIL ...`.

disk=$P2PBUF_NVME_MAIN
[ -n "$P2PBUF_EXPORTER" ] || { echo 'demo: FAIL no exporter in the guest'; exit 1; }
[ -b "$disk" ] || { echo 'demo: FAIL no NVMe namespace in the guest'; exit 1; }

echo "demo: kernel $(uname -r), stock nvme driver; what is here and who reaches whom:"
p2pbuf list | grep -E "^[a-z]|$P2PBUF_EXPORTER_PCI .*$disk |^  $P2PBUF_EXPORTER_PCI .*/dev/dri|^  $P2PBUF_NVME_MAIN_PCI "

echo 'demo: what the topology says:'
p2pbuf why "$P2PBUF_EXPORTER_PCI" "$P2PBUF_NVME_MAIN_PCI" | sed 's/^/  /'

echo "demo: 64 MiB of random bytes to the beginning of $disk"
dd if=/dev/urandom of="$disk" bs=1M count=64 conv=fsync 2>/dev/null ||
	{ echo "demo: FAIL cannot write $disk"; exit 1; }

# what a newcomer reads first works, and says so
echo 'demo: the first program, examples/nvme-to-vram:'
said=$(/examples/nvme-to-vram "$disk" 2>&1) ||
	{ echo "demo: FAIL nvme-to-vram: $said"; exit 1; }
echo "$said" | sed 's/^/  /'

# small requests: more of them meet a move
/examples/storage-app --device "$disk" --block 65536 &
storage=$!
/examples/gpu-app --exporter "$P2PBUF_EXPORTER" --device "$disk"
rc=$?
# without gpu-app it would wait for somebody to connect to
[ $rc -eq 0 ] || kill $storage 2>/dev/null
wait $storage 2>/dev/null
exit $rc
