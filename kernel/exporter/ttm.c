// SPDX-License-Identifier: GPL-2.0
/*
 * Everything TTM, in one file: its interface changes with every release.
 *
 * Three memory types are used. VRAM is a range manager over the region, so an
 * object is always one contiguous range. TT is system memory that importers
 * may have mapped. SYSTEM is system memory that nobody has mapped: TTM may
 * swap it out without a word to importers, so whoever maps an object for DMA
 * brings it to TT first. To users TT and SYSTEM are the same placement.
 *
 * An object is born in SYSTEM with no page behind it, which costs nothing,
 * and is moved to its first place like to any other. TTM clears VRAM that is
 * entered by an object without pages and fills the rest from its pages, so no
 * byte of a range's previous owner survives before anybody can look.
 *
 * Objects of a paged region differ in that their pages in system memory are
 * allocated one by one, have their own counts, and are never swapped out: the
 * CPU maps pages, not page frames, and lends them to I/O. See paged.c.
 */
#include <linux/cgroup_dmem.h>
#include <linux/delay.h>
#include <linux/io.h>
#include <linux/sched/signal.h>

#include <drm/drm_drv.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>
#include <drm/ttm/ttm_placement.h>
#include <drm/ttm/ttm_range_manager.h>
#include <drm/ttm/ttm_resource.h>
#include <drm/ttm/ttm_tt.h>

#include "exporter.h"

static const struct ttm_place place_vram = { .mem_type = TTM_PL_VRAM };
static const struct ttm_place place_tt = { .mem_type = TTM_PL_TT };
static const struct ttm_place place_system = { .mem_type = TTM_PL_SYSTEM };

static struct ttm_placement placement_vram = {
	.num_placement = 1,
	.placement = &place_vram,
};

static struct ttm_placement placement_tt = {
	.num_placement = 1,
	.placement = &place_tt,
};

static struct ttm_placement placement_system = {
	.num_placement = 1,
	.placement = &place_system,
};

static struct ttm_placement placement_nowhere;

/* The TT manager hands out no addresses; the size only has to suffice. */
#define P2PBUF_TT_PAGES		U32_MAX

static void p2pbuf_ttm_object_destroy(struct ttm_buffer_object *tbo);

static struct p2pbuf_region *ttm_to_region(struct ttm_device *ttm)
{
	return container_of(ttm, struct p2pbuf_region, ttm);
}

/* NULL for the objects that TTM makes by itself to free memory later. */
static struct p2pbuf_object *tbo_to_object(struct ttm_buffer_object *tbo)
{
	if (tbo->destroy != p2pbuf_ttm_object_destroy)
		return NULL;
	return container_of(tbo, struct p2pbuf_object, tbo);
}

static bool tbo_in_vram(const struct ttm_buffer_object *tbo)
{
	return tbo->resource && tbo->resource->mem_type == TTM_PL_VRAM;
}

static struct ttm_operation_ctx
ttm_ctx(const struct p2pbuf_move_ctx *ctx)
{
	return (struct ttm_operation_ctx) {
		.interruptible = ctx->interruptible,
		.no_wait_gpu = ctx->nowait,
		/* Who does not insist gets an error, not an OOM kill. */
		.gfp_retry_mayfail = !ctx->insist,
	};
}

/* @obj: whose pages they are, to be looked at under its resv only */
struct p2pbuf_tt {
	struct ttm_tt tt;
	struct p2pbuf_object *obj;
};

static struct ttm_tt *p2pbuf_ttm_tt_create(struct ttm_buffer_object *tbo,
					   u32 flags)
{
	struct p2pbuf_tt *p;

	p = kzalloc_obj(*p);
	if (!p)
		return NULL;

	p->obj = tbo_to_object(tbo);
	if (ttm_tt_init(&p->tt, tbo, flags, ttm_cached, 0)) {
		kfree(p);
		return NULL;
	}

	return &p->tt;
}

static void p2pbuf_ttm_tt_destroy(struct ttm_device *ttm, struct ttm_tt *tt)
{
	ttm_tt_fini(tt);
	kfree(container_of(tt, struct p2pbuf_tt, tt));
}

static void p2pbuf_ttm_paged_unpopulate(struct ttm_device *ttm,
					struct ttm_tt *tt)
{
	u32 i;

	/* I/O that is under way keeps what it uses. */
	for (i = 0; i < tt->num_pages && tt->pages[i]; i++) {
		put_page(tt->pages[i]);
		tt->pages[i] = NULL;
	}
}

