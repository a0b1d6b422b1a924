/* SPDX-License-Identifier: GPL-2.0 */
/*
 * The importer half of the dma-buf contract, once, for all importers.
 *
 * An importer creates an attachment (one of its devices on one dma-buf),
 * gives it two callbacks, and does I/O like this:
 *
 *	everything that may sleep or allocate
 *	m = p2pbuf_mapping_get(att);		the active reference
 *	if (!m)
 *		leave, p2pbuf_attachment_map(att) where sleeping is allowed,
 *		start again
 *	read the tables that ops->fill() built, start the DMA
 *	...
 *	p2pbuf_mapping_put(m);			in the completion interrupt
 *
 * Everything else (invalidation, fences, unmapping, the path verdict, device
 * unbind) happens in here. attachment.c and mapping.c open with the model.
 */
#ifndef P2PBUF_CORE_H
#define P2PBUF_CORE_H

#include <linux/atomic.h>
#include <linux/completion.h>
#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/kref.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/percpu-refcount.h>
#include <linux/rcupdate.h>
#include <linux/workqueue.h>
#include <linux/p2pbuf_path.h>

struct p2pbuf_attachment;

/**
 * struct p2pbuf_importer_ops - what an importer does with a mapping
 * @name: short name for traces and debugfs
 * @fill: build the importer's tables from the DMA addresses. No I/O of an
 *	older mapping lives and none of the new one has begun, so tables can
 *	be rewritten in place. Called with the resv held; may sleep and
 *	allocate; an error unmaps again and is what
 *	p2pbuf_attachment_map() returns.
 * @poll: optional; for I/O that does not end by itself: completions that user
 *	space brings about by polling, leases that have to be asked back. The
 *	end of an ended mapping must not depend on user space, so this is
 *	called again and again, from process context, until the last active
 *	reference is gone. It is on the way to the fence: it may neither
 *	allocate nor take the resv.
 * @revoked: optional; the attachment ended for good, because its device goes
 *	away or because it is being destroyed. Nothing is mapped any more and
 *	nothing will be; what belongs to the device (coherent memory) must be
 *	freed before returning. Called exactly once, from process context,
 *	without the resv.
 */
struct p2pbuf_importer_ops {
	const char *name;
	int (*fill)(void *priv, struct sg_table *sgt);
	void (*poll)(void *priv);
	void (*revoked)(void *priv);
};

/**
 * struct p2pbuf_mapping - one generation of DMA addresses
 * @active: counts I/O that uses the addresses; killed by invalidation
 * @att: the attachment
 * @sgt: what the exporter returned
 * @fence: signals when the last active reference is gone
 * @system: the addresses point to host memory
 * @posted: some or all of them point to a BAR
 *
 * Private to the core but for @system.
 */
struct p2pbuf_mapping {
	struct percpu_ref active;
	struct p2pbuf_attachment *att;
	struct sg_table *sgt;
	struct dma_fence *fence;
	bool system;
	bool posted;
	/* private: the way to the end, see mapping.c */
	struct work_struct poll_work;
	struct work_struct unmap_work;
	struct delayed_work settle_work;
	struct completion unmapped;
	struct rcu_head rcu;
};

/**
 * struct p2pbuf_attachment_stats - counters of one attachment
 * @mappings: mappings made
 * @invalidations: mappings ended by the exporter
 * @inline_waits: invalidations that had to wait for I/O because the fence
 *	could not be added
 */
struct p2pbuf_attachment_stats {
	u64 mappings;
	u64 invalidations;
	u64 inline_waits;
};

/**
 * struct p2pbuf_flush - a page to read back from, see flush.c
 * @page: of the exporter's BAR, or NULL
 * @exporter: function it belongs to, as in &struct p2pbuf_path_info
 * @bar: its BAR
 */
struct p2pbuf_flush {
	void __iomem *page;
	u32 exporter;
	u32 bar;
};

struct p2pbuf_attachment {
	/* The one field the I/O path reads. */
	struct p2pbuf_mapping __rcu *mapping;

	struct dma_buf *dmabuf;
	struct device *dev;
	const struct p2pbuf_importer_ops *ops;
	void *priv;

	/* Serialises map, revoke and destroy; outside the resv. */
	struct mutex lock;
	struct dma_buf_attachment *attach;	/* NULL once revoked */
	struct p2pbuf_mapping *last;		/* until it is reaped */
	bool revoked;
	bool unbound;				/* revoked for that */
	/* Written while no mapping is published, read with a reference. */
	struct p2pbuf_flush flush;

	/* Under the resv. */
	struct p2pbuf_path_info path;
	struct p2pbuf_attachment_stats stats;

	u64 fence_context;
	struct kref kref;
	struct list_head node;			/* on the core's list */
};

