/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/p2pbuf-probe: asks for a path verdict without doing any I/O, and makes
 * dma-bufs that give whatever addresses a test wants.
 *
 * Between kernel/mock/p2pbuf_probe.c and the tests only; no stable interface.
 */
#ifndef P2PBUF_PROBE_H
#define P2PBUF_PROBE_H

#include <linux/ioctl.h>
#include <linux/p2pbuf_path.h>
#include <linux/types.h>

#define P2PBUF_PROBE_DEVICE	"/dev/p2pbuf-probe"

/**
 * struct p2pbuf_probe_judge - attach, map, judge, unmap, detach
 * @fd: in, dma-buf
 * @importer: in, PCI function, as domain << 16 | bus << 8 | devfn
 * @no_p2p: in, 1 attaches without allow_peer2peer
 * @mapped: out, 0, or -errno of attaching or mapping; nothing was judged then
 * @verdict: out, what p2pbuf_path_judge() returned
 * @segments: out, number of DMA segments
 * @cycles: out, what the verdict took, by the time stamp counter; under an
 *	emulator that counts instructions (-icount) it counts these
 * @info: out, the verdict
 * @path: out, its name
 * @reason: out, its text
 */
struct p2pbuf_probe_judge {
	__s32 fd;
	__u32 importer;
	__u32 no_p2p;
	__s32 mapped;
	__s32 verdict;
	__u32 segments;
	__u64 cycles;
	struct p2pbuf_path_info info;
	char path[16];
	char reason[200];
};

/**
 * enum p2pbuf_probe_kind - what a segment's DMA address is
 * @P2PBUF_PROBE_RAW: the address given, untouched
 * @P2PBUF_PROBE_MMIO: the physical address given, mapped for the importer
 * @P2PBUF_PROBE_RAM: fresh pages, mapped for the importer
 * @P2PBUF_PROBE_RAM_RAW: the physical address of fresh pages, not mapped
 */
enum p2pbuf_probe_kind {
	P2PBUF_PROBE_RAW,
	P2PBUF_PROBE_MMIO,
	P2PBUF_PROBE_RAM,
	P2PBUF_PROBE_RAM_RAW,
};

#define P2PBUF_PROBE_NO_HOLE	0xffffffffU
#define P2PBUF_PROBE_SEGMENTS	4
#define P2PBUF_PROBE_RAM_MAX	(4U << 20)

/**
 * struct p2pbuf_probe_segment - one DMA segment
 * @addr: DMA or physical address, see @kind
 * @len: bytes; RAM at most %P2PBUF_PROBE_RAM_MAX
 * @kind: one of &enum p2pbuf_probe_kind
 * @hole: number of the page that the IOMMU is not told of, or
 *	%P2PBUF_PROBE_NO_HOLE. Mapping fails with -EOPNOTSUPP where no IOMMU
 *	translates
 */
struct p2pbuf_probe_segment {
	__u64 addr;
	__u32 len;
	__u32 kind;
	__u32 hole;
	__u32 pad;
};

/**
 * struct p2pbuf_probe_make - make a dma-buf
 * @size: in, its size; 0 for the sum of the segments
 * @nr: in, number of segments, at least 1
 * @fd: out, the dma-buf
 * @segment: in
 */
struct p2pbuf_probe_make {
	__u64 size;
	__u32 nr;
	__s32 fd;
	struct p2pbuf_probe_segment segment[P2PBUF_PROBE_SEGMENTS];
};

#define P2PBUF_PROBE_JUDGE	_IOWR('Q', 0xe0, struct p2pbuf_probe_judge)
#define P2PBUF_PROBE_MAKE	_IOWR('Q', 0xe1, struct p2pbuf_probe_make)

/* Mark a PCI function, domain << 16 | bus << 8 | devfn, as disconnected. */
#define P2PBUF_PROBE_DISCONNECT	_IOW('Q', 0xe2, __u32)

/*
 * Tell the driver of such a function of a fatal error, and that it is over, as
 * error recovery of the PCI core does, each with its device_lock. The function
 * itself is as well as ever.
 */
#define P2PBUF_PROBE_FREEZE	_IOW('Q', 0xe3, __u32)
#define P2PBUF_PROBE_THAW	_IOW('Q', 0xe4, __u32)

#endif /* P2PBUF_PROBE_H */