static int p2pbuf_ttm_paged_populate(struct ttm_device *ttm, struct ttm_tt *tt,
				     struct ttm_operation_ctx *ctx)
{
	struct p2pbuf_object *obj = container_of(tt, struct p2pbuf_tt, tt)->obj;
	gfp_t gfp = GFP_USER;
	u32 i;

	/*
	 * Who wants the memory pays, not who drives the object out of VRAM:
	 * his cgroup would be filled by others, or would keep him from VRAM.
	 */
	if (obj && (obj->asked || !obj->generation))
		gfp |= __GFP_ACCOUNT;
	if (ctx->gfp_retry_mayfail)
		gfp |= __GFP_RETRY_MAYFAIL | __GFP_NOWARN;
	if (tt->page_flags & TTM_TT_FLAG_ZERO_ALLOC)
		gfp |= __GFP_ZERO;

	for (i = 0; i < tt->num_pages; i++) {
		tt->pages[i] = alloc_page(gfp);
		if (!tt->pages[i]) {
			p2pbuf_ttm_paged_unpopulate(ttm, tt);
			return -ENOMEM;
		}
	}
	return 0;
}

static bool p2pbuf_ttm_eviction_valuable(struct ttm_buffer_object *tbo,
					 const struct ttm_place *place)
{
	struct p2pbuf_object *obj = tbo_to_object(tbo);

	/* A dead one only has to be freed. */
	if (obj && !tbo->deleted) {
		if (!p2pbuf_object_is_movable(obj))
			return false;
		/* Swapping out asks nobody who uses the pages. */
		if (p2pbuf_region_is_paged(p2pbuf_object_region(obj)) &&
		    !tbo_in_vram(tbo))
			return false;
		if (p2pbuf_paged_is_busy(obj))
			return false;
	}

	return ttm_bo_eviction_valuable(tbo, place);
}

static void p2pbuf_ttm_evict_flags(struct ttm_buffer_object *tbo,
				   struct ttm_placement *placement)
{
	struct p2pbuf_object *obj = tbo_to_object(tbo);

	/* What is lost has no place to go to either. */
	if (!obj || obj->gone || !p2pbuf_object_is_movable(obj))
		placement->num_placement = 0;
	else if (tbo_in_vram(tbo))
		*placement = placement_tt;
	else
		*placement = placement_system;
}

/*
 * TTM searches for room for as long as there are victims, and looks at signals
 * only where it has to sleep. What ends the search here is EINTR, for TTM logs
 * any other failed eviction; p2pbuf_ttm_to_vram() undoes that.
 */
static bool p2pbuf_ttm_drove_enough(struct p2pbuf_region *region,
				    const struct ttm_operation_ctx *ctx)
{
	return ctx->bytes_moved >=
	       P2PBUF_EVICT_ROUNDS * p2pbuf_region_vram_size(region);
}

static int p2pbuf_ttm_may_evict(struct p2pbuf_region *region,
				const struct ttm_operation_ctx *ctx)
{
	if (ctx->interruptible && signal_pending(current))
		return -ERESTARTSYS;
	return p2pbuf_ttm_drove_enough(region, ctx) ? -EINTR : 0;
}

/*
 * TTM has the destination and has zapped the CPU's mappings; the resv keeps
 * new faults out. See move.c for what happens when.
 */
static int p2pbuf_ttm_move(struct ttm_buffer_object *tbo, bool evict,
			   struct ttm_operation_ctx *ctx,
			   struct ttm_resource *to, struct ttm_place *hop)
{
	struct p2pbuf_region *region = ttm_to_region(tbo->bdev);
	struct p2pbuf_object *obj = tbo_to_object(tbo);
	struct p2pbuf_move_ctx move = {
		.interruptible = ctx->interruptible,
		.nowait = ctx->no_wait_gpu,
	};
	bool from_vram, to_vram;
	int ret;

	if (!tbo->resource) {
		ttm_bo_assign_mem(tbo, to);
		return 0;
	}

	from_vram = tbo_in_vram(tbo);
	to_vram = to->mem_type == TTM_PL_VRAM;

