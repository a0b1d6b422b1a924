// SPDX-License-Identifier: GPL-2.0
/*
 * Objects of paged regions as fixed buffers of io_urings.
 *
 * REGISTER and UNREGISTER are commands on the render node. A registration is
 * what a slot of a ring's buffer table holds: a pin, and a file that nobody
 * sees. The file stands for the references to the object, to the DRM device
 * and, as any file does, to this module; io_uring calls back when the last
 * I/O on the slot has ended, maybe long after the render node was closed and
 * from a worker, and the module must still be there, until after that call.
 *
 * io_uring cannot be told to let go: a registered object is not moved, and the
 * unplug of the device waits.
 *
 * Registering may move the object, so it never runs with the ring's lock
 * held: the first, non-blocking attempt is sent to a worker. The release does
 * run with that lock; it takes the resv of an object that is pinned, which
 * nobody holds for long.
 */
#include <linux/anon_inodes.h>
#include <linux/bvec.h>
#include <linux/file.h>
#include <linux/io_uring/cmd.h>
#include <linux/mm.h>
#include <linux/module.h>
#include <linux/slab.h>
#include <linux/uio.h>

#include <drm/drm_drv.h>

#include "exporter.h"

/* io_uring counts the bytes of a buffer in 32 bits. */
#define P2PBUF_FIXED_MAX	((1ULL << 32) - PAGE_SIZE)
/* Times that an object may be driven away between its move and its pin. */
#define P2PBUF_FIXED_TRIES	16

struct p2pbuf_registration {
	struct p2pbuf_object *obj;
	struct file *file;
};

/* An SQE, read once: user space may change it at any time. */
struct p2pbuf_fixed_args {
	struct drm_p2pbuf_uring_cmd cmd;
	u32 op;
	u64 offset;
	u64 length;
};

static int p2pbuf_registration_close(struct inode *inode, struct file *file)
{
	struct p2pbuf_registration *reg = file->private_data;
	struct drm_device *drm = reg->obj->tbo.base.dev;

	drm_gem_object_put(&reg->obj->tbo.base);
	drm_dev_put(drm);
	kfree(reg);
	return 0;
}

static const struct file_operations p2pbuf_registration_fops = {
	.owner = THIS_MODULE,
	.release = p2pbuf_registration_close,
};

/* Takes its own references. Undone by fput() of its file. */
static struct p2pbuf_registration *
p2pbuf_registration_create(struct p2pbuf_object *obj)
{
	struct p2pbuf_registration *reg;
	struct file *file;

	reg = kzalloc_obj(*reg);
	if (!reg)
		return ERR_PTR(-ENOMEM);

	file = anon_inode_getfile("p2pbuf-fixed", &p2pbuf_registration_fops,
				  reg, O_RDWR);
	if (IS_ERR(file)) {
		kfree(reg);
		return ERR_CAST(file);
	}

	drm_gem_object_get(&obj->tbo.base);
	drm_dev_get(obj->tbo.base.dev);
	reg->obj = obj;
	reg->file = file;
	return reg;
}

static void p2pbuf_fixed_unpin(struct p2pbuf_object *obj)
{
	dma_resv_lock(obj->tbo.base.resv, NULL);
	p2pbuf_object_unpin(obj);
	WRITE_ONCE(obj->registrations, obj->registrations - 1);
	dma_resv_unlock(obj->tbo.base.resv);
	wake_up_all(&p2pbuf_object_region(obj)->settled);
}

/* The slot is empty and no I/O uses it. Any task, with the ring's lock. */
static void p2pbuf_fixed_release(void *priv)
{
	struct p2pbuf_registration *reg = priv;

	p2pbuf_fixed_unpin(reg->obj);
	/* Last: the rest, and the module's reference, go without us. */
	fput(reg->file);
}

/* One try with the resv held; -EAGAIN when the object is not there. */
static int p2pbuf_fixed_pin_locked(struct p2pbuf_object *obj, u32 placement)
{
	static const struct p2pbuf_move_ctx ctx = { .interruptible = true };
	int ret;

	dma_resv_assert_held(obj->tbo.base.resv);

	if (obj->gone)
		return p2pbuf_refuse(p2pbuf_object_region(obj),
				     P2PBUF_REFUSED_GONE, -ENODEV);
	if (obj->placement != placement)
		return -EAGAIN;

	/* A far importer could not map what is pinned in VRAM. */
	if (placement == P2PBUF_PLACEMENT_VRAM && obj->far_attachments)
		return p2pbuf_refuse(p2pbuf_object_region(obj),
				     P2PBUF_REFUSED_FAR_ATTACHED, -EXDEV);
	/* Where it is, but with all its pages. */
	if (placement == P2PBUF_PLACEMENT_SYSTEM) {
		ret = p2pbuf_object_to_system(obj, &ctx);
		if (ret)
			return ret;
	}

	ret = p2pbuf_object_pin(obj);
	if (ret)
		return ret;
	WRITE_ONCE(obj->registrations, obj->registrations + 1);
	return 0;
}

