// SPDX-License-Identifier: GPL-2.0
/*
 * Attachment: one importer device on one dma-buf.
 *
 * Model
 * -----
 * An attachment is dynamic and never pins. It has at most one published
 * mapping at a time; the next one is made only after the previous one is
 * unmapped, so the importer's tables can be rewritten in place without any
 * I/O reading them. Life:
 *
 *	create -> (map -> invalidated)* -> revoke -> destroy
 *
 * Revoking is the one way out: unbind of the device (seen on the bus
 * notifier) and destroy both go through p2pbuf_attachment_revoke(), which is
 * idempotent. After it nothing is mapped and nothing will be; the object
 * stays until its importer destroys it.
 *
 * Lock order
 * ----------
 *	device_lock of the importer's device (create, unbind)
 *	    att->lock			map, revoke
 *		dma_resv		map, invalidate, unmap
 *	p2pbuf_attachments_lock is a leaf around list walks; a reader of debugfs
 *	tries, but does not wait for, the resv below it.
 *
 * Waiting
 * -------
 * KERNEL fences are waited for before the resv is taken, never while it is
 * held: an exporter may need the resv to make such a fence signal. A mapping
 * that itself started a move (its fence shows up behind the map) is undone,
 * waited for and made again. Waits are cut in slices, see
 * p2pbuf_interrupted(); an exporter that gave up for a signal which is none by
 * that measure is asked again.
 */
#include <linux/device.h>
#include <linux/dma-resv.h>
#include <linux/list.h>
#include <linux/pci.h>
#include <linux/seq_file.h>
#include <linux/slab.h>
#include "core.h"
#include "trace.h"

/* p2pbuf_attachment_try_map(): KERNEL fences are pending, wait and retry. */
#define MAP_AGAIN	1
/* The exporter was interrupted by a signal that is none for us. */
#define MAP_LATER	2

static LIST_HEAD(p2pbuf_attachments);
static DEFINE_MUTEX(p2pbuf_attachments_lock);

static void p2pbuf_attachment_free(struct kref *kref)
{
	kfree(container_of(kref, struct p2pbuf_attachment, kref));
}

static void p2pbuf_attachment_invalidate(struct dma_buf_attachment *attach)
{
	p2pbuf_mapping_invalidate(attach->importer_priv);
}

static const struct dma_buf_attach_ops p2pbuf_attach_ops = {
	.allow_peer2peer = true,
	.invalidate_mappings = p2pbuf_attachment_invalidate,
};

/**
 * p2pbuf_attachment_create - attach a device to a dma-buf, dynamically
 * @dmabuf: the buffer; the attachment takes its own reference
 * @dev: the device that will do the DMA. Its device_lock is held and its
 *	driver is bound, so that an unbind cannot be missed.
 * @ops: the importer's callbacks; must outlive the attachment
 * @priv: passed to them
 *
 * Nothing is mapped yet.
 *
 * Context: process, may sleep, takes the resv.
 * Return: the attachment, to be ended with p2pbuf_attachment_destroy(), or
 * an ERR_PTR: -ENOMEM or what the exporter's attach returned.
 */
struct p2pbuf_attachment *
p2pbuf_attachment_create(struct dma_buf *dmabuf, struct device *dev,
			 const struct p2pbuf_importer_ops *ops, void *priv)
{
	struct p2pbuf_attachment *att;
	struct dma_buf_attachment *attach;

	device_lock_assert(dev);

	att = kzalloc_obj(*att);
	if (!att)
		return ERR_PTR(-ENOMEM);
	mutex_init(&att->lock);
	kref_init(&att->kref);
	att->dmabuf = dmabuf;
	att->dev = dev;
	att->ops = ops;
	att->priv = priv;
	att->path.importer = P2PBUF_PATH_NO_DEVICE;
	att->path.exporter = P2PBUF_PATH_NO_DEVICE;
	att->path.blocker = P2PBUF_PATH_NO_DEVICE;
	att->fence_context = dma_fence_context_alloc(1);

	attach = dma_buf_dynamic_attach(dmabuf, dev, &p2pbuf_attach_ops, att);
	if (IS_ERR(attach)) {
		kfree(att);
		return ERR_CAST(attach);
	}
	get_dma_buf(dmabuf);
	att->attach = attach;
	mutex_lock(&p2pbuf_attachments_lock);
	list_add_tail(&att->node, &p2pbuf_attachments);
	mutex_unlock(&p2pbuf_attachments_lock);
	return att;
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_create);