	if (evict && from_vram) {
		ret = p2pbuf_ttm_may_evict(region, ctx);
		if (ret)
			return ret;
	}
	ret = p2pbuf_move_quiesce(obj, &move);
	/*
	 * A victim that is busy ends an impatient search for room. TTM logs
	 * every failed eviction as an error unless it was interrupted; anybody
	 * could fill the log. p2pbuf_ttm_to_vram() undoes this. A swap-out,
	 * whoever it is for, passes over who is busy.
	 */
	if (ret == -EBUSY && evict && from_vram && ctx->no_wait_gpu)
		ret = -EINTR;
	if (!ret && (from_vram || to_vram)) {
		move.patience = evict ? P2PBUF_PAGES_SHORT : obj->patience;
		ret = p2pbuf_paged_wait(obj, &move);
	}
	/* For the same reason; p2pbuf_ttm_to_vram() looks at the counter. */
	if (ret == -ETXTBSY && evict) {
		atomic64_inc(&region->busy_victims);
		ret = -EINTR;
	}
	if (ret)
		return ret;

	if (!from_vram && !to_vram) {
		ttm_bo_move_null(tbo, to);
		return 0;
	}

	/* Reading from where nobody is succeeds, as does writing to there. */
	if (!pci_device_is_present(region->pdev))
		return -ENODEV;
	ret = ttm_bo_move_memcpy(tbo, ctx, to);
	if (ret)
		return ret;

	if (to_vram) {
		p2pbuf_region_flush(region);
		p2pbuf_move_done(obj, P2PBUF_PLACEMENT_VRAM);
	} else {
		/* What was copied since it went are not the object's bytes. */
		if (!pci_device_is_present(region->pdev))
			WRITE_ONCE(obj->gone, true);
		p2pbuf_move_done(obj, P2PBUF_PLACEMENT_SYSTEM);
	}
	return 0;
}

/* The object is dead, its fences have signalled, its memory goes now. */
static void p2pbuf_ttm_delete_mem_notify(struct ttm_buffer_object *tbo)
{
	struct p2pbuf_object *obj = tbo_to_object(tbo);
	struct p2pbuf_region *region;

	if (!obj)
		return;
	region = p2pbuf_object_region(obj);

	p2pbuf_account_uncharge(obj);
	p2pbuf_quota_uncharge(&region->quota, &obj->charge);
	if (obj->placement == P2PBUF_PLACEMENT_VRAM)
		atomic64_inc(&region->departures);
}

static int p2pbuf_ttm_io_mem_reserve(struct ttm_device *ttm,
				     struct ttm_resource *res)
{
	struct p2pbuf_region *region = ttm_to_region(ttm);

	if (res->mem_type != TTM_PL_VRAM)
		return 0;

	res->bus.offset = region->start + region->reserved +
			  ((u64)res->start << PAGE_SHIFT);
	if (p2pbuf_region_is_paged(region))
		res->bus.addr = region->vaddr + region->reserved +
				((u64)res->start << PAGE_SHIFT);
	res->bus.is_iomem = true;
	res->bus.caching = region->write_combining ? ttm_write_combined :
						     ttm_uncached;
	return 0;
}

/* ptrace and /proc/pid/mem; the resv is held. */
static int p2pbuf_ttm_access_memory(struct ttm_buffer_object *tbo,
				    unsigned long offset, void *buf, int len,
				    int write)
{
	struct p2pbuf_object *obj = tbo_to_object(tbo);
	struct p2pbuf_region *region = ttm_to_region(tbo->bdev);
	unsigned long in_page = offset_in_page(offset);
	void __iomem *page;
	phys_addr_t phys;
	int idx, ret = -EIO;

	if (!drm_dev_enter(tbo->base.dev, &idx))
		return -EIO;

	phys = p2pbuf_object_phys(obj) + offset - in_page;
	if (p2pbuf_region_is_paged(region))
		page = p2pbuf_region_io(region, phys - region->start);
	else
		page = ioremap_wc(phys, PAGE_SIZE);
	if (!page)
		goto exit;

	/* A short count makes the caller come again for the rest. */
	len = min_t(unsigned long, len, PAGE_SIZE - in_page);
	if (write)
		memcpy_toio(page + in_page, buf, len);
	else
		memcpy_fromio(buf, page + in_page, len);
	if (!p2pbuf_region_is_paged(region))
		iounmap(page);
	ret = len;
exit:
	drm_dev_exit(idx);
	return ret;
}

