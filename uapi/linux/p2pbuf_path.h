/* SPDX-License-Identifier: (GPL-2.0 WITH Linux-syscall-note) */
/*
 * How an importer's device reaches the memory of a dma-buf.
 *
 * Shared by every p2pbuf importer. A path belongs to one mapping (one
 * generation) of one attachment: it is judged from facts after each mapping
 * and stays true until the exporter moves the memory.
 */
#ifndef _UAPI_LINUX_P2PBUF_PATH_H
#define _UAPI_LINUX_P2PBUF_PATH_H

#include <linux/types.h>

/**
 * enum p2pbuf_path - where the bytes travel
 * @P2PBUF_PATH_NONE: not mapped yet, nothing is known
 * @P2PBUF_PATH_BUS: peer to peer; a PCIe switch routes it, the host bridge
 *	never sees it
 * @P2PBUF_PATH_BRIDGE: peer to peer through the host bridge, by physical
 *	address or through the IOMMU
 * @P2PBUF_PATH_SYSTEM: the buffer lies in host memory
 * @P2PBUF_PATH_REFUSED: the device cannot reach the memory; see the reason
 */
enum p2pbuf_path {
	P2PBUF_PATH_NONE = 0,
	P2PBUF_PATH_BUS = 1,
	P2PBUF_PATH_BRIDGE = 2,
	P2PBUF_PATH_SYSTEM = 3,
	P2PBUF_PATH_REFUSED = 4,
};

/**
 * enum p2pbuf_reason - why a path or a request was refused
 * @P2PBUF_REASON_NONE: nothing to say
 * @P2PBUF_REASON_NOT_PEER: the buffer lies in host memory and the caller did
 *	not allow that (EREMOTEIO)
 * @P2PBUF_REASON_NO_ROUTE: the two devices share no upstream port and the
 *	host bridge is not known to forward between its root ports
 *	(EHOSTUNREACH)
 * @P2PBUF_REASON_ACS: a bridge below the common upstream port redirects peer
 *	requests upstream and the host bridge does not forward them
 *	(EHOSTUNREACH); &p2pbuf_path_info.blocker names the bridge
 * @P2PBUF_REASON_DEAD_BAR: the addresses lie in a BAR that does not decode
 *	(EHOSTDOWN)
 * @P2PBUF_REASON_NOWHERE: an address leads nowhere, to a hole, or to
 *	something that is neither a BAR nor RAM (EFAULT)
 * @P2PBUF_REASON_BUS_UNDER_IOMMU: a bus address was given to a device whose
 *	IOMMU translates, on a machine where the IOMMU sees the request first
 *	(EFAULT)
 * @P2PBUF_REASON_BOUNCE: the mapping goes through bounce buffers or needs
 *	CPU cache maintenance around each transfer (EADDRNOTAVAIL)
 * @P2PBUF_REASON_OPAQUE: the DMA layer of this device does not tell where its
 *	addresses lead, or an address exceeds the device's DMA mask (ENODATA)
 * @P2PBUF_REASON_EXPORTER: the exporter refused to map; the errno is its own
 * @P2PBUF_REASON_UNALIGNED: a DMA segment is not made of whole pages (EFAULT)
 */
enum p2pbuf_reason {
	P2PBUF_REASON_NONE = 0,
	P2PBUF_REASON_NOT_PEER = 1,
	P2PBUF_REASON_NO_ROUTE = 2,
	P2PBUF_REASON_ACS = 3,
	P2PBUF_REASON_DEAD_BAR = 4,
	P2PBUF_REASON_NOWHERE = 5,
	P2PBUF_REASON_BUS_UNDER_IOMMU = 6,
	P2PBUF_REASON_BOUNCE = 7,
	P2PBUF_REASON_OPAQUE = 8,
	P2PBUF_REASON_EXPORTER = 9,
	P2PBUF_REASON_UNALIGNED = 10,
};

/** P2PBUF_PATH_NO_DEVICE: no PCI function in a field that names one */
#define P2PBUF_PATH_NO_DEVICE	0xffffffffU

/** P2PBUF_PATH_F_IOMMU: an IOMMU translates the importer's addresses */
#define P2PBUF_PATH_F_IOMMU		(1U << 0)
/** P2PBUF_PATH_F_HYPERVISOR: the kernel runs under a hypervisor */
#define P2PBUF_PATH_F_HYPERVISOR	(1U << 1)
/**
 * P2PBUF_PATH_F_UNPROVEN: bus addresses below a translating IOMMU, accepted
 * on bare metal because the switch routes them before the IOMMU sees them
 */
#define P2PBUF_PATH_F_UNPROVEN		(1U << 2)
/** P2PBUF_PATH_F_SAMPLED: a large mapping was looked up in 2 MiB steps */
#define P2PBUF_PATH_F_SAMPLED		(1U << 3)

/**
 * struct p2pbuf_path_info - the verdict on one mapping
 * @path: one of &enum p2pbuf_path
 * @reason: one of &enum p2pbuf_reason
 * @importer: PCI function that does the DMA, as domain << 16 | bus << 8 |
 *	devfn, or %P2PBUF_PATH_NO_DEVICE
 * @exporter: PCI function whose BAR holds the memory, same form, or
 *	%P2PBUF_PATH_NO_DEVICE when it is not in a BAR
 * @exporter_bar: number of that BAR, 0 to 5; 0 when there is none
 * @blocker: the bridge in the way, or the host bridge's first device when it
 *	is the host bridge; %P2PBUF_PATH_NO_DEVICE when nothing is in the way.
 *	With %P2PBUF_PATH_BRIDGE the bridge whose ACS is why it is not
 *	%P2PBUF_PATH_BUS
 * @blocker_acs: PCIe ACS control bits of @blocker that redirect peer requests
 *	(PCIe 6.0 section 7.7.11.3), 0 when none do
 * @flags: P2PBUF_PATH_F_* bits
 * @generation: number of the mapping the verdict is about, from 1
 * @reserved: zero
 *
 * Holds no address: it may be shown to whoever may use the binding. A function
 * in a PCI domain that 16 bits cannot hold (below a VMD) is
 * %P2PBUF_PATH_NO_DEVICE.
 */
struct p2pbuf_path_info {
	__u32 path;
	__u32 reason;
	__u32 importer;
	__u32 exporter;
	__u32 exporter_bar;
	__u32 blocker;
	__u32 blocker_acs;
	__u32 flags;
	__u64 generation;
	__u64 reserved[3];
};

#endif /* _UAPI_LINUX_P2PBUF_PATH_H */