struct p2pbuf_attachment *
p2pbuf_attachment_create(struct dma_buf *dmabuf, struct device *dev,
			 const struct p2pbuf_importer_ops *ops, void *priv);
int p2pbuf_attachment_map(struct p2pbuf_attachment *att);
int p2pbuf_attachment_remap(struct p2pbuf_attachment *att);
void p2pbuf_attachment_revoke(struct p2pbuf_attachment *att);
void p2pbuf_attachment_destroy(struct p2pbuf_attachment *att);
void p2pbuf_attachment_path(struct p2pbuf_attachment *att,
			    struct p2pbuf_path_info *info);
void p2pbuf_attachment_stats(struct p2pbuf_attachment *att,
			     struct p2pbuf_attachment_stats *stats);
bool p2pbuf_attachment_peek(struct p2pbuf_attachment *att,
			    struct p2pbuf_path_info *info,
			    struct p2pbuf_attachment_stats *stats);

/**
 * p2pbuf_mapping_get_rcu - p2pbuf_mapping_get() for a caller under RCU
 * @att: the attachment
 *
 * Context: an RCU read section; else as p2pbuf_mapping_get().
 * Return: as p2pbuf_mapping_get().
 */
static inline struct p2pbuf_mapping *
p2pbuf_mapping_get_rcu(struct p2pbuf_attachment *att)
{
	struct p2pbuf_mapping *m = rcu_dereference(att->mapping);

	return m && percpu_ref_tryget_live_rcu(&m->active) ? m : NULL;
}

/**
 * p2pbuf_mapping_get - take the active reference of the current mapping
 * @att: the attachment
 *
 * Context: any, does not sleep. Between this call and p2pbuf_mapping_put() the
 * caller may neither sleep nor allocate nor take a lock that is held around
 * either, because the exporter may be waiting with the resv held.
 *
 * Return: the mapping, or NULL when there is none (never mapped, invalidated,
 * or revoked).
 */
static inline struct p2pbuf_mapping *
p2pbuf_mapping_get(struct p2pbuf_attachment *att)
{
	struct p2pbuf_mapping *m;

	rcu_read_lock();
	m = p2pbuf_mapping_get_rcu(att);
	rcu_read_unlock();
	return m;
}

/**
 * p2pbuf_mapping_put - the I/O has ended, its addresses are not used any more
 * @m: what p2pbuf_mapping_get() returned
 *
 * Context: any, interrupt included; call it there, before anything that
 * depends on user space being scheduled.
 */
static inline void p2pbuf_mapping_put(struct p2pbuf_mapping *m)
{
	percpu_ref_put(&m->active);
}

void p2pbuf_mapping_flush(struct p2pbuf_mapping *m);

/**
 * p2pbuf_attachment_is_revoked - has the device gone away?
 * @att: the attachment
 *
 * Return: true once p2pbuf_attachment_revoke() has begun; it stays true.
 */
static inline bool p2pbuf_attachment_is_revoked(struct p2pbuf_attachment *att)
{
	return READ_ONCE(att->revoked);
}

/* The form in which the uapi names a function; see struct p2pbuf_path_info. */
static inline u32 p2pbuf_function_id(struct pci_dev *pdev)
{
	if (!pdev || pci_domain_nr(pdev->bus) >= U16_MAX)
		return P2PBUF_PATH_NO_DEVICE;
	return (u32)pci_domain_nr(pdev->bus) << 16 | pci_dev_id(pdev);
}

/**
 * p2pbuf_attachment_is_unbound - is the driver of the device being unbound?
 * @att: the attachment
 *
 * Whoever unbinds holds the device_lock until all I/O is over: what only
 * somebody else with that lock would end has to be ended by ops->poll().
 *
 * Return: true from the beginning of the unbind on; it stays true.
 */
static inline bool p2pbuf_attachment_is_unbound(struct p2pbuf_attachment *att)
{
	return READ_ONCE(att->unbound);
}

int p2pbuf_path_judge(struct dma_buf_attachment *attach, struct sg_table *sgt,
		      struct p2pbuf_path_info *info);
const char *p2pbuf_path_name(u32 path);
const char *p2pbuf_reason_text(u32 reason);

struct device *p2pbuf_cpu_device(void);

struct dentry *p2pbuf_debugfs_root(void);

/**
 * struct p2pbuf_cause - a cause for which an importer refuses a buffer
 * @err: its errno, positive; 0 in the last entry of a table, for all others
 * @why: the cause in words
 * @count: how often it was the cause
 */
struct p2pbuf_cause {
	int err;
	const char *why;
	atomic64_t count;
};

const char *p2pbuf_cause_count(struct p2pbuf_cause *table, int err);
void p2pbuf_causes_create_file(struct p2pbuf_cause *table,
			       struct dentry *dir);

int p2pbuf_args_fetch(void *args, u32 known, u32 first,
		      const void __user *user);

#endif /* P2PBUF_CORE_H */
