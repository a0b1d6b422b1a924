// SPDX-License-Identifier: GPL-2.0
/*
 * Regions: a BAR range as a DRM device.
 *
 * Register builds everything and publishes the node last. Unregister takes
 * the way back in an order that leaves nobody with an address in the BAR:
 *
 *	1. drm_dev_unplug(): ioctls fail, sections that enter VRAM have ended,
 *	   CPU mappings are zapped
 *	2. every object moves to system memory, or is gone if it cannot, or if
 *	   the function does not answer any more
 *	3. of a paged region, memory that was freed with I/O in flight is
 *	   waited for
 *	4. VRAM's manager goes; it is empty
 *
 * After that the PCI driver may let go of the function. The DRM device, TTM
 * and the objects live on in system memory until the last file, mapping and
 * dma-buf is closed; binding the function again makes a new region.
 */
#include <linux/io.h>
#include <linux/module.h>
#include <linux/pci.h>
#include <linux/pci-p2pdma.h>

#include <drm/drm_drv.h>
#include <drm/drm_file.h>
#include <drm/drm_gem.h>
#include <drm/drm_ioctl.h>
#include <drm/drm_managed.h>
#include <drm/drm_print.h>

#include "exporter.h"
#include "p2pbuf_compat.h"

static unsigned int resident_limit_percent = 100;
module_param(resident_limit_percent, uint, 0644);
MODULE_PARM_DESC(resident_limit_percent,
		 "VRAM that one open file may hold, percent (default 100)");

static unsigned int pin_limit_percent = 50;
module_param(pin_limit_percent, uint, 0644);
MODULE_PARM_DESC(pin_limit_percent,
		 "VRAM that one user, and all users, may pin, percent (default 50)");

/* Count a refusal; returns @error so that it reads as part of the return. */
int p2pbuf_refuse(struct p2pbuf_region *region, enum p2pbuf_refusal why,
		  int error)
{
	atomic64_inc(&region->refusals[why]);
	return error;
}

/**
 * p2pbuf_region_flush() - the CPU's writes have arrived in VRAM
 * @region: the region
 *
 * The read cannot overtake posted writes to the same function, so its answer
 * says they are there. Call inside drm_dev_enter().
 */
void p2pbuf_region_flush(struct p2pbuf_region *region)
{
	wmb();		/* empties write-combining buffers */
	if (region->flush)
		readl(region->flush);
}

static int p2pbuf_region_open(struct drm_device *drm, struct drm_file *file)
{
	struct p2pbuf_account *account;

	account = p2pbuf_account_create(to_p2pbuf_region(drm)->resident_limit);
	if (!account)
		return -ENOMEM;

	file->driver_priv = account;
	return 0;
}

static void p2pbuf_region_postclose(struct drm_device *drm,
				    struct drm_file *file)
{
	p2pbuf_account_put(file->driver_priv);
}

static const struct file_operations p2pbuf_region_fops = {
	.owner = THIS_MODULE,
	.open = drm_open,
	.release = drm_release,
	.unlocked_ioctl = p2pbuf_ioctl,
	.compat_ioctl = p2pbuf_compat_ioctl,
	.poll = drm_poll,
	.read = drm_read,
	.llseek = noop_llseek,
	.get_unmapped_area = drm_gem_get_unmapped_area,
	.mmap = drm_gem_mmap,
	.fop_flags = FOP_UNSIGNED_OFFSET,
	.show_fdinfo = drm_show_fdinfo,
	.uring_cmd = p2pbuf_fixed_uring_cmd,
};

static const struct drm_driver p2pbuf_drm_driver = {
	.driver_features = DRIVER_GEM | DRIVER_RENDER,
	.open = p2pbuf_region_open,
	.postclose = p2pbuf_region_postclose,
	.gem_prime_import = p2pbuf_dmabuf_import,
	.show_fdinfo = p2pbuf_show_fdinfo,
	.debugfs_init = p2pbuf_ttm_debugfs,
	.fops = &p2pbuf_region_fops,
	.ioctls = p2pbuf_ioctls,
	.num_ioctls = P2PBUF_NUM_IOCTLS,
	.name = P2PBUF_DRIVER_NAME,
	.desc = "Peer-to-peer memory exporter",
	.major = 1,
	.minor = 0,
};