/* Move it there, if it is not, and keep it there. */
static int p2pbuf_fixed_pin(struct p2pbuf_object *obj, u32 placement)
{
	struct dma_resv *resv = obj->tbo.base.resv;
	unsigned int tries;
	int idx, ret;

	for (tries = 0; tries < P2PBUF_FIXED_TRIES; tries++) {
		ret = p2pbuf_object_move(obj, placement, false);
		if (ret)
			return ret;

		if (!drm_dev_enter(obj->tbo.base.dev, &idx))
			return -ENODEV;
		ret = dma_resv_lock_interruptible(resv, NULL);
		if (!ret) {
			ret = p2pbuf_fixed_pin_locked(obj, placement);
			dma_resv_unlock(resv);
		}
		drm_dev_exit(idx);
		if (ret != -EAGAIN)
			return ret;
	}
	return p2pbuf_refuse(p2pbuf_object_region(obj), P2PBUF_REFUSED_BUSY,
			     -EBUSY);
}

/*
 * The pages of a range as few bio_vecs as there can be; free with kvfree().
 * All of VRAM's are adjacent.
 */
static struct bio_vec *p2pbuf_fixed_bvecs(struct p2pbuf_object *obj,
					  u64 offset, u64 length,
					  unsigned int *count)
{
	unsigned long pages = length >> PAGE_SHIFT;
	bool vram = obj->placement == P2PBUF_PLACEMENT_VRAM;
	struct bio_vec *bvecs, *last = NULL;
	struct page *page;
	unsigned long i;

	dma_resv_assert_held(obj->tbo.base.resv);

	*count = 0;
	bvecs = kvmalloc_array(vram ? 1 : pages, sizeof(*bvecs), GFP_KERNEL);
	if (!bvecs)
		return NULL;

	if (vram) {
		page = p2pbuf_paged_page(obj, offset >> PAGE_SHIFT);
		bvec_set_page(bvecs, page, length, 0);
		*count = 1;
		return bvecs;
	}

	for (i = 0; i < pages; i++) {
		page = p2pbuf_paged_page(obj, (offset >> PAGE_SHIFT) + i);
		if (last && page_to_phys(page) ==
			    page_to_phys(last->bv_page) + last->bv_len) {
			last->bv_len += PAGE_SIZE;
			continue;
		}
		last = &bvecs[(*count)++];
		bvec_set_page(last, page, PAGE_SIZE, 0);
	}
	return bvecs;
}

/* The registration goes to the slot, or stays the caller's. */
static int p2pbuf_fixed_publish(struct io_uring_cmd *ioucmd,
				unsigned int issue_flags,
				struct p2pbuf_registration *reg,
				const struct p2pbuf_fixed_args *args)
{
	struct p2pbuf_region *region = p2pbuf_object_region(reg->obj);
	struct dma_resv *resv = reg->obj->tbo.base.resv;
	struct bio_vec *bvecs;
	unsigned int count;
	u8 dir = 0;
	int ret;

	if (args->cmd.flags & P2PBUF_REGISTER_READ)
		dir |= 1 << ITER_DEST;
	if (args->cmd.flags & P2PBUF_REGISTER_WRITE)
		dir |= 1 << ITER_SOURCE;

	dma_resv_lock(resv, NULL);
	bvecs = p2pbuf_fixed_bvecs(reg->obj, args->offset, args->length,
				   &count);
	dma_resv_unlock(resv);
	if (!bvecs)
		return -ENOMEM;

	/* Without the resv: this takes the ring's lock. */
	ret = io_buffer_register_bvec(ioucmd, bvecs, count,
				      p2pbuf_fixed_release, reg, dir,
				      args->cmd.index, issue_flags);
	kvfree(bvecs);

	if (ret == -EINVAL)
		return p2pbuf_refuse(region, P2PBUF_REFUSED_SLOT, -EBADSLT);
	if (ret == -EBUSY)
		return p2pbuf_refuse(region, P2PBUF_REFUSED_SLOT, -EEXIST);
	if (!ret)
		atomic64_inc(&region->registrations);
	return ret;
}

static int p2pbuf_fixed_register_object(struct io_uring_cmd *ioucmd,
					unsigned int issue_flags,
					struct p2pbuf_object *obj,
					const struct p2pbuf_fixed_args *args)
{
	struct p2pbuf_registration *reg;
	int ret;

	reg = p2pbuf_registration_create(obj);
	if (IS_ERR(reg))
		return PTR_ERR(reg);

	ret = p2pbuf_fixed_pin(obj, args->cmd.placement);
	if (ret)
		goto close_file;

	ret = p2pbuf_fixed_publish(ioucmd, issue_flags, reg, args);
	if (ret)
		goto unpin;
	return 0;

unpin:
	p2pbuf_fixed_unpin(obj);
close_file:
	fput(reg->file);
	return ret;
}

