// SPDX-License-Identifier: GPL-2.0
/*
 * Objects as dma-bufs.
 *
 * An attachment is near or far. Near: the importer's device can reach the BAR
 * and the importer can be told to let go (it has an invalidate callback); it
 * maps an object where it is. Far: everybody else; what a far importer maps is
 * in system memory, and while one is attached the object neither is pinned in
 * VRAM nor moves there. An object that has no place in system memory refuses
 * far attachments.
 *
 * Two consequences. Whoever may have the BAR mapped can be revoked, so an
 * unplug ends in bounded time. And a far importer that was let in can always
 * map: dma-buf calls that broken (it warns) for importers that pin. What can
 * be known at attach is, therefore. Whether a device whose addresses are
 * translated sees the BAR through its IOMMU, or past it at an address that is
 * too long for it, shows in the mapping alone (pci_p2pdma_map_type() is not for
 * modules); one that has pinned by then gets EBUSY.
 *
 * An unrevocable region gives up the first: there an importer without the
 * callback is near as well, as long as it maps inside a pin of its own. It
 * need not be told of moves, for there are none, and an unplug waits for it.
 *
 * An importer that copies with the CPU attaches the core's device for that. It
 * is near where the region has pages: those are what it copies.
 *
 * An importer's invalidate callback can run inside its own map call, when the
 * mapping makes the object move; dma-buf says importers must cope.
 */
#include <linux/dma-buf.h>
#include <linux/dma-direct.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/iommu.h>
#include <linux/pci-p2pdma.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_prime.h>

#include "exporter.h"
#include "p2pbuf_compat_sgt.h"
#include "p2pbuf_core.h"

/*
 * Importers sync around their I/O where it is needed. Any number of them may
 * map the same pages, which dma-debug takes for a leak unless it is told.
 */
#define P2PBUF_SYSTEM_ATTRS \
	(DMA_ATTR_SKIP_CPU_SYNC | DMA_ATTR_DEBUGGING_IGNORE_CACHELINES)

static const struct p2pbuf_move_ctx p2pbuf_map_ctx = { .interruptible = true };

static bool p2pbuf_attachment_is_cpu(const struct dma_buf_attachment *attach)
{
	return attach->dev == p2pbuf_cpu_device();
}

/* The last address that a device can put on the bus. */
static u64 p2pbuf_dma_limit(struct device *dev)
{
	return min_not_zero(dma_get_mask(dev), dev->bus_dma_limit);
}

/*
 * Through the host bridge without an IOMMU the DMA API does compare, but it
 * warns, and whoever attaches such a device must not be able to make a kernel
 * warn. The path is not known to modules: a device behind the same switch is
 * asked for as many address bits, though its bus addresses may be shorter.
 */
static bool p2pbuf_range_is_addressable(struct device *dev,
					const struct phys_vec *range)
{
	struct iommu_domain *domain = iommu_get_domain_for_dev(dev);

	if (domain && domain->type != IOMMU_DOMAIN_IDENTITY)
		return true;
	return phys_to_dma_unencrypted(dev, range->paddr) + range->len - 1 <=
	       p2pbuf_dma_limit(dev);
}

/* All of the region: who knows where an object comes to lie. */
static bool p2pbuf_device_reaches(struct p2pbuf_region *region,
				  struct device *dev)
{
	const struct phys_vec all = {
		.paddr = region->start, .len = region->size,
	};

	/* The kernel's helper takes no other device than a PCI function. */
	if (!dev_is_pci(dev) || !p2pbuf_range_is_addressable(dev, &all))
		return false;
	/* Also fills the cache of dma_buf_phys_vec_to_sgt(). */
	return pci_p2pdma_distance(region->pdev, dev, false) >= 0;
}

static bool p2pbuf_attachment_is_near(struct p2pbuf_object *obj,
				      struct dma_buf_attachment *attach)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	bool near = false;
	int idx;

	if (!attach->peer2peer ||
	    (!dma_buf_attach_revocable(attach) && !region->unrevocable))
		return false;
	if (!drm_dev_enter(&region->drm, &idx))
		return false;

	if (p2pbuf_attachment_is_cpu(attach))
		near = p2pbuf_region_is_paged(region);
	else
		near = p2pbuf_device_reaches(region, attach->dev);
	drm_dev_exit(idx);
	return near;
}

