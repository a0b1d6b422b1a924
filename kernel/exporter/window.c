// SPDX-License-Identifier: GPL-2.0
/*
 * Windows: fixed ranges of the BAR.
 *
 * A window owns no memory. It shows what is in its range, and that may belong
 * to other objects if the range is not reserved; hence CAP_SYS_RAWIO. It never
 * moves and is never cleared; the unplug of the device revokes it.
 */
#include <linux/io.h>
#include <linux/iosys-map.h>
#include <linux/mm.h>

#include <drm/drm_drv.h>

#include "exporter.h"

static void p2pbuf_window_gem_free(struct drm_gem_object *gem)
{
	p2pbuf_object_free(to_p2pbuf_object(gem));
}

static pgprot_t p2pbuf_window_prot(const struct p2pbuf_region *region,
				   pgprot_t prot)
{
	prot = pgprot_decrypted(prot);
	return region->write_combining ? pgprot_writecombine(prot) :
					 pgprot_noncached(prot);
}

/*
 * The resv is not needed: a window does not move, and drm_dev_unplug() waits
 * for this section and then zaps what it inserted.
 */
static vm_fault_t p2pbuf_window_fault(struct vm_fault *vmf)
{
	struct vm_area_struct *vma = vmf->vma;
	struct drm_gem_object *gem = vma->vm_private_data;
	struct p2pbuf_object *obj = to_p2pbuf_object(gem);
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	unsigned long page;
	vm_fault_t ret;
	int idx;

	if (!drm_dev_enter(gem->dev, &idx))
		return VM_FAULT_SIGBUS;

	page = vmf->pgoff - drm_vma_node_start(&gem->vma_node);
	ret = vmf_insert_pfn_prot(vma, vmf->address,
				  PHYS_PFN(region->start + obj->window_offset) +
				  page,
				  p2pbuf_window_prot(region,
						     vma->vm_page_prot));
	drm_dev_exit(idx);
	return ret;
}

static const struct vm_operations_struct p2pbuf_window_vm_ops = {
	.fault = p2pbuf_window_fault,
	.open = drm_gem_vm_open,
	.close = drm_gem_vm_close,
};

static int p2pbuf_window_gem_mmap(struct drm_gem_object *gem,
				  struct vm_area_struct *vma)
{
	/* A private copy of device memory makes no sense. */
	if (vma_is_cow_mapping(vma))
		return -EINVAL;

	/* The caller's reference goes to the vma. */
	vm_flags_set(vma, VM_PFNMAP | VM_IO | VM_DONTEXPAND | VM_DONTDUMP);
	return 0;
}

static const struct drm_gem_object_funcs p2pbuf_window_gem_funcs = {
	.free = p2pbuf_window_gem_free,
	.export = p2pbuf_dmabuf_export,
	.mmap = p2pbuf_window_gem_mmap,
	.vmap = p2pbuf_object_vmap,
	.vunmap = p2pbuf_object_vunmap,
	.vm_ops = &p2pbuf_window_vm_ops,
};

/**
 * p2pbuf_window_create() - a window onto the region
 * @region: where
 * @account: of the creating file
 * @size: bytes, multiple of PAGE_SIZE
 * @offset: first byte in the region, multiple of PAGE_SIZE
 *
 * Return: the object, to be put with drm_gem_object_put(); ERR_PTR(-ERANGE)
 * when it is not all inside the region, ERR_PTR(-ENOMEM).
 */
struct p2pbuf_object *p2pbuf_window_create(struct p2pbuf_region *region,
					   struct p2pbuf_account *account,
					   u64 size, u64 offset)
{
	struct p2pbuf_object *obj;
	int ret;

	if (offset >= region->size || size > region->size - offset)
		return ERR_PTR(-ERANGE);

	obj = p2pbuf_object_alloc(region, account, size,
				  P2PBUF_CREATE_WINDOW);
	if (!obj)
		return ERR_PTR(-ENOMEM);

	obj->tbo.base.funcs = &p2pbuf_window_gem_funcs;
	obj->window_offset = offset;
	obj->placement = P2PBUF_PLACEMENT_VRAM;
	obj->generation = 1;

	ret = drm_gem_create_mmap_offset(&obj->tbo.base);
	if (ret) {
		drm_gem_object_put(&obj->tbo.base);
		return ERR_PTR(ret);
	}

	return obj;
}

int p2pbuf_window_vmap(struct p2pbuf_object *obj, struct iosys_map *map)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	phys_addr_t phys = p2pbuf_object_phys(obj);
	void __iomem *vaddr;

	if (p2pbuf_region_is_paged(region))
		vaddr = p2pbuf_region_io(region, obj->window_offset);
	else if (region->write_combining)
		vaddr = ioremap_wc(phys, obj->tbo.base.size);
	else
		vaddr = ioremap(phys, obj->tbo.base.size);
	if (!vaddr)
		return -ENOMEM;

	iosys_map_set_vaddr_iomem(map, vaddr);
	return 0;
}

void p2pbuf_window_vunmap(struct p2pbuf_object *obj, struct iosys_map *map)
{
	if (!p2pbuf_region_is_paged(p2pbuf_object_region(obj)))
		iounmap(map->vaddr_iomem);
	iosys_map_clear(map);
}
