/* SPDX-License-Identifier: GPL-2.0 */
/*
 * /dev/p2pbuf-edu: an importer of dma-bufs for QEMU's edu device, which can
 * copy up to 2048 bytes at a time between any address and itself.
 *
 * Between kernel/mock/p2pbuf_edu.c and the tests only; no stable interface.
 * An attachment belongs to the open file that made it; closing the file
 * detaches.
 */
#ifndef P2PBUF_EDU_H
#define P2PBUF_EDU_H

#include <linux/ioctl.h>
#include <linux/types.h>

#define P2PBUF_EDU_DEVICE	"/dev/p2pbuf-edu"
#define P2PBUF_EDU_DMA_MAX	2048

/* A dynamic importer; without it one that pins when it maps. */
#define P2PBUF_EDU_DYNAMIC	(1U << 0)
/* It takes peer-to-peer addresses. */
#define P2PBUF_EDU_P2P		(1U << 1)
/* It has an invalidate callback. */
#define P2PBUF_EDU_REVOCABLE	(1U << 2)
/* When invalidated it forgets the mapping but unmaps only by UNMAP. */
#define P2PBUF_EDU_LAZY		(1U << 3)

/* What a good importer is. */
#define P2PBUF_EDU_GOOD		(P2PBUF_EDU_DYNAMIC | P2PBUF_EDU_P2P | \
				 P2PBUF_EDU_REVOCABLE)

/**
 * struct p2pbuf_edu_attach - attach a device to a dma-buf
 * @fd: in, the dma-buf
 * @pci: in, which edu, as domain << 16 | bus << 8 | devfn; 0 takes the first
 * @flags: in, P2PBUF_EDU_*; all but DYNAMIC need DYNAMIC
 * @id: out, the attachment
 * @p2p: out, what the exporter left of the wish for peer to peer
 * @pad: 0
 */
struct p2pbuf_edu_attach {
	__s32 fd;
	__u32 pci;
	__u32 flags;
	__u32 id;
	__u32 p2p;
	__u32 pad;
};

/**
 * struct p2pbuf_edu_map - map an attachment
 * @id: in
 * @nents: out, DMA segments
 * @addr: out, DMA address of the first
 * @size: out, bytes of all
 * @longest: out, bytes of the longest
 */
struct p2pbuf_edu_map {
	__u32 id;
	__u32 nents;
	__u64 addr;
	__u64 size;
	__u64 longest;
};

/**
 * struct p2pbuf_edu_fence - add a fence to the dma-buf
 * @id: in
 * @ms: in, when it signals; at the latest when the file is closed
 */
struct p2pbuf_edu_fence {
	__u32 id;
	__u32 ms;
};

/**
 * struct p2pbuf_edu_copy - copy between user memory and the dma-buf
 * @id: in
 * @write: in, 1 to the dma-buf, 0 from it
 * @offset: in, in the dma-buf
 * @data: in, address of the user's bytes
 * @len: in; DMA at most %P2PBUF_EDU_DMA_MAX
 * @pad: 0
 */
struct p2pbuf_edu_copy {
	__u32 id;
	__u32 write;
	__u64 offset;
	__u64 data;
	__u32 len;
	__u32 pad;
};

/**
 * struct p2pbuf_edu_stat - what happened to an attachment
 * @id: in
 * @mapped: out, 1 when it has a mapping that may be used
 * @invalidations: out, times the exporter took its mapping away
 * @fences: out, fences of FENCE on this file that have not signalled
 */
struct p2pbuf_edu_stat {
	__u32 id;
	__u32 mapped;
	__u32 invalidations;
	__u32 fences;
};

#define P2PBUF_EDU_ATTACH	_IOWR('Q', 0xd0, struct p2pbuf_edu_attach)
/* These take the id itself. */
#define P2PBUF_EDU_DETACH	_IO('Q', 0xd1)
#define P2PBUF_EDU_UNMAP	_IO('Q', 0xd2)
#define P2PBUF_EDU_PIN		_IO('Q', 0xd3)
#define P2PBUF_EDU_UNPIN	_IO('Q', 0xd4)
#define P2PBUF_EDU_VMAP		_IO('Q', 0xd5)
#define P2PBUF_EDU_VUNMAP	_IO('Q', 0xd6)
#define P2PBUF_EDU_MAP		_IOWR('Q', 0xd7, struct p2pbuf_edu_map)
#define P2PBUF_EDU_FENCE	_IOW('Q', 0xd8, struct p2pbuf_edu_fence)
/* DMA by the device through the mapping */
#define P2PBUF_EDU_DMA		_IOW('Q', 0xd9, struct p2pbuf_edu_copy)
/* copy by the CPU through the VMAP */
#define P2PBUF_EDU_CPU		_IOW('Q', 0xda, struct p2pbuf_edu_copy)
#define P2PBUF_EDU_STAT		_IOWR('Q', 0xdb, struct p2pbuf_edu_stat)

#endif /* P2PBUF_EDU_H */
