// SPDX-License-Identifier: GPL-2.0
/*
 * Import: one dma-buf on one NVMe function, shared by the bindings of a file.
 *
 * Many bindings usually cover ranges of the same buffer (sub-allocations of
 * one large allocation). They share one attachment and one table, so that a
 * move costs one fence and one remapping however many there are.
 *
 * The table belongs to the device. It is freed in the core's revoked
 * callback, either because the function is unbound or because the import is
 * put; nobody can hold an active reference then, so nobody reads it.
 */
#include <linux/capability.h>
#include <linux/cred.h>
#include <linux/dma-buf.h>
#include <linux/sched/signal.h>
#include <linux/sched/user.h>
#include <linux/slab.h>
#include "nvme.h"

static int import_fill(void *priv, struct sg_table *sgt)
{
	struct p2pbuf_nvme_import *import = priv;

	return p2pbuf_nvme_table_fill(import->table, sgt);
}

static void import_revoked(void *priv)
{
	struct p2pbuf_nvme_import *import = priv;

	p2pbuf_nvme_table_destroy(import->table);
	import->table = NULL;
}

/* What is collected comes first. One queue is enough, if it is alive. */
static void import_poll(void *priv)
{
	struct p2pbuf_nvme_import *import = priv;
	struct p2pbuf_nvme_binding *b;
	bool unbound = p2pbuf_attachment_is_unbound(import->att);

	p2pbuf_nvme_batch_flush();
	mutex_lock(&import->poll_lock);
	list_for_each_entry(b, &import->bindings, import_node)
		if (p2pbuf_nvme_ns_poll(&b->ns, unbound))
			break;
	mutex_unlock(&import->poll_lock);
}

static const struct p2pbuf_importer_ops import_ops = {
	.name = "nvme",
	.fill = import_fill,
	.poll = import_poll,
	.revoked = import_revoked,
};

/* Charge @bytes to the user's locked memory, as io_uring does for its own. */
static int import_charge(struct p2pbuf_nvme_import *import, u64 bytes)
{
	unsigned long limit = rlimit(RLIMIT_MEMLOCK) >> PAGE_SHIFT;
	unsigned long pages = bytes >> PAGE_SHIFT;
	unsigned long now, old;

	old = atomic_long_read(&import->user->locked_vm);
	do {
		now = old + pages;
		if (now > limit && !capable(CAP_IPC_LOCK))
			return -EDQUOT;
	} while (!atomic_long_try_cmpxchg(&import->user->locked_vm,
					  (long *)&old, now));
	import->charged += bytes;
	return 0;
}

static void import_uncharge(struct p2pbuf_nvme_import *import, u64 bytes)
{
	atomic_long_sub(bytes >> PAGE_SHIFT, &import->user->locked_vm);
	import->charged -= bytes;
}

static struct p2pbuf_nvme_import *import_create(struct dma_buf *dmabuf,
						struct pci_dev *pdev)
{
	struct p2pbuf_nvme_import *import;
	int ret = -ENOMEM;

	import = kzalloc_obj(*import, GFP_KERNEL_ACCOUNT);
	if (!import)
		return ERR_PTR(-ENOMEM);
	import->table = p2pbuf_nvme_table_create(&pdev->dev, dmabuf->size);
	if (!import->table)
		goto free_import;
	import->dmabuf = dmabuf;
	import->pdev = pdev;
	INIT_LIST_HEAD(&import->bindings);
	mutex_init(&import->poll_lock);
	import->att = p2pbuf_attachment_create(dmabuf, &pdev->dev, &import_ops,
					       import);
	if (IS_ERR(import->att)) {
		ret = PTR_ERR(import->att);
		goto destroy_table;
	}
	import->user = get_uid(current_user());
	return import;

destroy_table:
	p2pbuf_nvme_table_destroy(import->table);
free_import:
	kfree(import);
	return ERR_PTR(ret);
}

/**
 * p2pbuf_nvme_import_get - find or make the import of a buffer
 * @file: whose imports to look among; its lock is held
 * @dmabuf: the buffer
 * @pdev: the function; device_lock held
 *
 * Return: with one user more, to be put with p2pbuf_nvme_import_put(); or an
 * ERR_PTR: -ENOMEM or the exporter's refusal to attach.
 */
struct p2pbuf_nvme_import *
p2pbuf_nvme_import_get(struct p2pbuf_nvme_file *file, struct dma_buf *dmabuf,
		       struct pci_dev *pdev)
{
	struct p2pbuf_nvme_import *import;

	lockdep_assert_held(&file->lock);
	device_lock_assert(&pdev->dev);

	list_for_each_entry(import, &file->imports, node) {
		if (import->dmabuf == dmabuf && import->pdev == pdev &&
		    !p2pbuf_attachment_is_revoked(import->att)) {
			import->users++;
			return import;
		}
	}
	import = import_create(dmabuf, pdev);
	if (IS_ERR(import))
		return import;
	import->users = 1;
	list_add(&import->node, &file->imports);
	return import;
}

/* The file's lock is held. The last one waits for the device's I/O. */
void p2pbuf_nvme_import_put(struct p2pbuf_nvme_import *import)
{
	if (--import->users)
		return;
	list_del(&import->node);
	p2pbuf_attachment_destroy(import->att);
	import_uncharge(import, import->charged);
	free_uid(import->user);
	mutex_destroy(&import->poll_lock);
	kfree(import);
}

/**
 * p2pbuf_nvme_import_cover - map the buffer, with tables for a range
 * @import: the import; its file's lock is held
 * @offset: of the range
 * @length: of the range
 *
 * When the range needs more table, I/O of other bindings ends, and goes on
 * with the new mapping without noticing.
 *
 * Context: device_lock held, so the import is not being revoked; may wait for
 * the exporter's fences.
 * Return: 0, -EDQUOT, -ENOMEM, or as p2pbuf_attachment_map().
 */
int p2pbuf_nvme_import_cover(struct p2pbuf_nvme_import *import, u64 offset,
			     u64 length)
{
	u64 missing;
	int ret;

	device_lock_assert(&import->pdev->dev);

	missing = p2pbuf_nvme_table_missing(import->table, offset, length);
	if (!missing && !import->unfilled)
		return p2pbuf_attachment_map(import->att);
	ret = import_charge(import, missing);
	if (ret)
		return ret;
	import->unfilled = true;
	ret = p2pbuf_nvme_table_cover(import->table, offset, length);
	if (ret) {
		/* What was allocated stays, and stays charged. */
		import_uncharge(import,
				p2pbuf_nvme_table_missing(import->table,
							  offset, length));
		return ret;
	}
	ret = p2pbuf_attachment_remap(import->att);
	if (!ret)
		import->unfilled = false;
	return ret;
}

/* Before the binding's first command; its namespace is polled from here on. */
void p2pbuf_nvme_import_add(struct p2pbuf_nvme_import *import,
			    struct p2pbuf_nvme_binding *b)
{
	mutex_lock(&import->poll_lock);
	list_add_tail(&b->import_node, &import->bindings);
	mutex_unlock(&import->poll_lock);
}

/* After its last. */
void p2pbuf_nvme_import_del(struct p2pbuf_nvme_import *import,
			    struct p2pbuf_nvme_binding *b)
{
	mutex_lock(&import->poll_lock);
	list_del(&b->import_node);
	mutex_unlock(&import->poll_lock);
}