static int p2pbuf_dmabuf_attach_far(struct p2pbuf_object *obj)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	dma_resv_assert_held(obj->tbo.base.resv);

	if (obj->gone || (!p2pbuf_object_is_movable(obj) &&
			  drm_dev_is_unplugged(&region->drm)))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_GONE, -ENODEV);
	if (!p2pbuf_object_is_movable(obj))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_FAR_IMPORTER,
				     -EREMOTEIO);
	if (obj->placement == P2PBUF_PLACEMENT_VRAM &&
	    p2pbuf_object_is_fixed(obj))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_FIXED, -EBUSY);

	obj->far_attachments++;
	return 0;
}

static int p2pbuf_dmabuf_attach(struct dma_buf *dmabuf,
				struct dma_buf_attachment *attach)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(dmabuf->priv);
	int ret;

	/* From here on peer2peer says near. */
	attach->peer2peer = p2pbuf_attachment_is_near(obj, attach);
	if (attach->peer2peer)
		return 0;

	ret = dma_resv_lock_interruptible(dmabuf->resv, NULL);
	if (ret)
		return ret;
	ret = p2pbuf_dmabuf_attach_far(obj);
	dma_resv_unlock(dmabuf->resv);
	return ret;
}

static void p2pbuf_dmabuf_detach(struct dma_buf *dmabuf,
				 struct dma_buf_attachment *attach)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(dmabuf->priv);

	if (attach->peer2peer)
		return;

	dma_resv_lock(dmabuf->resv, NULL);
	obj->far_attachments--;
	dma_resv_unlock(dmabuf->resv);
}

static int p2pbuf_dmabuf_pin_somewhere(struct p2pbuf_object *obj,
				       struct dma_buf_attachment *attach)
{
	int idx, ret;

	dma_resv_assert_held(obj->tbo.base.resv);

	/* Where it is, if every importer can follow it there. */
	if (obj->placement == P2PBUF_PLACEMENT_VRAM && !obj->gone &&
	    attach->peer2peer && !obj->far_attachments &&
	    drm_dev_enter(obj->tbo.base.dev, &idx)) {
		ret = p2pbuf_object_pin(obj);
		drm_dev_exit(idx);
		return ret;
	}

	/* Far importers were not let in: the device is going. */
	if (!p2pbuf_object_is_movable(obj))
		return p2pbuf_refuse(p2pbuf_object_region(obj),
				     P2PBUF_REFUSED_GONE, -ENODEV);

	if (!obj->held) {
		ret = p2pbuf_object_to_system(obj, &p2pbuf_map_ctx);
		/* To dma-buf EBUSY means that far importers are cut off. */
		if (ret)
			return ret == -EBUSY ? -ETIMEDOUT : ret;
	}
	return p2pbuf_object_pin(obj);
}

/* The pins of an attachment are counted in its private word. */
static bool p2pbuf_attachment_is_pinned(struct dma_buf_attachment *attach)
{
	return attach->priv;
}

static int p2pbuf_dmabuf_pin(struct dma_buf_attachment *attach)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(attach->dmabuf->priv);
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	ret = p2pbuf_dmabuf_pin_somewhere(obj, attach);
	if (!ret)
		attach->priv++;
	return ret;
}

static void p2pbuf_dmabuf_unpin(struct dma_buf_attachment *attach)
{
	dma_resv_assert_held(attach->dmabuf->resv);

	attach->priv--;
	p2pbuf_object_unpin(to_p2pbuf_object(attach->dmabuf->priv));
}

static struct sg_table *
p2pbuf_dmabuf_map_system(struct p2pbuf_object *obj,
			 struct dma_buf_attachment *attach,
			 enum dma_data_direction dir)
{
	size_t size = obj->tbo.base.size;
	struct sg_table *sgt;
	size_t segment;
	int ret;