static const struct ttm_device_funcs p2pbuf_ttm_funcs = {
	.ttm_tt_create = p2pbuf_ttm_tt_create,
	.ttm_tt_destroy = p2pbuf_ttm_tt_destroy,
	.eviction_valuable = p2pbuf_ttm_eviction_valuable,
	.evict_flags = p2pbuf_ttm_evict_flags,
	.move = p2pbuf_ttm_move,
	.delete_mem_notify = p2pbuf_ttm_delete_mem_notify,
	.io_mem_reserve = p2pbuf_ttm_io_mem_reserve,
	.access_memory = p2pbuf_ttm_access_memory,
};

static const struct ttm_device_funcs p2pbuf_ttm_paged_funcs = {
	.ttm_tt_create = p2pbuf_ttm_tt_create,
	.ttm_tt_populate = p2pbuf_ttm_paged_populate,
	.ttm_tt_unpopulate = p2pbuf_ttm_paged_unpopulate,
	.ttm_tt_destroy = p2pbuf_ttm_tt_destroy,
	.eviction_valuable = p2pbuf_ttm_eviction_valuable,
	.evict_flags = p2pbuf_ttm_evict_flags,
	.move = p2pbuf_ttm_move,
	.delete_mem_notify = p2pbuf_ttm_delete_mem_notify,
	.io_mem_reserve = p2pbuf_ttm_io_mem_reserve,
	.access_memory = p2pbuf_ttm_access_memory,
};

/*
 * End a memory type that no living object is in. Dead ones may be: they wait
 * for their fences, and so does this.
 */
static void p2pbuf_ttm_fini_man(struct p2pbuf_region *region, int type)
{
	struct ttm_resource_manager *man = ttm_manager_type(&region->ttm, type);

	if (!man)
		return;

	while (ttm_resource_manager_evict_all(&region->ttm, man)) {
		drm_notice(&region->drm, "waiting for dead objects' fences\n");
		msleep(100);
	}
	ttm_range_man_fini_nocheck(&region->ttm, type);
}

/*
 * A limit of the dmem controller was set below what its cgroup has in VRAM. Who
 * is busy ends the search, see p2pbuf_ttm_move(), and is passed over by the next
 * one, which ENOSPC asks for.
 */
static int p2pbuf_ttm_reclaim(struct dmem_cgroup_pool_state *pool, u64 bytes,
			      void *man)
{
	int ret = ttm_resource_manager_dmem_reclaim(pool, bytes, man);

	return ret == -EINTR ? -ENOSPC : ret;
}

static const struct dmem_cgroup_ops p2pbuf_ttm_dmem_ops = {
	.reclaim = p2pbuf_ttm_reclaim,
};

/*
 * From now on TTM charges VRAM to the cgroup of who moves something there, as
 * drm/<function>/bar<number>. Nothing without CONFIG_CGROUP_DMEM.
 */
static int p2pbuf_ttm_init_dmem(struct p2pbuf_region *region,
				struct ttm_resource_manager *man)
{
	const struct dmem_cgroup_init init = {
		.size = p2pbuf_region_vram_size(region),
		.ops = &p2pbuf_ttm_dmem_ops,
		.reclaim_priv = man,
	};
	struct dmem_cgroup_region *dmem;

	dmem = dmem_cgroup_register_region(&init, "drm/%s/bar%u",
					   region->drm.unique, region->bar);
	if (IS_ERR(dmem))
		return PTR_ERR(dmem);

	ttm_resource_manager_set_dmem_region(man, dmem);
	return 0;
}

/*
 * Not by drmm_cgroup_register_region(): the DRM device outlives the manager,
 * and the name is wanted when the function is bound again. What has not left
 * VRAM yet keeps what it is charged to.
 */
static void p2pbuf_ttm_fini_dmem(struct ttm_resource_manager *man)
{
	struct dmem_cgroup_region *dmem = man->cg;

	ttm_resource_manager_set_dmem_region(man, NULL);
	dmem_cgroup_unregister_region(dmem);
}

/* The last reference to the DRM device is gone, and with it every object. */
static void p2pbuf_ttm_fini(struct drm_device *drm, void *unused)
{
	struct p2pbuf_region *region = to_p2pbuf_region(drm);

	p2pbuf_ttm_fini_man(region, TTM_PL_TT);
	ttm_device_fini(&region->ttm);
}

