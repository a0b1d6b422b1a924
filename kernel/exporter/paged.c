// SPDX-License-Identifier: GPL-2.0
/*
 * Paged regions: a BAR range with a struct page for each page.
 *
 * The pages come from pci_p2pdma_add_resource(), so that the block layer and
 * the DMA API know them for what they are. All of its pool is taken at once:
 * TTM hands out the range. Each page has one reference that is the region's,
 * from p2pbuf_paged_init() to p2pbuf_paged_fini(), so no count ever drops to
 * zero and the pool never gets a page back by surprise. Every other reference
 * is a page table entry or somebody's I/O (GUP). Objects in system memory have
 * pages that are allocated one by one and treated alike.
 *
 * I/O by address starts without asking the exporter, so before the bytes of an
 * object are copied or its range gets another owner, page tables are zapped
 * (no new reference can be taken then: faults wait for the resv) and the
 * references that are left are waited for:
 *
 *	a move		holds the resv meanwhile, and must not do so for long:
 *			whoever has got half of the pages he needs waits for
 *			that resv to fault in the other half. So the wait is
 *			cut short, the resv dropped, and the move tried again;
 *			see p2pbuf_object_move()
 *	an eviction	passes over who is busy, and waits a moment for who has
 *			become so; if that was in vain the evictor comes again
 *	a free		cannot wait. The object stays what it is, off limits
 *			for everybody (quarantine), until its pages are idle
 *	an unplug	waits for as long as it takes, and says so
 *
 * In the exporter -ETXTBSY means: the pages are in use, let go of the locks and
 * come again. It never leaves the exporter.
 *
 * The page tables say "cached" for both placements, as those of the kernel's
 * own p2pmem do; that a BAR is not cached follows from the MTRRs.
 */
#include <linux/delay.h>
#include <linux/idr.h>
#include <linux/ioprio.h>
#include <linux/jiffies.h>
#include <linux/memremap.h>
#include <linux/mm.h>
#include <linux/page_ref.h>
#include <linux/pci-p2pdma.h>
#include <linux/sched/signal.h>
#include <linux/workqueue.h>

#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "exporter.h"

#define P2PBUF_QUARANTINE_POLL	msecs_to_jiffies(2)

/*
 * Hints that the kernel may give a meaning are handed out from 0 upward, and
 * there are ten bits.
 */
#define P2PBUF_HINT_FIRST	512
#define P2PBUF_HINT_LAST	(IOPRIO_NR_HINTS - 1)

static DEFINE_IDA(p2pbuf_hints);

static struct page *p2pbuf_paged_first(const struct p2pbuf_region *region)
{
	return pfn_to_page(PHYS_PFN(region->start));
}

/* Have the driver's other doings left the range alone? */
static int p2pbuf_paged_check(struct p2pbuf_region *region)
{
	struct dev_pagemap *pgmap;

	if (!IS_ALIGNED(region->start | region->size,
			memremap_compat_align())) {
		pci_err(region->pdev,
			"paged regions are multiples of %lu bytes\n",
			memremap_compat_align());
		return -EINVAL;
	}

	/* The kernel warns about pages that are there already. */
	pgmap = get_dev_pagemap(PHYS_PFN(region->start));
	if (pgmap) {
		put_dev_pagemap(pgmap);
		return -EEXIST;
	}
	return 0;
}

static int p2pbuf_paged_add_pages(struct p2pbuf_region *region)
{
	phys_addr_t bar = pci_resource_start(region->pdev, region->bar);
	struct page *page = p2pbuf_paged_first(region);
	unsigned long i;
	void *vaddr;
	int ret;

	ret = pci_p2pdma_add_resource(region->pdev, region->bar, region->size,
				      region->start - bar);
	if (ret)
		return ret;

	vaddr = pci_alloc_p2pmem(region->pdev, region->size);
	if (vaddr != page_address(page)) {
		/* Something else of the driver's. */
		if (vaddr)
			pci_free_p2pmem(region->pdev, vaddr, region->size);
		return -EBUSY;
	}

	region->paged = true;
	region->vaddr = vaddr;
	for (i = 0; i < region->size >> PAGE_SHIFT; i++)
		set_page_count(page + i, 1);
	return 0;
}

/**
 * p2pbuf_paged_init() - give a region pages
 * @region: the region; nobody uses it yet
 *
 * The pages last as long as the PCI driver is bound, so a range can be a paged
 * region once in that time.
 *
 * Return: 0, -EINVAL when the range is not made of whole memory subsections,
 * -EEXIST when it has pages, -ENOSPC when there are too many paged regions,
 * or what the PCI core returned. p2pbuf_paged_fini() undoes it, also when it
 * has failed.
 */