	/* What the importer's device takes as one segment, bounced or not. */
	segment = min_t(size_t, dma_get_max_seg_size(attach->dev),
			dma_max_mapping_size(attach->dev));
	if (segment < PAGE_SIZE)
		return ERR_PTR(-EINVAL);

	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);

	ret = sg_alloc_table_from_pages_segment(sgt, p2pbuf_ttm_pages(obj),
						size >> PAGE_SHIFT, 0, size,
						segment, GFP_KERNEL);
	if (ret)
		goto free_sgt;

	ret = dma_map_sgtable(attach->dev, sgt, dir, P2PBUF_SYSTEM_ATTRS);
	if (ret)
		goto free_table;

	return sgt;

free_table:
	sg_free_table(sgt);
free_sgt:
	kfree(sgt);
	return ERR_PTR(ret);
}

/*
 * Nobody compares bus addresses with a device's DMA mask; a device that drops
 * the upper bits would write who knows where.
 */
static bool p2pbuf_sgt_is_addressable(struct device *dev, struct sg_table *sgt)
{
	u64 limit = p2pbuf_dma_limit(dev);
	struct scatterlist *sg;
	int i;

	for_each_sgtable_dma_sg(sgt, sg, i)
		if (sg_dma_address(sg) + sg_dma_len(sg) - 1 > limit)
			return false;
	return true;
}

/* For the CPU: physical addresses, and nothing that would be mapped. */
static struct sg_table *p2pbuf_dmabuf_map_cpu(struct p2pbuf_object *obj)
{
	u64 left = obj->tbo.base.size, addr = p2pbuf_object_phys(obj);
	struct scatterlist *sg;
	struct sg_table *sgt;
	int i;

	sgt = kzalloc_obj(*sgt);
	if (!sgt)
		return ERR_PTR(-ENOMEM);
	if (sg_alloc_table(sgt, DIV_ROUND_UP_ULL(left, SZ_1G), GFP_KERNEL)) {
		kfree(sgt);
		return ERR_PTR(-ENOMEM);
	}
	for_each_sgtable_dma_sg(sgt, sg, i) {
		sg_dma_address(sg) = addr;
		sg_dma_len(sg) = min_t(u64, left, SZ_1G);
		addr += sg_dma_len(sg);
		left -= sg_dma_len(sg);
	}
	/* As tables of BAR memory are, see p2pbuf_compat_sgt_is_mmio(). */
	sgt->orig_nents = 0;
	obj->vram_mappings++;
	return sgt;
}

static void p2pbuf_dmabuf_unmap_cpu(struct sg_table *sgt)
{
	sgt->orig_nents = sgt->nents;
	sg_free_table(sgt);
	kfree(sgt);
}

/*
 * -ERANGE when the device can reach the BAR but has too few address bits.
 * Inside drm_dev_enter(): the provider goes with the driver.
 */
static struct sg_table *
p2pbuf_dmabuf_map_vram(struct p2pbuf_object *obj,
		       struct dma_buf_attachment *attach,
		       enum dma_data_direction dir)
{
	/*
	 * One range: the kernel's helper links every range at IOVA offset 0,
	 * so a second one fails (dma-buf-mapping.c:158).
	 */
	struct phys_vec range = {
		.paddr = p2pbuf_object_phys(obj),
		.len = obj->tbo.base.size,
	};
	struct sg_table *sgt;

	if (p2pbuf_attachment_is_cpu(attach))
		return p2pbuf_dmabuf_map_cpu(obj);
	if (!p2pbuf_range_is_addressable(attach->dev, &range))
		return ERR_PTR(-ERANGE);

	sgt = dma_buf_phys_vec_to_sgt(attach,
				      p2pbuf_object_region(obj)->provider,
				      &range, 1, range.len, dir);
	if (IS_ERR(sgt))
		return sgt;

	if (!p2pbuf_sgt_is_addressable(attach->dev, sgt)) {
		p2pbuf_compat_sgt_free(attach, sgt, dir);
		return ERR_PTR(-ERANGE);
	}

