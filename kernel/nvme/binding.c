// SPDX-License-Identifier: GPL-2.0
/*
 * Binding: a range of a buffer tied to a namespace.
 *
 * Everything that can be refused is refused here, before the binding has an
 * id, so that a command only has to compare numbers. Made under the device's
 * lock: the driver cannot be unbound between looking at the namespace and
 * being attached.
 *
 * Who may still use it
 * --------------------
 * A command holds its binding from the RCU read section it was found in until
 * its I/O is over. The hold is two counters per CPU, begun and ended, each
 * incremented once: less than any reference count costs, and I/O of many CPUs
 * shares no cache line. It is only looked at when the binding ends: once it
 * has no id and a grace period has passed nobody begins any more, so that what
 * has ended can only catch up with what has begun.
 */
#include <linux/dma-buf.h>
#include <linux/file.h>
#include <linux/slab.h>
#include "nvme.h"

#define BIND_FLAGS	(P2PBUF_NVME_BIND_ALLOW_SYSTEM | \
			 P2PBUF_NVME_BIND_PEER_ONLY)

static int bind_check(const struct p2pbuf_nvme_bind *arg)
{
	if (arg->flags & ~BIND_FLAGS || arg->flags == BIND_FLAGS ||
	    arg->reserved[0] || arg->reserved[1])
		return -EINVAL;
	if ((arg->offset | arg->length) & (NVME_PAGE_BYTES - 1))
		return -EDOM;
	return 0;
}

static struct dma_buf *bind_buffer(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	/* -EBADF when it is not open; all else means the wrong kind. */
	if (IS_ERR(dmabuf) && PTR_ERR(dmabuf) != -EBADF)
		return ERR_PTR(-EBADFD);
	return dmabuf;
}

static int bind_range(struct p2pbuf_nvme_bind *arg, u64 size)
{
	size = round_down(size, NVME_PAGE_BYTES);
	if (arg->offset >= size || arg->length > size - arg->offset)
		return -ERANGE;
	if (!arg->length)
		arg->length = size - arg->offset;
	return 0;
}

/* Reading from the device writes the buffer, and the other way round. */
static u32 bind_rights(const struct p2pbuf_nvme_ns *ns,
		       const struct dma_buf *dmabuf)
{
	fmode_t buffer = dmabuf->file->f_mode, disk = ns->file->f_mode;
	u32 rights = 0;

	if (disk & FMODE_READ && buffer & FMODE_WRITE)
		rights |= P2PBUF_NVME_RIGHT_READ;
	if (disk & FMODE_WRITE && buffer & FMODE_READ)
		rights |= P2PBUF_NVME_RIGHT_WRITE;
	return rights;
}

/*
 * A mapping exists or existed; is its path one the caller accepts? Fills the
 * verdict also when it is not.
 */
static int bind_path(struct p2pbuf_nvme_import *import,
		     struct p2pbuf_nvme_bind *arg, int ret)
{
	p2pbuf_attachment_path(import->att, &arg->path);
	if (ret)
		return ret;
	if (arg->path.path == P2PBUF_PATH_SYSTEM &&
	    !(arg->flags & P2PBUF_NVME_BIND_ALLOW_SYSTEM)) {
		arg->path.reason = P2PBUF_REASON_NOT_PEER;
		return -EREMOTEIO;
	}
	return 0;
}

/* The function's lock is held and b->ns is opened. */
static int binding_attach(struct p2pbuf_nvme_file *file,
			  struct p2pbuf_nvme_binding *b,
			  struct p2pbuf_nvme_bind *arg, struct dma_buf *dmabuf)
{
	struct p2pbuf_nvme_import *import;
	int ret;

	ret = p2pbuf_nvme_ns_inspect(&b->ns);
	if (!ret)
		ret = p2pbuf_nvme_prove(&b->ns);
	if (ret)
		return ret;
	import = p2pbuf_nvme_import_get(file, dmabuf, b->ns.pdev);
	if (IS_ERR(import)) {
		arg->path.path = P2PBUF_PATH_REFUSED;
		arg->path.reason = P2PBUF_REASON_EXPORTER;
		return PTR_ERR(import);
	}
	ret = p2pbuf_nvme_import_cover(import, arg->offset, arg->length);
	ret = bind_path(import, arg, ret);
	if (ret) {
		p2pbuf_nvme_import_put(import);
		return ret;
	}
	b->import = import;
	b->att = import->att;
	b->table = import->table;
	p2pbuf_nvme_import_add(import, b);
	return 0;
}

static void binding_describe(struct p2pbuf_nvme_binding *b,
			     struct p2pbuf_nvme_bind *arg)
{
	b->offset = arg->offset;
	b->length = arg->length;
	b->flags = arg->flags;
	arg->rights = b->rights;
	arg->lba_size = b->ns.lba_size;
	arg->max_io = b->ns.max_io;
	arg->capacity = b->ns.bytes;
}

/**
 * p2pbuf_nvme_bind - make a binding that has no id yet
 * @file: will own it; its lock is held
 * @arg: what the caller asked for; its out fields are filled, but for id
 * @out: the binding, to be given an id or destroyed
 *
 * Return: 0 or an errno of the table in the uapi header; @arg->path says why
 * when it is about the path. P2PBUF_NVME_LATER when the caller shall let go of
 * its lock before it tries again.
 */