/* Is the range a part of a memory BAR, in whole pages? */
static int p2pbuf_region_check(const struct p2pbuf_region_desc *desc)
{
	resource_size_t length;

	if (desc->bar >= PCI_STD_NUM_BARS ||
	    !(pci_resource_flags(desc->pdev, desc->bar) & IORESOURCE_MEM))
		return -EINVAL;

	length = pci_resource_len(desc->pdev, desc->bar);
	if (!PAGE_ALIGNED(pci_resource_start(desc->pdev, desc->bar)) ||
	    !PAGE_ALIGNED(desc->offset) || !PAGE_ALIGNED(desc->size) ||
	    !PAGE_ALIGNED(desc->reserved))
		return -EINVAL;

	if (desc->offset >= length || desc->size > length - desc->offset ||
	    desc->reserved > (desc->size ?: length - desc->offset))
		return -ERANGE;
	/* All of it, and it is no page? */
	if (!desc->size && length - desc->offset < PAGE_SIZE)
		return -ERANGE;
	return 0;
}

static u64 p2pbuf_region_percent(struct p2pbuf_region *region,
				 unsigned int percent)
{
	return mul_u64_u64_div_u64(p2pbuf_region_vram_size(region), percent,
				   100);
}

static void p2pbuf_region_setup(struct p2pbuf_region *region,
				const struct p2pbuf_region_desc *desc)
{
	struct pci_dev *pdev = desc->pdev;
	u64 pin_limit;

	region->pdev = pdev;
	region->bar = desc->bar;
	region->start = pci_resource_start(pdev, desc->bar) + desc->offset;
	region->size = desc->size;
	if (!region->size)
		region->size = ALIGN_DOWN(pci_resource_len(pdev, desc->bar) -
					  desc->offset, PAGE_SIZE);
	region->reserved = desc->reserved;
	region->unrevocable = desc->unrevocable;

	region->resident_limit = desc->resident_limit ?:
		p2pbuf_region_percent(region, resident_limit_percent);
	pin_limit = p2pbuf_region_percent(region, pin_limit_percent);
	p2pbuf_quota_init(&region->quota, desc->pin_limit ?: pin_limit,
			  max(desc->pin_limit, pin_limit));

	mutex_init(&region->alloc_lock);
	spin_lock_init(&region->objects_lock);
	INIT_LIST_HEAD(&region->objects);
	init_waitqueue_head(&region->settled);
}

static int p2pbuf_region_map_io(struct p2pbuf_region *region)
{
	/* The pages are mapped already, and nothing else fits to that. */
	if (p2pbuf_region_is_paged(region)) {
		if (p2pbuf_region_vram_size(region))
			region->flush = p2pbuf_region_io(region,
							 region->reserved);
		return 0;
	}

	/* Without this x86 maps the BAR uncached whatever the PTE asks for. */
	if (pci_resource_flags(region->pdev, region->bar) &
	    IORESOURCE_PREFETCH)
		region->write_combining =
			!arch_io_reserve_memtype_wc(region->start,
						    region->size);

	/* Only memory can be read without side effects. */
	if (!p2pbuf_region_vram_size(region))
		return 0;

	if (region->write_combining)
		region->flush = ioremap_wc(region->start + region->reserved,
					   PAGE_SIZE);
	else
		region->flush = ioremap(region->start + region->reserved,
					PAGE_SIZE);
	return region->flush ? 0 : -ENOMEM;
}

static void p2pbuf_region_unmap_io(struct p2pbuf_region *region)
{
	if (region->flush && !p2pbuf_region_is_paged(region))
		iounmap(region->flush);
	region->flush = NULL;
	if (region->write_combining)
		arch_io_free_memtype_wc(region->start, region->size);
}