int p2pbuf_paged_init(struct p2pbuf_region *region)
{
	int ret;

	ret = p2pbuf_paged_check(region);
	if (ret)
		return ret;

	ret = ida_alloc_range(&p2pbuf_hints, P2PBUF_HINT_FIRST,
			      P2PBUF_HINT_LAST, GFP_KERNEL);
	if (ret < 0)
		return ret;
	region->hint = ret;

	return p2pbuf_paged_add_pages(region);
}

/*
 * Every living object has left. Others may be in quarantine; they are objects
 * to TTM, which would otherwise wait for them with a lock held.
 */
void p2pbuf_paged_unplug(struct p2pbuf_region *region)
{
	while (!wait_event_idle_timeout(region->settled,
					!atomic_read(&region->quarantined),
					P2PBUF_UNPLUG_REPORT))
		drm_notice(&region->drm,
			   "unplug waits for I/O on freed memory\n");
}

/* Nobody has anything in VRAM any more, and no page table leads there. */
static void p2pbuf_paged_remove_pages(struct p2pbuf_region *region)
{
	struct page *page = p2pbuf_paged_first(region);
	unsigned long i;

	for (i = 0; i < region->size >> PAGE_SHIFT; i++) {
		while (page_ref_count(page + i) > 1)
			msleep(20);
		/* Not put_page(): the pool gets all of it in one piece. */
		set_page_count(page + i, 0);
	}
	pci_free_p2pmem(region->pdev, region->vaddr, region->size);
	region->vaddr = NULL;
}

void p2pbuf_paged_fini(struct p2pbuf_region *region)
{
	if (region->vaddr)
		p2pbuf_paged_remove_pages(region);
	if (region->hint)
		ida_free(&p2pbuf_hints, region->hint);
}

/* The last reference to the DRM device is gone: no object dies any more. */
static void p2pbuf_paged_fini_quarantine(struct drm_device *drm, void *unused)
{
	struct p2pbuf_region *region = to_p2pbuf_region(drm);

	wait_event_idle(region->settled, !atomic_read(&region->quarantined));
	destroy_workqueue(region->quarantine);
}

/**
 * p2pbuf_paged_init_quarantine() - for what dies with I/O in flight
 * @region: a paged region; TTM is there, for objects end before it does
 *
 * Return: 0 or -ENOMEM. Undone with the DRM device.
 */
int p2pbuf_paged_init_quarantine(struct p2pbuf_region *region)
{
	region->quarantine = alloc_workqueue("p2pbuf-quarantine",
					     WQ_UNBOUND | WQ_MEM_RECLAIM, 0);
	if (!region->quarantine)
		return -ENOMEM;

	return drmm_add_action_or_reset(&region->drm,
					p2pbuf_paged_fini_quarantine, NULL);
}

/* What SQEs on fixed buffers in VRAM carry; see p2pbuf_drm.h. */
u32 p2pbuf_paged_priority(const struct p2pbuf_region *region)
{
	if (!p2pbuf_region_is_paged(region))
		return 0;
	return ioprio_value(IOPRIO_CLASS_BE, IOPRIO_BE_NORM, region->hint);
}

/**
 * p2pbuf_paged_page() - a page of an object
 * @obj: an object of a paged region
 * @index: which page
 *
 * Return: the page, without a reference; NULL in system memory that is not
 * populated.
 */
struct page *p2pbuf_paged_page(const struct p2pbuf_object *obj,
			       unsigned long index)
{
	dma_resv_assert_held(obj->tbo.base.resv);

	if (obj->placement == P2PBUF_PLACEMENT_VRAM)
		return pfn_to_page(PHYS_PFN(p2pbuf_object_phys(obj)) + index);
	return p2pbuf_ttm_page(obj, index);
}

static bool p2pbuf_page_is_idle(const struct page *page, bool mapped)
{
	int own = 1;

	/* References of page tables do not count when they can be zapped. */
	if (mapped)
		own += folio_mapcount(page_folio(page));
	return page_ref_count(page) <= own;
}

/*
 * The first page from @index on that somebody uses for I/O, or the number of
 * pages. With @mapped an estimate: page tables are not zapped.
 */
