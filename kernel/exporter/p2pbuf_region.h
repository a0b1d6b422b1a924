/* SPDX-License-Identifier: GPL-2.0 */
/*
 * Offer a range of a PCI function's BAR as a DRM render node.
 *
 * A driver that has memory behind a BAR calls p2pbuf_region_register() when
 * its probe is complete and p2pbuf_region_unregister() first thing in its
 * remove. In between, programs allocate objects in the range, map them, move
 * them and share them as dma-bufs with any importer; the driver itself has
 * nothing more to do. example/region_example.c is such a driver.
 */
#ifndef P2PBUF_REGION_H
#define P2PBUF_REGION_H

#include <linux/pci.h>
#include <linux/types.h>

struct p2pbuf_region;

/**
 * struct p2pbuf_region_desc - what p2pbuf_region_register() offers
 * @pdev: the function; its driver is bound to it and has enabled it
 * @bar: index of a memory BAR that the driver has requested
 * @offset: first byte of the range in the BAR, multiple of PAGE_SIZE
 * @size: bytes of the range, multiple of PAGE_SIZE; 0 means to the end of
 *	the BAR
 * @reserved: bytes at the start of the range that are never allocated and
 *	that only windows can reach (registers, a firmware area), multiple of
 *	PAGE_SIZE, less than or equal to the size
 * @resident_limit: bytes of VRAM that one open file may hold; 0 takes the
 *	module's default
 * @pin_limit: bytes of VRAM that one user may pin; 0 takes the module's
 *	default
 * @paged: give the range struct pages, so that files can be read into objects
 *	and written from them (see p2pbuf_drm.h). The CPU then sees the BAR
 *	uncached, not write-combining, hence it is not for everybody. @offset
 *	and the size must be multiples of memremap_compat_align() (2 MiB), and
 *	a range can be paged once while the driver is bound
 * @unrevocable: an importer that pins may have VRAM although it cannot be told
 *	to let go, like the NICs whose memory regions are pinned for as long as
 *	they are registered. p2pbuf_region_unregister() then waits until it has
 *	let go by itself. Otherwise such an importer gets system memory
 *
 * Objects are allocated from the range after @reserved, which must be plain
 * memory: reading it has no side effect and what is written stays. The range
 * may be mapped write-combining when the BAR is prefetchable.
 */
struct p2pbuf_region_desc {
	struct pci_dev *pdev;
	unsigned int bar;
	resource_size_t offset;
	resource_size_t size;
	resource_size_t reserved;
	u64 resident_limit;
	u64 pin_limit;
	bool paged;
	bool unrevocable;
};

struct p2pbuf_region *
p2pbuf_region_register(const struct p2pbuf_region_desc *desc);
void p2pbuf_region_unregister(struct p2pbuf_region *region);
int p2pbuf_region_suspend(struct p2pbuf_region *region);
void p2pbuf_region_resume(struct p2pbuf_region *region);

#endif /* P2PBUF_REGION_H */