	obj->vram_mappings++;
	return sgt;
}

/*
 * As a near importer; -ERANGE when it is none, or the object is not there. Who
 * would not hear of a move must have pinned.
 */
static struct sg_table *
p2pbuf_dmabuf_map_near(struct p2pbuf_object *obj,
		       struct dma_buf_attachment *attach,
		       enum dma_data_direction dir)
{
	struct sg_table *sgt;
	int idx, ret;

	if (obj->placement != P2PBUF_PLACEMENT_VRAM || !attach->peer2peer ||
	    !drm_dev_enter(obj->tbo.base.dev, &idx))
		return ERR_PTR(-ERANGE);

	sgt = ERR_PTR(-ERANGE);
	if (dma_buf_attach_revocable(attach) ||
	    p2pbuf_attachment_is_pinned(attach))
		sgt = p2pbuf_dmabuf_map_vram(obj, attach, dir);
	drm_dev_exit(idx);
	if (PTR_ERR_OR_ZERO(sgt) != -ERANGE)
		return sgt;

	/* Not near after all, and only now we know. */
	ret = p2pbuf_dmabuf_attach_far(obj);
	if (ret)
		return ERR_PTR(ret);
	attach->peer2peer = false;
	return ERR_PTR(-ERANGE);
}

static struct sg_table *p2pbuf_dmabuf_map(struct dma_buf_attachment *attach,
					  enum dma_data_direction dir)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(attach->dmabuf->priv);
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	if (obj->gone)
		return ERR_PTR(p2pbuf_refuse(region, P2PBUF_REFUSED_GONE,
					     -ENODEV));

	sgt = p2pbuf_dmabuf_map_near(obj, attach, dir);
	if (PTR_ERR_OR_ZERO(sgt) == -ERANGE) {
		/* Far importers were not let in: the device is going. */
		if (!p2pbuf_object_is_movable(obj))
			return ERR_PTR(p2pbuf_refuse(region,
						     P2PBUF_REFUSED_GONE,
						     -ENODEV));
		/* Also when it is there: it may be swapped out. */
		ret = p2pbuf_object_to_system(obj, &p2pbuf_map_ctx);
		sgt = ret ? ERR_PTR(ret) :
			    p2pbuf_dmabuf_map_system(obj, attach, dir);
	}
	if (IS_ERR(sgt))
		return sgt;

	obj->mappings++;
	p2pbuf_object_touch(obj);
	return sgt;
}

static void p2pbuf_dmabuf_unmap(struct dma_buf_attachment *attach,
				struct sg_table *sgt,
				enum dma_data_direction dir)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(attach->dmabuf->priv);

	dma_resv_assert_held(attach->dmabuf->resv);

	/* The object may have moved since: the table says what it is. */
	if (!p2pbuf_compat_sgt_is_mmio(sgt)) {
		dma_unmap_sgtable(attach->dev, sgt, dir, P2PBUF_SYSTEM_ATTRS);
		sg_free_table(sgt);
		kfree(sgt);
		return;
	}

	if (p2pbuf_attachment_is_cpu(attach))
		p2pbuf_dmabuf_unmap_cpu(sgt);
	else
		p2pbuf_compat_sgt_free(attach, sgt, dir);
	WRITE_ONCE(obj->vram_mappings, obj->vram_mappings - 1);
	wake_up_all(&p2pbuf_object_region(obj)->settled);
}

static int p2pbuf_dmabuf_begin_cpu_access(struct dma_buf *dmabuf,
					  enum dma_data_direction dir)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(dmabuf->priv);

	/* dma-buf waits for the fences after this. */
	return READ_ONCE(obj->gone) ? -ENODEV : 0;
}

/* What the CPU wrote is in VRAM, not in some buffer on the way. */
static int p2pbuf_dmabuf_end_cpu_access(struct dma_buf *dmabuf,
					enum dma_data_direction dir)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(dmabuf->priv);
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	int idx;

	if (READ_ONCE(obj->gone))
		return -ENODEV;
	if (dir == DMA_FROM_DEVICE ||
	    READ_ONCE(obj->placement) != P2PBUF_PLACEMENT_VRAM)
		return 0;

	if (drm_dev_enter(&region->drm, &idx)) {
		p2pbuf_region_flush(region);
		drm_dev_exit(idx);
	}
	return 0;
}