static unsigned long p2pbuf_paged_scan(const struct p2pbuf_object *obj,
				       unsigned long index, bool mapped)
{
	unsigned long pages = obj->tbo.base.size >> PAGE_SHIFT;
	struct page *page;

	if (obj->gone || !p2pbuf_ttm_has_place(obj))
		return pages;

	for (; index < pages; index++) {
		page = p2pbuf_paged_page(obj, index);
		if (page && !p2pbuf_page_is_idle(page, mapped))
			break;
	}
	return index;
}

/**
 * p2pbuf_paged_is_busy() - is somebody's I/O using a mapped object's pages?
 * @obj: the object
 *
 * Counted for p2pbuf_ttm_to_vram().
 *
 * Return: an estimate that is out of date when it is made.
 */
bool p2pbuf_paged_is_busy(struct p2pbuf_object *obj)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	if (!p2pbuf_region_is_paged(region) ||
	    p2pbuf_paged_scan(obj, 0, true) == obj->tbo.base.size >> PAGE_SHIFT)
		return false;

	atomic64_inc(&region->busy_victims);
	return true;
}

/**
 * p2pbuf_paged_wait() - wait until nobody's I/O uses an object's pages
 * @obj: the object; its page tables are zapped
 * @ctx: how to wait, and for how long
 *
 * Return: 0; -ETXTBSY when they are still in use; -ERESTARTSYS on a signal.
 */
int p2pbuf_paged_wait(struct p2pbuf_object *obj,
		      const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	unsigned long pages = obj->tbo.base.size >> PAGE_SHIFT;
	unsigned long index, end;

	dma_resv_assert_held(obj->tbo.base.resv);

	if (!p2pbuf_region_is_paged(region) || p2pbuf_object_is_window(obj))
		return 0;

	index = p2pbuf_paged_scan(obj, 0, false);
	if (index == pages)
		return 0;

	atomic64_inc(&region->page_waits);
	end = jiffies + (ctx->patience ?: P2PBUF_PAGES_LONG);
	while (!ctx->nowait && time_before(jiffies, end)) {
		if (ctx->interruptible && signal_pending(current))
			return -ERESTARTSYS;
		usleep_range(200, 1000);
		/* Those before were idle, and cannot have become busy. */
		index = p2pbuf_paged_scan(obj, index, false);
		if (index == pages)
			return 0;
	}
	return -ETXTBSY;
}

/* May the memory of a dead object have a next owner? */
static bool p2pbuf_paged_is_released(const struct p2pbuf_object *obj)
{
	/* Evicted meanwhile? Pages of system memory look after themselves. */
	return obj->placement != P2PBUF_PLACEMENT_VRAM ||
	       p2pbuf_paged_scan(obj, 0, false) ==
			obj->tbo.base.size >> PAGE_SHIFT;
}

/* The object is dead. Only this work, and TTM, know it still. */
static void p2pbuf_quarantine_work(struct work_struct *work)
{
	struct p2pbuf_object *obj =
		container_of(to_delayed_work(work), struct p2pbuf_object,
			     quarantine);
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	bool idle;

	dma_resv_lock(obj->tbo.base.resv, NULL);
	idle = p2pbuf_paged_is_released(obj);
	dma_resv_unlock(obj->tbo.base.resv);

	if (!idle) {
		queue_delayed_work(region->quarantine, &obj->quarantine,
				   P2PBUF_QUARANTINE_POLL);
		return;
	}

	p2pbuf_ttm_release(obj);
	if (atomic_dec_and_test(&region->quarantined))
		wake_up_all(&region->settled);
}

/**
 * p2pbuf_paged_quarantine() - keep a dead object's range from a next owner?
 * @obj: the object; its last reference is gone
 *
 * Return: true when its pages are in use. The object is freed later, then;
 * p2pbuf_region_unregister() and the end of the DRM device wait for that.
 */
bool p2pbuf_paged_quarantine(struct p2pbuf_object *obj)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	bool idle;

	if (!p2pbuf_region_is_paged(region) || READ_ONCE(obj->gone) ||
	    READ_ONCE(obj->placement) != P2PBUF_PLACEMENT_VRAM)
		return false;

	/* The caller may hold another object's: only a try. */
	if (dma_resv_trylock(obj->tbo.base.resv)) {
		idle = p2pbuf_paged_is_released(obj);
		dma_resv_unlock(obj->tbo.base.resv);
		if (idle)
			return false;
	}

	atomic64_inc(&region->quarantines);
	atomic_inc(&region->quarantined);
	INIT_DELAYED_WORK(&obj->quarantine, p2pbuf_quarantine_work);
	queue_delayed_work(region->quarantine, &obj->quarantine,
			   P2PBUF_QUARANTINE_POLL);
	return true;
}