int p2pbuf_ttm_init(struct p2pbuf_region *region)
{
	struct drm_device *drm = &region->drm;
	int ret;

	ret = ttm_device_init(&region->ttm, p2pbuf_region_is_paged(region) ?
			      &p2pbuf_ttm_paged_funcs : &p2pbuf_ttm_funcs,
			      drm->dev,
			      drm->anon_inode->i_mapping,
			      drm->vma_offset_manager,
			      TTM_ALLOCATION_PROPAGATE_ENOSPC);
	if (ret)
		return ret;

	/* Objects outlive an unplug, so TTM must outlive objects. */
	ret = drmm_add_action_or_reset(drm, p2pbuf_ttm_fini, NULL);
	if (ret)
		return ret;

	ret = ttm_range_man_init(&region->ttm, TTM_PL_TT, true,
				 P2PBUF_TT_PAGES);
	if (ret)
		return ret;

	ret = ttm_range_man_init(&region->ttm, TTM_PL_VRAM, false,
				 p2pbuf_region_vram_size(region) >> PAGE_SHIFT);
	if (ret)
		return ret;

	ret = p2pbuf_ttm_init_dmem(region, ttm_manager_type(&region->ttm,
							    TTM_PL_VRAM));
	if (ret)
		p2pbuf_ttm_fini_man(region, TTM_PL_VRAM);
	return ret;
}

/* Nothing enters VRAM any more and every living object has left. */
void p2pbuf_ttm_unplug(struct p2pbuf_region *region)
{
	p2pbuf_ttm_fini_dmem(ttm_manager_type(&region->ttm, TTM_PL_VRAM));
	p2pbuf_ttm_fini_man(region, TTM_PL_VRAM);
}

u64 p2pbuf_ttm_vram_used(struct p2pbuf_region *region)
{
	return ttm_resource_manager_usage(ttm_manager_type(&region->ttm,
							   TTM_PL_VRAM));
}

static void p2pbuf_ttm_object_destroy(struct ttm_buffer_object *tbo)
{
	p2pbuf_object_free(container_of(tbo, struct p2pbuf_object, tbo));
}

/* To TTM: free it when its fences have signalled. */
void p2pbuf_ttm_release(struct p2pbuf_object *obj)
{
	ttm_bo_fini(&obj->tbo);
}

static void p2pbuf_ttm_gem_free(struct drm_gem_object *gem)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(gem);

	if (!p2pbuf_paged_quarantine(obj))
		p2pbuf_ttm_release(obj);
}

static int p2pbuf_ttm_gem_mmap(struct drm_gem_object *gem,
			       struct vm_area_struct *vma)
{
	int ret;

	ret = ttm_bo_mmap_obj(vma, &to_p2pbuf_object(gem)->tbo);
	if (ret)
		return ret;

	/* Pages, which may be lent, instead of page frames. */
	if (p2pbuf_region_is_paged(to_p2pbuf_region(gem->dev)))
		vm_flags_mod(vma, VM_MIXEDMAP, VM_PFNMAP | VM_IO);

	/* TTM took its own reference for the vma; the caller's one goes. */
	drm_gem_object_put(gem);
	return 0;
}

/*
 * Unplugged, but the object is still in VRAM: p2pbuf_region_unregister() has
 * not come to it yet. Do its work for this object.
 */
static vm_fault_t p2pbuf_ttm_fault_unplugged(struct p2pbuf_object *obj,
					     const struct vm_fault *vmf)
{
	const struct p2pbuf_move_ctx ctx = {
		.interruptible = true,
		.patience = P2PBUF_PAGES_SHORT,
	};

	if (!p2pbuf_object_is_movable(obj))
		return VM_FAULT_SIGBUS;

	switch (p2pbuf_object_to_system(obj, &ctx)) {
	case 0:
		return VM_FAULT_NOPAGE;
	case -ETXTBSY:
		/* I/O would wait for the pages that it holds itself. */
		if (!(vmf->flags & FAULT_FLAG_USER))
			return VM_FAULT_SIGBUS;
		fallthrough;
	case -EINTR:
	case -ERESTARTSYS:
	case -EBUSY:
		/*
		 * A copy by the kernel faults again without a look at signals,
		 * and what keeps the object may end only with this task.
		 */
		if (fatal_signal_pending(current))
			return VM_FAULT_SIGBUS;
		schedule_timeout_killable(1);
		return VM_FAULT_NOPAGE;
	case -ENOMEM:
		return VM_FAULT_OOM;
	default:
		return VM_FAULT_SIGBUS;
	}
}