int p2pbuf_nvme_bind(struct p2pbuf_nvme_file *file,
		     struct p2pbuf_nvme_bind *arg,
		     struct p2pbuf_nvme_binding **out)
{
	struct p2pbuf_nvme_binding *b;
	struct dma_buf *dmabuf;
	int ret;

	lockdep_assert_held(&file->lock);

	arg->path = (struct p2pbuf_path_info) {
		.importer = P2PBUF_PATH_NO_DEVICE,
		.exporter = P2PBUF_PATH_NO_DEVICE,
		.blocker = P2PBUF_PATH_NO_DEVICE,
	};
	ret = bind_check(arg);
	if (ret)
		return ret;
	dmabuf = bind_buffer(arg->dmabuf_fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = -ENOMEM;
	b = kzalloc_obj(*b, GFP_KERNEL_ACCOUNT);
	if (!b)
		goto put_buffer;
	ret = p2pbuf_nvme_ns_open(arg->bdev_fd, &b->ns);
	if (ret)
		goto free_binding;
	ret = bind_range(arg, dmabuf->size);
	if (ret)
		goto close_ns;
	ret = -EACCES;
	b->rights = bind_rights(&b->ns, dmabuf);
	if (!b->rights)
		goto close_ns;
	ret = -ENOMEM;
	b->counters = alloc_percpu_gfp(struct p2pbuf_nvme_counters,
				       GFP_KERNEL_ACCOUNT);
	if (!b->counters)
		goto close_ns;

	device_lock(&b->ns.pdev->dev);
	ret = binding_attach(file, b, arg, dmabuf);
	device_unlock(&b->ns.pdev->dev);
	if (ret)
		goto free_counters;
	binding_describe(b, arg);
	p2pbuf_nvme_report_add(b);
	/* The import's attachment keeps the buffer. */
	dma_buf_put(dmabuf);
	*out = b;
	return 0;

free_counters:
	free_percpu(b->counters);
close_ns:
	p2pbuf_nvme_ns_close(&b->ns);
free_binding:
	kfree(b);
put_buffer:
	dma_buf_put(dmabuf);
	return ret;
}

/* Nobody begins any more: has everybody ended? */
static bool binding_busy(struct p2pbuf_nvme_binding *b)
{
	struct p2pbuf_nvme_counters *c;
	u64 left = 0;
	int cpu;

	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(b->counters, cpu);
		left += READ_ONCE(c->begun) - READ_ONCE(c->ended);
	}
	/* Pairs with p2pbuf_nvme_binding_put(): free only what nobody reads. */
	smp_mb();
	return left;
}

/**
 * p2pbuf_nvme_binding_destroy - wait for its I/O and free it
 * @b: cannot be found, and a grace period has passed since it could; the
 *	file's lock is held
 *
 * Polled commands are looked for here: a ring does not find the binding any
 * more, and its thread may be the one that waits. Those that are not with the
 * driver yet are given to it.
 */
void p2pbuf_nvme_binding_destroy(struct p2pbuf_nvme_binding *b)
{
	p2pbuf_nvme_report_del(b);
	while (binding_busy(b)) {
		p2pbuf_nvme_batch_flush();
		p2pbuf_nvme_ns_poll(&b->ns, false);
		schedule_timeout_uninterruptible(1);
	}
	p2pbuf_nvme_import_del(b->import, b);
	p2pbuf_nvme_import_put(b->import);
	free_percpu(b->counters);
	p2pbuf_nvme_ns_close(&b->ns);
	kfree(b);
}

static void binding_sum(struct p2pbuf_nvme_binding *b,
			struct p2pbuf_nvme_bind_info *info)
{
	struct p2pbuf_nvme_counters *c;
	int cpu;

	for_each_possible_cpu(cpu) {
		c = per_cpu_ptr(b->counters, cpu);
		info->reads += READ_ONCE(c->reads);
		info->writes += READ_ONCE(c->writes);
		info->bytes_peer += READ_ONCE(c->bytes_peer);
		info->bytes_system += READ_ONCE(c->bytes_system);
		info->errors += READ_ONCE(c->errors);
		info->deferred += READ_ONCE(c->deferred);
	}
}

static void binding_fill(struct p2pbuf_nvme_binding *b,
			 const struct p2pbuf_attachment_stats *stats,
			 struct p2pbuf_nvme_bind_info *info)
{
	info->flags = b->flags;
	info->rights = b->rights;
	info->offset = b->offset;
	info->length = b->length;
	info->lba_size = b->ns.lba_size;
	info->max_io = b->ns.max_io;
	info->capacity = b->ns.bytes;
	info->invalidations = stats->invalidations;
	info->table_bytes = b->import->charged;
	binding_sum(b, info);
}

/* Fills all but size and id. */
void p2pbuf_nvme_binding_info(struct p2pbuf_nvme_binding *b,
			      struct p2pbuf_nvme_bind_info *info)
{
	struct p2pbuf_attachment_stats stats;

	p2pbuf_attachment_path(b->att, &info->path);
	p2pbuf_attachment_stats(b->att, &stats);
	binding_fill(b, &stats, info);
}

/* The same, or false while somebody holds the resv. */
bool p2pbuf_nvme_binding_peek(struct p2pbuf_nvme_binding *b,
			      struct p2pbuf_nvme_bind_info *info)
{
	struct p2pbuf_attachment_stats stats;

	if (!p2pbuf_attachment_peek(b->att, &info->path, &stats))
		return false;
	binding_fill(b, &stats, info);
	return true;
}
