// SPDX-License-Identifier: GPL-2.0
/*
 * Objects: what is common to VRAM objects and windows.
 *
 * References: handles, dma-bufs and CPU mappings hold the GEM object, which
 * holds the account of the file that created it. Files and dma-bufs also hold
 * the DRM device, so an object never outlives its region's struct.
 *
 * An object is held (kept from moving) while an importer has it pinned or the
 * kernel has it vmapped. Pins are charged, once per object, to the user who
 * pinned first; objects that may only live in VRAM are as good as pinned and
 * are charged for as long as they live.
 */
#include <linux/iosys-map.h>
#include <linux/slab.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "exporter.h"

/**
 * p2pbuf_object_alloc() - a bare object
 * @region: its region
 * @account: of the creating file
 * @size: bytes
 * @flags: P2PBUF_CREATE_* bits
 *
 * Return: the object, with GEM's reference count at one but without funcs, or
 * NULL. Undone by p2pbuf_object_free().
 */
struct p2pbuf_object *p2pbuf_object_alloc(struct p2pbuf_region *region,
					  struct p2pbuf_account *account,
					  u64 size, u32 flags)
{
	struct p2pbuf_object *obj;

	obj = kzalloc_obj(*obj);
	if (!obj)
		return NULL;

	drm_gem_private_object_init(&region->drm, &obj->tbo.base, size);
	obj->flags = flags;
	obj->placement = P2PBUF_PLACEMENT_SYSTEM;
	INIT_LIST_HEAD(&obj->account_node);
	kref_get(&account->kref);
	obj->account = account;

	spin_lock(&region->objects_lock);
	list_add_tail(&obj->region_node, &region->objects);
	spin_unlock(&region->objects_lock);

	return obj;
}

/* The last reference is gone and so is the memory. */
void p2pbuf_object_free(struct p2pbuf_object *obj)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	spin_lock(&region->objects_lock);
	list_del(&obj->region_node);
	spin_unlock(&region->objects_lock);

	p2pbuf_account_uncharge(obj);
	p2pbuf_quota_uncharge(&region->quota, &obj->charge);
	p2pbuf_account_put(obj->account);
	drm_gem_object_release(&obj->tbo.base);
	kfree(obj);
}

static int p2pbuf_object_charge_pin(struct p2pbuf_object *obj, u32 placement)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	u64 size = obj->tbo.base.size;
	int ret;

	if (placement == P2PBUF_PLACEMENT_VRAM)
		ret = p2pbuf_quota_charge_vram(&region->quota, size,
					       &obj->charge);
	else
		ret = p2pbuf_quota_charge_system(size, &obj->charge);

	if (ret == -EDQUOT)
		p2pbuf_refuse(region, P2PBUF_REFUSED_PIN_LIMIT, ret);
	return ret;
}

/**
 * p2pbuf_object_create() - a VRAM object in its first place
 * @region: where
 * @account: of the creating file
 * @size: bytes, checked
 * @placement: one P2PBUF_PLACEMENT_* bit
 * @flags: P2PBUF_CREATE_VRAM_ONLY or 0
 *
 * Called inside drm_dev_enter(). Nobody else can see the object until the
 * caller makes a handle for it.
 *
 * Return: the object, to be put with drm_gem_object_put(), or ERR_PTR.
 */
struct p2pbuf_object *p2pbuf_object_create(struct p2pbuf_region *region,
					   struct p2pbuf_account *account,
					   u64 size, u32 placement, u32 flags)
{
	struct p2pbuf_object *obj;
	int ret;

	/* What can never fit is not even accepted in system memory. */
	if (size > p2pbuf_region_vram_size(region))
		return ERR_PTR(p2pbuf_refuse(region, P2PBUF_REFUSED_NO_SPACE,
					     -ENOSPC));

	obj = p2pbuf_object_alloc(region, account, size, flags);
	if (!obj)
		return ERR_PTR(-ENOMEM);

	ret = p2pbuf_ttm_object_init(obj);
	if (ret)
		return ERR_PTR(ret);

	if (flags & P2PBUF_CREATE_VRAM_ONLY) {
		ret = p2pbuf_object_charge_pin(obj, P2PBUF_PLACEMENT_VRAM);
		if (ret)
			goto put_object;
	}

	ret = p2pbuf_object_move(obj, placement, false);
	if (ret)
		goto put_object;

	obj->generation = 1;
	return obj;

put_object:
	drm_gem_object_put(&obj->tbo.base);
	return ERR_PTR(ret);
}

/* Physical address of an object that is on the BAR. */
phys_addr_t p2pbuf_object_phys(const struct p2pbuf_object *obj)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	dma_resv_assert_held(obj->tbo.base.resv);

	if (p2pbuf_object_is_window(obj))
		return region->start + obj->window_offset;
	return region->start + region->reserved + p2pbuf_ttm_vram_offset(obj);
}

