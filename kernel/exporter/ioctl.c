// SPDX-License-Identifier: GPL-2.0
/*
 * The ioctls of the render node.
 *
 * drm_ioctl() accepts structs of any size: it pads short ones with zeroes and
 * cuts long ones off. Here a wrapper in front of it refuses what the header
 * says is refused; one table holds what it needs to know.
 */
#include <linux/capability.h>
#include <linux/nospec.h>
#include <linux/pci-p2pdma.h>
#include <linux/uaccess.h>

#include <drm/drm_drv.h>
#include <drm/drm_ioctl.h>

#include "exporter.h"
#include "p2pbuf_core.h"

static bool p2pbuf_placement_is_valid(u32 placement)
{
	return placement == P2PBUF_PLACEMENT_VRAM ||
	       placement == P2PBUF_PLACEMENT_SYSTEM;
}

static int p2pbuf_ioctl_device_info(struct drm_device *drm, void *data,
				    struct drm_file *file)
{
	struct p2pbuf_region *region = to_p2pbuf_region(drm);
	struct p2pbuf_account *account = file->driver_priv;
	struct drm_p2pbuf_device_info *info = data;
	struct pci_dev *pdev = region->pdev;
	int idx;

	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;

	*info = (struct drm_p2pbuf_device_info) {
		.vram_size = p2pbuf_region_vram_size(region),
		.vram_used = p2pbuf_ttm_vram_used(region),
		.pci = p2pbuf_function_id(pdev),
		.bar = region->bar,
		.page_size = PAGE_SIZE,
		.resident_limit = account->limit,
		.resident_used = p2pbuf_account_used(account),
		.pin_limit = region->quota.user_limit,
		.pin_used = p2pbuf_quota_used(&region->quota),
		.io_priority = p2pbuf_paged_priority(region),
	};
	if (p2pbuf_region_is_paged(region))
		info->flags |= P2PBUF_DEVICE_PAGED;

	drm_dev_exit(idx);
	return 0;
}

static int p2pbuf_create_check(const struct drm_p2pbuf_gem_create *args)
{
	const u32 kinds = P2PBUF_CREATE_VRAM_ONLY | P2PBUF_CREATE_WINDOW;
	bool window = args->flags & P2PBUF_CREATE_WINDOW;

	if (args->pad || args->flags & ~kinds || args->flags == kinds ||
	    !p2pbuf_placement_is_valid(args->placement))
		return -EINVAL;
	if (args->flags && args->placement != P2PBUF_PLACEMENT_VRAM)
		return -EINVAL;
	if (!window && args->window_offset)
		return -EINVAL;
	if (!args->size || !PAGE_ALIGNED(args->size) ||
	    !PAGE_ALIGNED(args->window_offset))
		return -EDOM;
	return 0;
}

static int p2pbuf_ioctl_gem_create(struct drm_device *drm, void *data,
				   struct drm_file *file)
{
	struct p2pbuf_region *region = to_p2pbuf_region(drm);
	struct p2pbuf_account *account = file->driver_priv;
	struct drm_p2pbuf_gem_create *args = data;
	struct p2pbuf_object *obj;
	int idx, ret;

	ret = p2pbuf_create_check(args);
	if (ret)
		return ret;

	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;

	if (!(args->flags & P2PBUF_CREATE_WINDOW))
		obj = p2pbuf_object_create(region, account, args->size,
					   args->placement, args->flags);
	else if (capable(CAP_SYS_RAWIO))
		obj = p2pbuf_window_create(region, account, args->size,
					   args->window_offset);
	else
		obj = ERR_PTR(p2pbuf_refuse(region, P2PBUF_REFUSED_PRIVILEGE,
					    -EPERM));
	if (IS_ERR(obj)) {
		ret = PTR_ERR(obj);
		goto exit;
	}

	args->mmap_offset = drm_vma_node_offset_addr(&obj->tbo.base.vma_node);
	ret = drm_gem_handle_create(file, &obj->tbo.base, &args->handle);
	/* The handle holds it now, or nobody does. */
	drm_gem_object_put(&obj->tbo.base);
exit:
	drm_dev_exit(idx);
	return ret;
}

static int p2pbuf_ioctl_gem_move(struct drm_device *drm, void *data,
				 struct drm_file *file)
{
	struct drm_p2pbuf_gem_move *args = data;
	struct drm_gem_object *gem;
	int ret;

	if (args->pad || args->flags & ~P2PBUF_MOVE_NOWAIT ||
	    !p2pbuf_placement_is_valid(args->placement))
		return -EINVAL;

	gem = drm_gem_object_lookup(file, args->handle);
	if (!gem)
		return -ENOENT;

	ret = p2pbuf_object_move(to_p2pbuf_object(gem), args->placement,
				 args->flags & P2PBUF_MOVE_NOWAIT);
	drm_gem_object_put(gem);
	return ret;
}

static int p2pbuf_ioctl_gem_info(struct drm_device *drm, void *data,
				 struct drm_file *file)
{
	struct drm_p2pbuf_gem_info *args = data;
	struct drm_gem_object *gem;
	struct p2pbuf_object *obj;
	int ret;

	if (args->pad)
		return -EINVAL;

	gem = drm_gem_object_lookup(file, args->handle);
	if (!gem)
		return -ENOENT;
	obj = to_p2pbuf_object(gem);