static int p2pbuf_region_init_p2pdma(struct p2pbuf_region *region)
{
	int ret;

	ret = pcim_p2pdma_init(region->pdev);
	if (ret)
		return ret;

	region->provider = pcim_p2pdma_provider(region->pdev, region->bar);
	return region->provider ? 0 : -ENODEV;
}

/*
 * Call @fn for every object that is alive, until it fails. Objects that come
 * while this runs may be missed; callers see to it that it does not matter.
 */
static int p2pbuf_region_for_each(struct p2pbuf_region *region,
				  int (*fn)(struct p2pbuf_object *obj))
{
	struct p2pbuf_object *obj;
	LIST_HEAD(todo);
	int ret = 0;

	spin_lock(&region->objects_lock);
	list_splice_init(&region->objects, &todo);
	while (!list_empty(&todo) && !ret) {
		obj = list_first_entry(&todo, struct p2pbuf_object,
				       region_node);
		list_move_tail(&obj->region_node, &region->objects);
		/* A dead one waits for its fences; TTM knows it. */
		if (!kref_get_unless_zero(&obj->tbo.base.refcount))
			continue;
		spin_unlock(&region->objects_lock);

		ret = fn(obj);
		drm_gem_object_put(&obj->tbo.base);
		cond_resched();

		spin_lock(&region->objects_lock);
	}
	list_splice_tail(&todo, &region->objects);
	spin_unlock(&region->objects_lock);
	return ret;
}

/* Unplugged, so none comes any more: creating is entering. */
static void p2pbuf_region_leave(struct p2pbuf_region *region)
{
	p2pbuf_region_for_each(region, p2pbuf_object_unplug);
	p2pbuf_paged_unplug(region);
}

/**
 * p2pbuf_region_register() - offer a BAR range as a DRM render node
 * @desc: the range; not needed after the call
 *
 * Call it from probe, as the last step: programs can use the node before this
 * returns. The function's peer-to-peer DMA provider is managed by devres, so
 * the region must be unregistered in remove at the latest.
 *
 * Context: process context, may sleep.
 *
 * Return: the region, or ERR_PTR: -EINVAL for a BAR that is no memory or
 * ranges that are not whole pages, -ERANGE for a range that is not inside the
 * BAR or all of a BAR that has no whole page, -EEXIST when the range of a paged
 * region has pages already, -ENOMEM, or what the DRM or PCI core returned.
 */
struct p2pbuf_region *
p2pbuf_region_register(const struct p2pbuf_region_desc *desc)
{
	struct p2pbuf_region *region;
	int ret;

	ret = p2pbuf_region_check(desc);
	if (ret)
		return ERR_PTR(ret);

	/* Not devm: a region can end before its driver does. */
	region = __drm_dev_alloc(&desc->pdev->dev, &p2pbuf_drm_driver,
				 sizeof(*region),
				 offsetof(struct p2pbuf_region, drm));
	if (IS_ERR(region))
		return region;
	p2pbuf_region_setup(region, desc);

	ret = p2pbuf_region_init_p2pdma(region);
	if (ret)
		goto put_drm;

	if (desc->paged) {
		ret = p2pbuf_paged_init(region);
		if (ret)
			goto fini_paged;
	}

	ret = p2pbuf_region_map_io(region);
	if (ret)
		goto unmap_io;

	ret = p2pbuf_ttm_init(region);
	if (ret)
		goto unmap_io;

	if (p2pbuf_region_is_paged(region)) {
		ret = p2pbuf_paged_init_quarantine(region);
		if (ret)
			goto fini_vram;
	}

	p2pbuf_debugfs_init(region);
	ret = drm_dev_register(&region->drm, 0);
	if (ret)
		goto empty_vram;

	drm_info(&region->drm,
		 "BAR %u of %s: %llu MiB%s%s, renderD%d\n", region->bar,
		 pci_name(region->pdev), region->size >> 20,
		 p2pbuf_region_is_paged(region) ? ", paged" : "",
		 region->write_combining ? "" : ", uncached",
		 region->drm.render->index);
	return region;

empty_vram:
	/* One node may have been there, and somebody quick enough to use it. */
	unmap_mapping_range(region->drm.anon_inode->i_mapping, 0, 0, 1);
	p2pbuf_region_leave(region);
fini_vram:
	p2pbuf_ttm_unplug(region);
unmap_io:
	p2pbuf_region_unmap_io(region);
fini_paged:
	p2pbuf_paged_fini(region);
put_drm:
	drm_dev_put(&region->drm);
	return ERR_PTR(ret);
}
EXPORT_SYMBOL_GPL(p2pbuf_region_register);