/* Without the resv: the exporter may need it to make a fence signal. */
static int p2pbuf_attachment_wait_fences(struct p2pbuf_attachment *att)
{
	long left;

	do {
		if (READ_ONCE(att->revoked))
			return -ENODEV;
		if (p2pbuf_interrupted())
			return -ERESTARTSYS;
		left = dma_resv_wait_timeout(att->dmabuf->resv,
					     DMA_RESV_USAGE_KERNEL, false,
					     P2PBUF_WAIT_SLICE);
	} while (!left);
	return left < 0 ? left : 0;
}

static bool p2pbuf_attachment_fences_pending(struct p2pbuf_attachment *att)
{
	return !dma_resv_test_signaled(att->dmabuf->resv,
				       DMA_RESV_USAGE_KERNEL);
}

/* Judge the path and let the importer fill its tables. */
static int p2pbuf_attachment_accept(struct p2pbuf_attachment *att,
				    struct sg_table *sgt)
{
	struct p2pbuf_path_info info = {};
	int ret;

	dma_resv_assert_held(att->dmabuf->resv);

	ret = p2pbuf_path_judge(att->attach, sgt, &info);
	info.generation = att->path.generation + 1;
	att->path = info;
	if (!ret)
		ret = p2pbuf_flush_prepare(att, sgt, &info);
	if (!ret)
		ret = att->ops->fill(att->priv, sgt);
	return ret;
}

static int p2pbuf_attachment_try_map(struct p2pbuf_attachment *att,
				     struct p2pbuf_mapping *m)
{
	struct sg_table *sgt;
	int ret;

	dma_resv_assert_held(att->dmabuf->resv);

	if (p2pbuf_attachment_fences_pending(att))
		return MAP_AGAIN;
	sgt = dma_buf_map_attachment(att->attach, DMA_BIDIRECTIONAL);
	/* No verdict: nobody was asked, or nobody answered. */
	if (sgt == ERR_PTR(-EINTR) || sgt == ERR_PTR(-ERESTARTSYS))
		return p2pbuf_interrupted() ? PTR_ERR(sgt) : MAP_LATER;
	if (IS_ERR(sgt)) {
		att->path.path = P2PBUF_PATH_REFUSED;
		att->path.reason = P2PBUF_REASON_EXPORTER;
		/* To importers and io_uring it means: again, by a worker. */
		return sgt == ERR_PTR(-EAGAIN) ? -EBUSY : PTR_ERR(sgt);
	}
	/* Mapping made the exporter move the memory: not there yet. */
	if (p2pbuf_attachment_fences_pending(att)) {
		ret = MAP_AGAIN;
		goto unmap;
	}
	ret = p2pbuf_attachment_accept(att, sgt);
	if (ret)
		goto unmap;
	p2pbuf_mapping_publish(m, sgt);
	return 0;

unmap:
	dma_buf_unmap_attachment(att->attach, sgt, DMA_BIDIRECTIONAL);
	return ret;
}

static int p2pbuf_attachment_map_locked(struct p2pbuf_attachment *att)
{
	struct dma_resv *resv = att->dmabuf->resv;
	struct p2pbuf_mapping *m;
	int ret;

	lockdep_assert_held(&att->lock);

	ret = p2pbuf_mapping_reap(att, true);
	if (ret)
		return ret;
	m = p2pbuf_mapping_alloc(att);
	if (!m)
		return -ENOMEM;
	do {
		ret = p2pbuf_attachment_wait_fences(att);
		if (ret)
			break;
		dma_resv_lock(resv, NULL);
		ret = p2pbuf_attachment_try_map(att, m);
		dma_resv_unlock(resv);
		if (ret == MAP_LATER)
			p2pbuf_ignore_signal();
	} while (ret == MAP_AGAIN || ret == MAP_LATER);
	if (ret)
		p2pbuf_mapping_discard(m);
	return ret;
}

/**
 * p2pbuf_attachment_map - make sure there is a mapping
 * @att: the attachment
 *
 * Returns at once when there is one. Else waits for the exporter's fences,
 * maps, judges the path and publishes the mapping. By the time the caller
 * uses it, the exporter may have ended it again: loop around
 * p2pbuf_mapping_get().
 *
 * Context: process, may sleep for as long as the exporter's fences take; not
 * with an active reference, the resv or a lock taken in a fence's way held.
 * Return: 0; -ENODEV when revoked; -ERESTARTSYS or -EINTR when interrupted, see
 * p2pbuf_interrupted();
 * -ENOMEM; an errno of &enum p2pbuf_reason; or what the exporter's map or the
 * importer's callbacks returned, but -EBUSY for an exporter's -EAGAIN.
 */