	/* Not TTM's unlock: looking at an object is not using it. */
	ret = dma_resv_lock_interruptible(gem->resv, NULL);
	if (ret)
		goto put_object;
	*args = (struct drm_p2pbuf_gem_info) {
		.handle = args->handle,
		.placement = obj->placement,
		.flags = obj->flags,
		.size = gem->size,
		.mmap_offset = drm_vma_node_offset_addr(&gem->vma_node),
		.generation = obj->generation,
		.evictions = obj->evictions,
		.mappings = obj->mappings,
		.pins = obj->pins,
	};
	dma_resv_unlock(gem->resv);

put_object:
	drm_gem_object_put(gem);
	return ret;
}

static int p2pbuf_ioctl_peer_info(struct drm_device *drm, void *data,
				  struct drm_file *file)
{
	struct p2pbuf_region *region = to_p2pbuf_region(drm);
	struct drm_p2pbuf_peer_info *args = data;
	struct pci_dev *peer;
	int idx, ret = 0;

	if (!drm_dev_enter(drm, &idx))
		return -ENODEV;

	peer = pci_get_domain_bus_and_slot(args->pci >> 16,
					   PCI_BUS_NUM(args->pci),
					   args->pci & 0xff);
	if (!peer) {
		ret = -ENXIO;
		goto exit;
	}
	args->flags = 0;
	if (pci_p2pdma_distance(region->pdev, &peer->dev, false) >= 0)
		args->flags = P2PBUF_PEER_REACHABLE;
	pci_dev_put(peer);
exit:
	drm_dev_exit(idx);
	return ret;
}

const struct drm_ioctl_desc p2pbuf_ioctls[P2PBUF_NUM_IOCTLS] = {
	DRM_IOCTL_DEF_DRV(P2PBUF_DEVICE_INFO, p2pbuf_ioctl_device_info,
			  DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(P2PBUF_GEM_CREATE, p2pbuf_ioctl_gem_create,
			  DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(P2PBUF_GEM_MOVE, p2pbuf_ioctl_gem_move,
			  DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(P2PBUF_GEM_INFO, p2pbuf_ioctl_gem_info,
			  DRM_RENDER_ALLOW),
	DRM_IOCTL_DEF_DRV(P2PBUF_PEER_INFO, p2pbuf_ioctl_peer_info,
			  DRM_RENDER_ALLOW),
};

/* Size of the first version of each struct: it ends with this field. */
static const size_t p2pbuf_ioctl_first_size[P2PBUF_NUM_IOCTLS] = {
	[DRM_P2PBUF_DEVICE_INFO] =
		offsetofend(struct drm_p2pbuf_device_info, pad),
	[DRM_P2PBUF_GEM_CREATE] =
		offsetofend(struct drm_p2pbuf_gem_create, mmap_offset),
	[DRM_P2PBUF_GEM_MOVE] =
		offsetofend(struct drm_p2pbuf_gem_move, pad),
	[DRM_P2PBUF_GEM_INFO] =
		offsetofend(struct drm_p2pbuf_gem_info, pins),
	[DRM_P2PBUF_PEER_INFO] =
		offsetofend(struct drm_p2pbuf_peer_info, flags),
};

/* Make @cmd one that drm_ioctl() knows byte for byte. */
static int p2pbuf_ioctl_fit(unsigned int *cmd, void __user *arg)
{
	unsigned int nr = DRM_IOCTL_NR(*cmd) - DRM_COMMAND_BASE;
	unsigned int known, given = _IOC_SIZE(*cmd);
	const struct drm_ioctl_desc *ioctl;
	int ret;

	if (nr >= P2PBUF_NUM_IOCTLS)
		return -EINVAL;
	nr = array_index_nospec(nr, P2PBUF_NUM_IOCTLS);
	ioctl = &p2pbuf_ioctls[nr];
	known = _IOC_SIZE(ioctl->cmd);

	if (_IOC_DIR(*cmd) != _IOC_DIR(ioctl->cmd) ||
	    given < p2pbuf_ioctl_first_size[nr])
		return -EINVAL;

	if (given > known) {
		ret = check_zeroed_user(arg + known, given - known);
		if (ret <= 0)
			return ret ?: -E2BIG;
		*cmd = ioctl->cmd;
	}
	return 0;
}

static bool p2pbuf_ioctl_is_ours(unsigned int cmd)
{
	unsigned int nr = DRM_IOCTL_NR(cmd);

	return DRM_IOCTL_TYPE(cmd) == DRM_IOCTL_BASE &&
	       nr >= DRM_COMMAND_BASE && nr < DRM_COMMAND_END;
}

long p2pbuf_ioctl(struct file *file, unsigned int cmd, unsigned long arg)
{
	struct drm_file *drm_file = file->private_data;
	int ret;

	if (drm_dev_is_unplugged(drm_file->minor->dev))
		return -ENODEV;

	if (p2pbuf_ioctl_is_ours(cmd)) {
		ret = p2pbuf_ioctl_fit(&cmd, (void __user *)arg);
		if (ret)
			return ret;
	}
	return drm_ioctl(file, cmd, arg);
}

#ifdef CONFIG_COMPAT
/* The structs are laid out equally; DRM's own ioctls need help. */
long p2pbuf_compat_ioctl(struct file *file, unsigned int cmd,
			 unsigned long arg)
{
	if (p2pbuf_ioctl_is_ours(cmd))
		return p2pbuf_ioctl(file, cmd, (unsigned long)compat_ptr(arg));
	return drm_compat_ioctl(file, cmd, arg);
}
#endif