/* Is the range inside the object? Replaces a length of 0. */
static int p2pbuf_fixed_check_range(struct p2pbuf_fixed_args *args, u64 size)
{
	if (!PAGE_ALIGNED(args->offset) || !PAGE_ALIGNED(args->length))
		return -EDOM;
	if (args->offset >= size || args->length > size - args->offset)
		return -ERANGE;
	if (!args->length)
		args->length = size - args->offset;
	return args->length > P2PBUF_FIXED_MAX ? -EFBIG : 0;
}

static int p2pbuf_fixed_register(struct io_uring_cmd *ioucmd,
				 unsigned int issue_flags,
				 struct p2pbuf_fixed_args *args)
{
	struct drm_file *file = ioucmd->file->private_data;
	struct p2pbuf_region *region = to_p2pbuf_region(file->minor->dev);
	struct drm_gem_object *gem;
	int ret;

	gem = drm_gem_object_lookup(file, args->cmd.handle);
	if (!gem)
		return -ENOENT;

	ret = p2pbuf_fixed_check_range(args, gem->size);
	if (ret)
		goto put_object;

	if (p2pbuf_object_is_window(to_p2pbuf_object(gem))) {
		ret = p2pbuf_refuse(region, P2PBUF_REFUSED_WINDOW,
				    -EPROTOTYPE);
		goto put_object;
	}

	/* To where there is time. */
	if (issue_flags & IO_URING_F_NONBLOCK) {
		ret = -EAGAIN;
		goto put_object;
	}

	ret = p2pbuf_fixed_register_object(ioucmd, issue_flags,
					   to_p2pbuf_object(gem), args);
	/* Nobody can issue it again, and -EAGAIN would. */
	if (ret == -ERESTARTSYS || ret == -EAGAIN)
		ret = -EINTR;
put_object:
	drm_gem_object_put(gem);
	return ret;
}

static int p2pbuf_fixed_unregister(struct io_uring_cmd *ioucmd,
				   unsigned int issue_flags, u32 index)
{
	int ret = io_buffer_unregister(ioucmd, index, issue_flags);

	return ret == -EINVAL || ret == -EBUSY ? -EBADSLT : ret;
}

static int p2pbuf_fixed_parse(struct io_uring_cmd *ioucmd,
			      struct p2pbuf_fixed_args *args)
{
	const struct io_uring_sqe *sqe = ioucmd->sqe;
	const struct drm_p2pbuf_uring_cmd *cmd =
		io_uring_sqe_cmd(sqe, struct drm_p2pbuf_uring_cmd);
	const u32 flags = P2PBUF_REGISTER_READ | P2PBUF_REGISTER_WRITE;

	args->op = ioucmd->cmd_op;
	args->offset = READ_ONCE(sqe->addr);
	args->length = READ_ONCE(sqe->len);
	args->cmd.handle = READ_ONCE(cmd->handle);
	args->cmd.index = READ_ONCE(cmd->index);
	args->cmd.placement = READ_ONCE(cmd->placement);
	args->cmd.flags = READ_ONCE(cmd->flags);

	if (READ_ONCE(sqe->ioprio) | READ_ONCE(sqe->__pad1) |
	    READ_ONCE(sqe->uring_cmd_flags) | READ_ONCE(sqe->buf_index) |
	    READ_ONCE(sqe->optlen))
		return -EINVAL;

	switch (args->op) {
	case P2PBUF_URING_REGISTER:
		if (!args->cmd.flags || args->cmd.flags & ~flags ||
		    (args->cmd.placement != P2PBUF_PLACEMENT_VRAM &&
		     args->cmd.placement != P2PBUF_PLACEMENT_SYSTEM))
			return -EINVAL;
		return 0;
	case P2PBUF_URING_UNREGISTER:
		if (args->offset | args->length | args->cmd.handle |
		    args->cmd.placement | args->cmd.flags)
			return -EINVAL;
		return 0;
	default:
		return -EINVAL;
	}
}

/**
 * p2pbuf_fixed_uring_cmd() - IORING_OP_URING_CMD on the render node
 * @ioucmd: the command
 * @issue_flags: io_uring's
 *
 * Return: 0, or an error as in p2pbuf_drm.h; -EAGAIN asks io_uring for a
 * context that may sleep.
 */
int p2pbuf_fixed_uring_cmd(struct io_uring_cmd *ioucmd,
			   unsigned int issue_flags)
{
	struct drm_file *file = ioucmd->file->private_data;
	struct drm_device *drm = file->minor->dev;
	struct p2pbuf_fixed_args args;
	int ret;

	ret = p2pbuf_fixed_parse(ioucmd, &args);
	if (ret)
		return ret;

	/* Also when the device is gone: that may be waiting for this. */
	if (args.op == P2PBUF_URING_UNREGISTER)
		return p2pbuf_fixed_unregister(ioucmd, issue_flags,
					       args.cmd.index);

	if (drm_dev_is_unplugged(drm))
		return -ENODEV;
	if (!p2pbuf_region_is_paged(to_p2pbuf_region(drm)))
		return p2pbuf_refuse(to_p2pbuf_region(drm),
				     P2PBUF_REFUSED_NOT_PAGED, -EMEDIUMTYPE);

	return p2pbuf_fixed_register(ioucmd, issue_flags, &args);
}