/* Where the object is, and the resv keeps it. */
static vm_fault_t p2pbuf_ttm_fault_page(struct vm_fault *vmf)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	struct ttm_operation_ctx ctx = {
		.interruptible = vmf->flags & FAULT_FLAG_INTERRUPTIBLE,
	};
	unsigned long index;

	if (!p2pbuf_region_is_paged(ttm_to_region(tbo->bdev)))
		return ttm_bo_vm_fault_reserved(vmf, vmf->vma->vm_page_prot,
						TTM_BO_VM_NUM_PREFAULT);

	index = vmf->pgoff - drm_vma_node_start(&tbo->base.vma_node);
	if (index >= PFN_UP(tbo->base.size))
		return VM_FAULT_SIGBUS;

	if (!tbo_in_vram(tbo)) {
		switch (ttm_bo_populate(tbo, &ctx)) {
		case 0:
			break;
		case -EINTR:
		case -ERESTARTSYS:
			return VM_FAULT_NOPAGE;
		default:
			return VM_FAULT_OOM;
		}
	}
	return vmf_insert_page_mkwrite(vmf,
				       p2pbuf_paged_page(tbo_to_object(tbo),
							 index),
				       vmf->flags & FAULT_FLAG_WRITE);
}

/*
 * ttm_bo_vm_fault() maps a page of zeroes once the device is unplugged, even
 * though the object may be alive in system memory. Hence this one.
 */
static vm_fault_t p2pbuf_ttm_fault(struct vm_fault *vmf)
{
	struct ttm_buffer_object *tbo = vmf->vma->vm_private_data;
	struct p2pbuf_object *obj = tbo_to_object(tbo);
	vm_fault_t ret;
	int idx;

	ret = ttm_bo_vm_reserve(tbo, vmf);
	if (ret)
		return ret;

	if (obj->gone) {
		ret = VM_FAULT_SIGBUS;
	} else if (!tbo_in_vram(tbo)) {
		ret = p2pbuf_ttm_fault_page(vmf);
	} else if (drm_dev_enter(tbo->base.dev, &idx)) {
		ret = p2pbuf_ttm_fault_page(vmf);
		drm_dev_exit(idx);
	} else {
		ret = p2pbuf_ttm_fault_unplugged(obj, vmf);
	}

	/* TTM has dropped the resv and mmap_lock already. */
	if (ret == VM_FAULT_RETRY && !(vmf->flags & FAULT_FLAG_RETRY_NOWAIT))
		return ret;

	dma_resv_unlock(tbo->base.resv);
	return ret;
}

/*
 * What GUP refuses comes here, from ptrace and /proc/pid/mem, and neither they
 * nor TTM ask whether the mapping may be written. GUP writes no shared mapping
 * that is not writable, even by force; nor does this. The next mapping may be
 * of another kind, so the end of this one is the end.
 */
static int p2pbuf_ttm_access(struct vm_area_struct *vma, unsigned long addr,
			     void *buf, int len, int write)
{
	if (write && !(vma->vm_flags & VM_WRITE))
		return -EACCES;

	return ttm_bo_vm_access(vma, addr, buf,
				min_t(unsigned long, len, vma->vm_end - addr),
				write);
}

static const struct vm_operations_struct p2pbuf_ttm_vm_ops = {
	.fault = p2pbuf_ttm_fault,
	.open = ttm_bo_vm_open,
	.close = ttm_bo_vm_close,
	.access = p2pbuf_ttm_access,
};

static const struct drm_gem_object_funcs p2pbuf_ttm_gem_funcs = {
	.free = p2pbuf_ttm_gem_free,
	.export = p2pbuf_dmabuf_export,
	.mmap = p2pbuf_ttm_gem_mmap,
	.vmap = p2pbuf_object_vmap,
	.vunmap = p2pbuf_object_vunmap,
	.vm_ops = &p2pbuf_ttm_vm_ops,
};

/**
 * p2pbuf_ttm_object_init() - make a fresh object known to TTM
 * @obj: from p2pbuf_object_alloc(); TTM owns it from now on
 *
 * The object ends up in system memory, without a page.
 *
 * Return: 0, or an error; the object is freed then.
 */
int p2pbuf_ttm_object_init(struct p2pbuf_object *obj)
{
	struct ttm_operation_ctx ctx = { .interruptible = true };
	int ret;

	obj->tbo.base.funcs = &p2pbuf_ttm_gem_funcs;
	ret = ttm_bo_init_reserved(&p2pbuf_object_region(obj)->ttm, &obj->tbo,
				   ttm_bo_type_device, &placement_system, 0,
				   &ctx, NULL, NULL, p2pbuf_ttm_object_destroy);
	if (ret)
		return ret;

	ttm_bo_unreserve(&obj->tbo);
	return 0;
}