int p2pbuf_attachment_map(struct p2pbuf_attachment *att)
{
	int ret;

	ret = mutex_lock_killable(&att->lock);
	if (ret)
		return ret;
	if (att->revoked) {
		ret = -ENODEV;
	} else if (!rcu_access_pointer(att->mapping)) {
		ret = p2pbuf_attachment_map_locked(att);
		trace_p2pbuf_map(att, ret);
	}
	mutex_unlock(&att->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_map);

/**
 * p2pbuf_attachment_remap - end the mapping, if any, and make a new one
 * @att: the attachment
 *
 * For an importer whose tables must cover more than before: I/O in flight
 * ends first, then ops->fill() runs again.
 *
 * Context: as p2pbuf_attachment_map().
 * Return: as p2pbuf_attachment_map().
 */
int p2pbuf_attachment_remap(struct p2pbuf_attachment *att)
{
	struct dma_resv *resv = att->dmabuf->resv;
	int ret;

	ret = mutex_lock_killable(&att->lock);
	if (ret)
		return ret;
	if (att->revoked) {
		ret = -ENODEV;
	} else {
		dma_resv_lock(resv, NULL);
		p2pbuf_mapping_kill(att);
		dma_resv_unlock(resv);
		ret = p2pbuf_attachment_map_locked(att);
		trace_p2pbuf_map(att, ret);
	}
	mutex_unlock(&att->lock);
	return ret;
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_remap);

/**
 * p2pbuf_attachment_revoke - end an attachment for good
 * @att: the attachment
 *
 * Stops new I/O, waits for I/O in flight, unmaps, detaches and calls
 * ops->revoked(). Idempotent, cannot fail; concurrent callers all return
 * after the work is done.
 *
 * Context: process, may sleep until the device finished its I/O; neither the
 * resv nor an active reference may be held.
 */
void p2pbuf_attachment_revoke(struct p2pbuf_attachment *att)
{
	struct dma_resv *resv = att->dmabuf->resv;

	/* Makes a mapper that waits for fences give up att->lock. */
	WRITE_ONCE(att->revoked, true);
	mutex_lock(&att->lock);
	if (att->attach) {
		dma_resv_lock(resv, NULL);
		p2pbuf_mapping_kill(att);
		dma_resv_unlock(resv);
		p2pbuf_mapping_reap(att, false);
		dma_buf_detach(att->dmabuf, att->attach);
		p2pbuf_flush_release(att);
		trace_p2pbuf_revoked(att);
		if (att->ops->revoked)
			att->ops->revoked(att->priv);
		/* Last: an unbind waits for whoever has not come to here. */
		WRITE_ONCE(att->attach, NULL);
	}
	mutex_unlock(&att->lock);
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_revoke);

/**
 * p2pbuf_attachment_destroy - revoke and free an attachment
 * @att: the attachment; invalid afterwards
 *
 * The caller guarantees that nobody calls p2pbuf_mapping_get() or
 * p2pbuf_attachment_map() on it any more.
 *
 * Context: process, as p2pbuf_attachment_revoke().
 */
void p2pbuf_attachment_destroy(struct p2pbuf_attachment *att)
{
	struct dma_buf *dmabuf = att->dmabuf;

	p2pbuf_attachment_revoke(att);
	mutex_lock(&p2pbuf_attachments_lock);
	list_del(&att->node);
	mutex_unlock(&p2pbuf_attachments_lock);
	/*
	 * The unbind notifier may still hold a reference on the object; having
	 * found it revoked it touches nothing but its lock.
	 */
	kref_put(&att->kref, p2pbuf_attachment_free);
	dma_buf_put(dmabuf);
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_destroy);

/**
 * p2pbuf_attachment_path - the verdict on the last mapping that was tried
 * @att: the attachment
 * @info: filled; path is P2PBUF_PATH_NONE when nothing was mapped yet
 *
 * Context: process, takes the resv.
 */
void p2pbuf_attachment_path(struct p2pbuf_attachment *att,
			    struct p2pbuf_path_info *info)
{
	dma_resv_lock(att->dmabuf->resv, NULL);
	*info = att->path;
	dma_resv_unlock(att->dmabuf->resv);
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_path);

/**
 * p2pbuf_attachment_stats - counters of an attachment
 * @att: the attachment
 * @stats: filled
 *
 * Context: process, takes the resv.
 */
void p2pbuf_attachment_stats(struct p2pbuf_attachment *att,
			     struct p2pbuf_attachment_stats *stats)
{
	dma_resv_lock(att->dmabuf->resv, NULL);
	*stats = att->stats;
	dma_resv_unlock(att->dmabuf->resv);
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_stats);

/**
 * p2pbuf_attachment_peek - path and counters, if nobody holds the resv
 * @att: the attachment
 * @info: filled
 * @stats: filled
 *
 * For reports that hold a lock which others need: an exporter may hold the resv
 * for long.
 *
 * Context: process, only tries the resv.
 * Return: false, with nothing filled, when the resv is held.
 */
bool p2pbuf_attachment_peek(struct p2pbuf_attachment *att,
			    struct p2pbuf_path_info *info,
			    struct p2pbuf_attachment_stats *stats)
{
	if (!dma_resv_trylock(att->dmabuf->resv))
		return false;
	*info = att->path;
	*stats = att->stats;
	dma_resv_unlock(att->dmabuf->resv);
	return true;
}
EXPORT_SYMBOL_GPL(p2pbuf_attachment_peek);

/*
 * The first attachment of @dev whose revocation is not over, with a reference:
 * what the importer frees for the device must be freed before the driver goes.
 */
static struct p2pbuf_attachment *p2pbuf_attachment_find(struct device *dev)
{
	struct p2pbuf_attachment *att, *found = NULL;

	mutex_lock(&p2pbuf_attachments_lock);
	list_for_each_entry(att, &p2pbuf_attachments, node) {
		if (att->dev != dev || !READ_ONCE(att->attach))
			continue;
		kref_get(&att->kref);
		/* Outlives the importer's own reference on the buffer. */
		get_dma_buf(att->dmabuf);
		found = att;
		break;
	}
	mutex_unlock(&p2pbuf_attachments_lock);
	return found;
}

static int p2pbuf_bus_notify(struct notifier_block *nb, unsigned long event,
			     void *data)
{
	struct p2pbuf_attachment *att;
	struct dma_buf *dmabuf;

	if (event != BUS_NOTIFY_UNBIND_DRIVER)
		return NOTIFY_DONE;
	while ((att = p2pbuf_attachment_find(data))) {
		dmabuf = att->dmabuf;
		WRITE_ONCE(att->unbound, true);
		p2pbuf_attachment_revoke(att);
		kref_put(&att->kref, p2pbuf_attachment_free);
		dma_buf_put(dmabuf);
	}
	return NOTIFY_OK;
}

static struct notifier_block p2pbuf_bus_nb = {
	.notifier_call = p2pbuf_bus_notify,
};

/* Everybody who attaches, detaches or unbinds waits for the list meanwhile. */
static void p2pbuf_attachment_show(struct p2pbuf_attachment *att,
				   struct seq_file *s)
{
	struct p2pbuf_attachment_stats stats;
	struct p2pbuf_path_info info;

	lockdep_assert_held(&p2pbuf_attachments_lock);

	seq_printf(s, "%s %s %s size=%zu ", att->ops->name, dev_name(att->dev),
		   att->dmabuf->exp_name, att->dmabuf->size);
	if (!p2pbuf_attachment_peek(att, &info, &stats)) {
		seq_puts(s, "busy\n");
		return;
	}
	seq_printf(s, "path=%s generation=%llu mappings=%llu invalidations=%llu inline_waits=%llu%s reason: %s\n",
		   p2pbuf_path_name(info.path), info.generation,
		   stats.mappings, stats.invalidations, stats.inline_waits,
		   att->revoked ? " revoked" : "",
		   p2pbuf_reason_text(info.reason));
}

void p2pbuf_attachments_show(struct seq_file *s)
{
	struct p2pbuf_attachment *att;

	mutex_lock(&p2pbuf_attachments_lock);
	list_for_each_entry(att, &p2pbuf_attachments, node)
		p2pbuf_attachment_show(att, s);
	mutex_unlock(&p2pbuf_attachments_lock);
}

int p2pbuf_attachments_init(void)
{
	return bus_register_notifier(&pci_bus_type, &p2pbuf_bus_nb);
}

void p2pbuf_attachments_exit(void)
{
	bus_unregister_notifier(&pci_bus_type, &p2pbuf_bus_nb);
	WARN_ON(!list_empty(&p2pbuf_attachments));
}