static void p2pbuf_dmabuf_release(struct dma_buf *dmabuf)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(dmabuf->priv);

	/* A move may be telling importers through it right now. */
	dma_resv_lock(dmabuf->resv, NULL);
	/* Unless it has a new one, which comes without the resv. */
	cmpxchg(&obj->dmabuf, dmabuf, NULL);
	dma_resv_unlock(dmabuf->resv);

	drm_gem_dmabuf_release(dmabuf);
}

static const struct dma_buf_ops p2pbuf_dmabuf_ops = {
	.attach = p2pbuf_dmabuf_attach,
	.detach = p2pbuf_dmabuf_detach,
	.pin = p2pbuf_dmabuf_pin,
	.unpin = p2pbuf_dmabuf_unpin,
	.map_dma_buf = p2pbuf_dmabuf_map,
	.unmap_dma_buf = p2pbuf_dmabuf_unmap,
	.begin_cpu_access = p2pbuf_dmabuf_begin_cpu_access,
	.end_cpu_access = p2pbuf_dmabuf_end_cpu_access,
	.release = p2pbuf_dmabuf_release,
	.mmap = drm_gem_dmabuf_mmap,
	.vmap = drm_gem_dmabuf_vmap,
	.vunmap = drm_gem_dmabuf_vunmap,
};

/**
 * p2pbuf_dmabuf_export() - the dma-buf of an object
 * @gem: the object
 * @flags: DRM_CLOEXEC, DRM_RDWR
 *
 * Called by DRM when the object has none yet.
 *
 * Return: the dma-buf, or ERR_PTR(-ENOMEM).
 */
struct dma_buf *p2pbuf_dmabuf_export(struct drm_gem_object *gem, int flags)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(gem);
	struct dma_buf_export_info info = {
		.exp_name = P2PBUF_DRIVER_NAME,
		.owner = THIS_MODULE,
		.ops = &p2pbuf_dmabuf_ops,
		.size = gem->size,
		.flags = flags,
		.priv = gem,
		.resv = gem->resv,
	};
	struct dma_buf *dmabuf;

	dmabuf = drm_gem_dmabuf_export(gem->dev, &info);
	if (IS_ERR(dmabuf))
		return dmabuf;

	/*
	 * DRM holds a lock of the whole device here, and a move holds the resv
	 * for as long as its victims' fences take. Nobody is attached, and who
	 * will be maps under the resv: no move can need it before that.
	 */
	smp_store_release(&obj->dmabuf, dmabuf);
	return dmabuf;
}

/**
 * p2pbuf_dmabuf_import() - the object behind a dma-buf
 * @drm: the region's device
 * @dmabuf: the dma-buf
 *
 * Only own objects come back: the exporter has no engine that could do
 * anything with memory of others. A handle gives all rights on its object, so
 * that whoever was given no more than a descriptor to read from gets none.
 *
 * Return: the object with a new reference, or ERR_PTR(-EREMOTE), -EACCES.
 */
struct drm_gem_object *p2pbuf_dmabuf_import(struct drm_device *drm,
					    struct dma_buf *dmabuf)
{
	struct drm_gem_object *gem = dmabuf->priv;

	if (dmabuf->ops != &p2pbuf_dmabuf_ops || gem->dev != drm)
		return ERR_PTR(p2pbuf_refuse(to_p2pbuf_region(drm),
					     P2PBUF_REFUSED_FOREIGN,
					     -EREMOTE));
	if (!(dmabuf->file->f_mode & FMODE_WRITE))
		return ERR_PTR(p2pbuf_refuse(to_p2pbuf_region(drm),
					     P2PBUF_REFUSED_READ_ONLY,
					     -EACCES));

	drm_gem_object_get(gem);
	return gem;
}