int p2pbuf_ttm_to_vram(struct p2pbuf_object *obj,
		       const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	struct ttm_operation_ctx tctx = ttm_ctx(ctx);
	s64 busy = atomic64_read(&region->busy_victims);
	int ret;

	obj->patience = ctx->patience;
	/* One budget for all tries of a move. */
	tctx.bytes_moved = obj->drove;
	ret = ttm_bo_validate(&obj->tbo, &placement_vram, &tctx);
	obj->drove = tctx.bytes_moved;
	if (ret == -EINTR && p2pbuf_ttm_drove_enough(region, &tctx))
		return -ENOSPC;
	/* There will be space when somebody's I/O is over. */
	if ((ret == -EINTR || ret == -ENOSPC) &&
	    busy != atomic64_read(&region->busy_victims))
		return -ETXTBSY;
	return ret == -EINTR && ctx->nowait ? -EBUSY : ret;
}

/* To TT with all its pages, where importers can map it. */
int p2pbuf_ttm_to_system(struct p2pbuf_object *obj,
			 const struct p2pbuf_move_ctx *ctx)
{
	struct ttm_operation_ctx tctx = ttm_ctx(ctx);
	int ret;

	obj->patience = ctx->patience;
	ret = ttm_bo_validate(&obj->tbo, &placement_tt, &tctx);
	if (ret)
		return ret;
	/* In the middle of the copy. */
	if (obj->gone)
		return -ENODEV;

	return ttm_bo_populate(&obj->tbo, &tctx);
}

/* Drop the content; the object must be idle. */
int p2pbuf_ttm_purge(struct p2pbuf_object *obj)
{
	struct ttm_operation_ctx ctx = {};

	ttm_bo_unmap_virtual(&obj->tbo);
	return ttm_bo_validate(&obj->tbo, &placement_nowhere, &ctx);
}

void p2pbuf_ttm_pin(struct p2pbuf_object *obj)
{
	ttm_bo_pin(&obj->tbo);
}

void p2pbuf_ttm_unpin(struct p2pbuf_object *obj)
{
	ttm_bo_unpin(&obj->tbo);
}

int p2pbuf_ttm_vmap(struct p2pbuf_object *obj, struct iosys_map *map)
{
	return ttm_bo_vmap(&obj->tbo, map);
}

void p2pbuf_ttm_vunmap(struct p2pbuf_object *obj, struct iosys_map *map)
{
	ttm_bo_vunmap(&obj->tbo, map);
}

/*
 * Not when its last reference went during an unplug: p2pbuf_ttm_unplug() takes
 * the place of what may not live in system memory and tells nobody.
 */
bool p2pbuf_ttm_has_place(const struct p2pbuf_object *obj)
{
	dma_resv_assert_held(obj->tbo.base.resv);

	return obj->tbo.resource;
}

/* Offset of an object in VRAM from the first allocatable byte. */
u64 p2pbuf_ttm_vram_offset(const struct p2pbuf_object *obj)
{
	return (u64)obj->tbo.resource->start << PAGE_SHIFT;
}

/* After p2pbuf_ttm_to_system(), under the same resv. */
struct page **p2pbuf_ttm_pages(const struct p2pbuf_object *obj)
{
	return obj->tbo.ttm->pages;
}

/* NULL where it is not populated; under the resv. */
struct page *p2pbuf_ttm_page(const struct p2pbuf_object *obj,
			     unsigned long index)
{
	const struct ttm_tt *tt = obj->tbo.ttm;

	return tt && tt->pages ? tt->pages[index] : NULL;
}

/* Used just now: last to be evicted. */
void p2pbuf_ttm_touch(struct p2pbuf_object *obj)
{
	ttm_bo_move_to_lru_tail_unlocked(&obj->tbo);
}

void p2pbuf_ttm_debugfs(struct drm_minor *minor)
{
	struct p2pbuf_region *region = to_p2pbuf_region(minor->dev);

	ttm_resource_manager_create_debugfs(ttm_manager_type(&region->ttm,
							     TTM_PL_VRAM),
					    minor->debugfs_root, "vram_mm");
}