/* An importer uses it: last in the order of eviction. */
void p2pbuf_object_touch(struct p2pbuf_object *obj)
{
	dma_resv_assert_held(obj->tbo.base.resv);

	if (p2pbuf_object_is_window(obj))
		return;

	p2pbuf_ttm_touch(obj);
	p2pbuf_account_touch(obj);
}

/* Windows cannot move anyway. */
static void p2pbuf_object_hold(struct p2pbuf_object *obj)
{
	if (obj->held || p2pbuf_object_is_window(obj))
		return;

	p2pbuf_ttm_pin(obj);
	obj->held = true;
}

/**
 * p2pbuf_object_unhold() - let an object move again
 * @obj: the object
 *
 * When the last pin or vmap ended, or an unplug overrules them.
 */
void p2pbuf_object_unhold(struct p2pbuf_object *obj)
{
	dma_resv_assert_held(obj->tbo.base.resv);

	if (!obj->held)
		return;

	p2pbuf_ttm_unpin(obj);
	obj->held = false;
}

/**
 * p2pbuf_object_pin() - keep an object where it is, for an importer
 * @obj: the object
 *
 * Return: 0, -EDQUOT or -ENOMEM.
 */
int p2pbuf_object_pin(struct p2pbuf_object *obj)
{
	int ret;

	dma_resv_assert_held(obj->tbo.base.resv);

	if (!obj->pins && p2pbuf_object_is_movable(obj)) {
		ret = p2pbuf_object_charge_pin(obj, obj->placement);
		if (ret)
			return ret;
	}

	p2pbuf_object_hold(obj);
	obj->pins++;
	return 0;
}

void p2pbuf_object_unpin(struct p2pbuf_object *obj)
{
	dma_resv_assert_held(obj->tbo.base.resv);

	if (--obj->pins)
		return;

	if (p2pbuf_object_is_movable(obj))
		p2pbuf_quota_uncharge(&p2pbuf_object_region(obj)->quota,
				      &obj->charge);
	if (!obj->vmaps)
		p2pbuf_object_unhold(obj);
}

/**
 * p2pbuf_object_lose() - the place of an object is gone and its bytes with it
 * @obj: the object
 * @reason: why it could not be kept
 */
void p2pbuf_object_lose(struct p2pbuf_object *obj, int reason)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	dma_resv_assert_held(obj->tbo.base.resv);

	WRITE_ONCE(obj->gone, true);
	if (p2pbuf_object_is_window(obj))
		return;

	drm_notice(&region->drm, "%zu bytes lost with the device (%pe)\n",
		   obj->tbo.base.size, ERR_PTR(reason));
	p2pbuf_account_uncharge(obj);
	/* Out of memory? p2pbuf_ttm_unplug() comes again. */
	p2pbuf_ttm_purge(obj);
}

static int p2pbuf_object_vmap_place(struct p2pbuf_object *obj,
				    struct iosys_map *map)
{
	static const struct p2pbuf_move_ctx ctx = {};
	int idx, ret;

	if (obj->gone)
		return -ENODEV;

	/*
	 * What is vmapped cannot move, so a far importer that is attached
	 * already must find it in system memory. There, it must be in the
	 * domain that importers can map, for the same reason.
	 */
	if (!obj->held && (obj->placement == P2PBUF_PLACEMENT_SYSTEM ||
			   obj->far_attachments)) {
		ret = p2pbuf_object_to_system(obj, &ctx);
		if (ret)
			return ret;
	}
	if (obj->placement == P2PBUF_PLACEMENT_SYSTEM)
		return p2pbuf_ttm_vmap(obj, map);

	if (!drm_dev_enter(obj->tbo.base.dev, &idx))
		return -ENODEV;
	if (p2pbuf_object_is_window(obj))
		ret = p2pbuf_window_vmap(obj, map);
	else
		ret = p2pbuf_ttm_vmap(obj, map);
	drm_dev_exit(idx);
	return ret;
}

int p2pbuf_object_vmap(struct drm_gem_object *gem, struct iosys_map *map)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(gem);
	int ret;

	dma_resv_assert_held(gem->resv);

	ret = p2pbuf_object_vmap_place(obj, map);
	if (ret)
		return ret;

	p2pbuf_object_hold(obj);
	WRITE_ONCE(obj->vmaps, obj->vmaps + 1);
	return 0;
}

void p2pbuf_object_vunmap(struct drm_gem_object *gem, struct iosys_map *map)
{
	struct p2pbuf_object *obj = to_p2pbuf_object(gem);

	dma_resv_assert_held(gem->resv);

	if (p2pbuf_object_is_window(obj))
		p2pbuf_window_vunmap(obj, map);
	else
		p2pbuf_ttm_vunmap(obj, map);

	WRITE_ONCE(obj->vmaps, obj->vmaps - 1);
	if (!p2pbuf_object_is_fixed(obj))
		p2pbuf_object_unhold(obj);
	wake_up_all(&p2pbuf_object_region(obj)->settled);
}