/**
 * p2pbuf_region_unregister() - take the render node back
 * @region: from p2pbuf_region_register()
 *
 * When this returns nothing reaches the BAR through the region any more:
 * importers were invalidated, waited for and have unmapped, CPU mappings are
 * gone. What can live in system memory was moved there, with its bytes, and
 * stays readable through existing mappings and dma-bufs. Where the function had
 * gone before, its bytes are nowhere, and nobody is given others in their place.
 * The region must not be used afterwards.
 *
 * Context: process context. Waits for importers' I/O, for their unmaps, for
 * kernel mappings of the BAR to end, and in a paged region for I/O by address
 * and for registered buffers; says so when it takes long.
 */
void p2pbuf_region_unregister(struct p2pbuf_region *region)
{
	drm_dev_unplug(&region->drm);
	p2pbuf_region_leave(region);
	p2pbuf_ttm_unplug(region);
	p2pbuf_region_unmap_io(region);
	p2pbuf_paged_fini(region);
	drm_dev_put(&region->drm);
}
EXPORT_SYMBOL_GPL(p2pbuf_region_unregister);

static int p2pbuf_region_resume_object(struct p2pbuf_object *obj)
{
	int ret = p2pbuf_object_resume(obj);

	/* Somebody else may have the room now. It can be moved back later. */
	if (ret)
		drm_notice(obj->tbo.base.dev,
			   "%zu bytes stay in system memory (%pe)\n",
			   obj->tbo.base.size, ERR_PTR(ret));
	return 0;
}

/**
 * p2pbuf_region_resume() - put back what p2pbuf_region_suspend() took
 * @region: the region
 *
 * Call it from dev_pm_ops.complete, when the device has power and programs
 * are not running yet: to them nothing has happened. What does not get in any
 * more stays in system memory.
 *
 * Context: process context, may sleep.
 */
void p2pbuf_region_resume(struct p2pbuf_region *region)
{
	p2pbuf_region_for_each(region, p2pbuf_region_resume_object);
}
EXPORT_SYMBOL_GPL(p2pbuf_region_resume);

/**
 * p2pbuf_region_suspend() - move everything to system memory for a while
 * @region: the region
 *
 * Call it from dev_pm_ops.prepare: programs are stopped, so nothing enters
 * VRAM, and disks still work, so there is memory to be had.
 *
 * Context: process context, may sleep.
 *
 * Return: 0; -EBUSY when something cannot leave VRAM (VRAM-only objects, pins,
 * kernel mappings), or -ENOMEM. The objects are back in VRAM then, and the
 * system must not sleep: the memory may lose power.
 */
int p2pbuf_region_suspend(struct p2pbuf_region *region)
{
	int ret;

	ret = p2pbuf_region_for_each(region, p2pbuf_object_suspend);
	if (ret) {
		drm_notice(&region->drm, "VRAM cannot be emptied (%pe)\n",
			   ERR_PTR(ret));
		p2pbuf_region_resume(region);
	}
	return ret;
}
EXPORT_SYMBOL_GPL(p2pbuf_region_suspend);

MODULE_IMPORT_NS("DMA_BUF");
MODULE_LICENSE("GPL");
MODULE_DESCRIPTION("Peer-to-peer memory exporter");
