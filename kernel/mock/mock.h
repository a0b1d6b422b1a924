/* SPDX-License-Identifier: GPL-2.0 */
/*
 * What the files of p2pbuf_mock.ko share. Test only.
 *
 * Objects
 *
 *	file		one open /dev/p2pbuf-mock; its table of ids owns
 *	    fence, hold, raw importer, core importer	struct mock_object
 *	buffer		the private data of a mock dma-buf, lives as long as that
 *	    place	where its bytes are or were; mappings and I/O hold it
 *	    map		one mapping of it
 *	device		a PCI function bound to this driver; places hold it
 *
 * An importer that breaks the contract writes to a place after the buffer has
 * left it. So places outlive moves, filled with poison, and are looked at
 * again; see place.c.
 *
 * Lock order
 *
 *	device_lock of an importer's device
 *	    (the core's locks)
 *		dma_resv	place, maps, shape, generation of a buffer
 *		    mock_importers_lock, buffer->rules_lock: leaves
 *	mock_buffers_lock	the list of all buffers: leaf
 *	mock_devices_lock	the list of all devices: leaf
 *	importer->lock		references and I/O, from interrupts: leaf
 */
#ifndef P2PBUF_MOCK_PRIVATE_H
#define P2PBUF_MOCK_PRIVATE_H

#include <linux/dma-buf.h>
#include <linux/dma-fence.h>
#include <linux/dma-mapping.h>
#include <linux/dma-resv.h>
#include <linux/genalloc.h>
#include <linux/io_uring/cmd.h>
#include <linux/kref.h>
#include <linux/list.h>
#include <linux/mutex.h>
#include <linux/pci.h>
#include <linux/srcu.h>
#include <linux/types.h>
#include <linux/wait.h>
#include <linux/workqueue.h>
#include <linux/xarray.h>

#include "p2pbuf_compat.h"
#include "p2pbuf_core.h"
#include "p2pbuf_mock.h"

extern struct workqueue_struct *mock_wq;

/* A signal, and be it io_uring's, makes the ioctl start again. */
static inline int mock_resv_lock(struct dma_resv *resv)
{
	return dma_resv_lock_interruptible(resv, NULL) ? -ERESTARTSYS : 0;
}

/* ---- mock_file.c ------------------------------------------------------------ */

enum mock_object_kind {
	MOCK_FENCE,
	MOCK_HOLD,
	MOCK_RAW,
	MOCK_CORE,
};

/**
 * struct mock_object - what an id of a file stands for
 * @kref: the table's reference, callers', and those of its own work
 * @kind: what it is
 * @close: stop whatever it does by itself, when the id goes away; for a core
 *	importer also before that
 * @release: free it
 */
struct mock_object {
	struct kref kref;
	enum mock_object_kind kind;
	void (*close)(struct mock_object *obj);
	void (*release)(struct mock_object *obj);
};

struct mock_file {
	struct xarray objects;
};

void mock_object_init(struct mock_object *obj, enum mock_object_kind kind,
		      void (*close)(struct mock_object *obj),
		      void (*release)(struct mock_object *obj));
void mock_object_put(struct mock_object *obj);

static inline void mock_object_get(struct mock_object *obj)
{
	kref_get(&obj->kref);
}

/* ---- mock_device.c ---------------------------------------------------------- */

/**
 * struct mock_device - a PCI function bound to this driver
 * @kref: the driver's reference and those of places
 * @node: on the list of all, until it is removed
 * @pdev: the function; valid until it is removed
 * @bar: its memory BAR, or -1: good for importing only
 * @base: physical address of the BAR
 * @size: bytes of the BAR
 * @io: the CPU's mapping of the BAR; inside of @alive only
 * @pool: what of the BAR is free
 * @alive: accesses to @io are read sections of it
 * @leaving: no new mappings of the BAR
 * @gone: no new accesses to @io
 */
struct mock_device {
	struct kref kref;
	struct list_head node;
	struct pci_dev *pdev;
	int bar;
	phys_addr_t base;
	resource_size_t size;
	void __iomem *io;
	struct gen_pool *pool;
	struct srcu_struct alive;
	bool leaving;
	bool gone;
};

int mock_devices_init(void);
void mock_devices_exit(void);
struct mock_device *mock_device_find(u32 id);
void mock_device_put(struct mock_device *mdev);
struct device *mock_device_get_importer(u32 id);
int mock_device_set_bits(struct device *dev, u32 bits);

/* ---- mock_place.c ----------------------------------------------------------- */

/**
 * struct mock_place - room for the bytes of a buffer
 * @kref: the buffer's or its graveyard's, mappings' and I/O's
 * @node: in the graveyard
 * @nr: pages
 * @mdev: whose BAR, or NULL for system pages
 * @phys: physical address of each page, in the order of the buffer
 * @pages: system pages in the order of the buffer, or NULL
 * @start: what was taken from the BAR's pool
 */
struct mock_place {
	struct kref kref;
	struct list_head node;
	u32 nr;
	struct mock_device *mdev;
	phys_addr_t *phys;
	struct page **pages;
	unsigned long start;
};

struct mock_place *mock_place_create(u32 nr, u32 placement, u32 device,
				     bool shuffle, u32 seed);
void mock_place_put(struct mock_place *place);
int mock_place_access(struct mock_place *place, u64 offset, void *data,
		      size_t len, bool write);
int mock_place_copy(struct mock_place *to, struct mock_place *from);
void mock_place_poison(struct mock_place *place);
u32 mock_place_late_words(struct mock_place *place);

static inline void mock_place_get(struct mock_place *place)
{
	kref_get(&place->kref);
}

/* ---- mock_buffer.c ---------------------------------------------------------- */

struct mock_rule {
	struct list_head node;
	enum p2pbuf_mock_op op;
	enum p2pbuf_mock_action action;
	u32 value;
	u32 skip;
	u32 times;
};

/**
 * struct mock_seg - one segment of a mapping
 * @phys: where it is; for a lie, the lie
 * @addr: what the device is told
 * @len: bytes
 * @lie: @addr is @phys whatever that leads to
 * @withdrawn: its address leads nowhere
 * @mapped: the DMA layer knows of it
 */
struct mock_seg {
	phys_addr_t phys;
	dma_addr_t addr;
	u32 len;
	bool lie;
	bool withdrawn;
	bool mapped;
};

/**
 * struct mock_map - one mapping of a buffer
 * @sgt: what the importer gets
 * @node: on buffer->maps
 * @place: what it maps
 * @epoch: of the buffer when it was made
 * @nr: segments
 * @seg: what each came from; there is room for more
 */
struct mock_map {
	struct sg_table sgt;
	struct list_head node;
	struct mock_place *place;
	u64 epoch;
	u32 nr;
	struct mock_seg seg[];
};

/**
 * struct mock_buffer - a mock dma-buf
 * @dmabuf: which has us as its private data
 * @nr: pages
 * @flags: P2PBUF_MOCK_SHUFFLE, P2PBUF_MOCK_STATIC
 * @node: on the list of all buffers
 * @pass: of the removal of a device that last looked at it
 * @place: where its bytes are
 * @graves: where they were, oldest first
 * @nr_graves: how many
 * @maps: mappings that exist
 * @nr_stale: how many of them are of a place that was left or taken back; may
 *	be read without the resv
 * @epoch: counts moves and revokes
 * @oldest: a move or revoke waits until this, the epoch of the oldest mapping
 *	at least, is its own; may be read without the resv. That no mapping is
 *	stale is only true for a moment where many move at a time.
 * @shape: of mappings to come
 * @err: what mapping fails with after a revoke, or 0
 * @info: counters; all but the attach ones under the resv
 * @attaches: counter
 * @detaches: counter
 * @static_attaches: counter
 * @deaf_attaches: counter
 * @rules_lock: of @rules and @rules_cleared
 * @rules: in the order of their making
 * @rules_cleared: counts
 * @wait: unmaps and the clearing of rules
 *
 * From @place to @info under the resv.
 */
struct mock_buffer {
	struct dma_buf *dmabuf;
	u32 nr;
	u32 flags;
	struct list_head node;
	u64 pass;

	struct mock_place *place;
	struct list_head graves;
	u32 nr_graves;
	struct list_head maps;
	u32 nr_stale;
	u64 epoch;
	u64 oldest;
	enum p2pbuf_mock_shape shape;
	int err;
	struct p2pbuf_mock_buffer_info info;

	atomic_t attaches;
	atomic_t detaches;
	atomic_t static_attaches;
	atomic_t deaf_attaches;

	spinlock_t rules_lock;			/* rules, rules_cleared */
	struct list_head rules;
	u32 rules_cleared;
	wait_queue_head_t wait;
};

struct mock_buffer *mock_buffer_of(struct dma_buf *dmabuf);
struct dma_buf *mock_buffer_get(int fd);
int mock_buffer_create(struct p2pbuf_mock_create *arg);
int mock_buffer_move(struct p2pbuf_mock_move *arg);
int mock_buffer_relocate_locked(struct mock_buffer *buf, u32 wait_ms);
void mock_buffer_take_back_locked(struct mock_buffer *buf, int err);
int mock_buffer_revoke(struct p2pbuf_mock_move *arg);
void mock_buffer_invalidate_locked(struct mock_buffer *buf);
int mock_buffer_info(struct p2pbuf_mock_buffer_info *arg);
int mock_buffer_data(struct p2pbuf_mock_data *arg);
void mock_buffers_leave(struct mock_device *mdev);

/* ---- mock_rule.c -------------------------------------------------------------- */

int mock_rule_add(struct p2pbuf_mock_rule *arg);
void mock_rules_clear(struct mock_buffer *buf);
int mock_rules_apply(struct mock_buffer *buf, enum p2pbuf_mock_op op);

/* Not an errno: the map callback is to return NULL. */
#define MOCK_RETURN_NULL	1

/* ---- mock_table.c ------------------------------------------------------------- */

struct mock_map *mock_map_create(struct mock_buffer *buf, struct device *dev);
void mock_map_destroy(struct mock_map *map, struct device *dev);

/* ---- mock_fence.c ------------------------------------------------------------- */

/**
 * struct mock_fence - a fence on its way to signalling
 * @obj: work that is queued holds a reference
 * @fence: the fence
 * @dmabuf: whose resv it is on
 * @work: signals it
 * @needs_resv: with the resv held
 */
struct mock_fence {
	struct mock_object obj;
	struct dma_fence *fence;
	struct dma_buf *dmabuf;
	struct delayed_work work;
	bool needs_resv;
};

void mock_fences_init(void);
struct dma_fence *mock_fence_alloc(bool background);
struct mock_fence *mock_fence_add_locked(struct dma_buf *dmabuf,
					 u32 usage, u32 ms, u32 flags);
int mock_fence_create(struct mock_file *file, struct p2pbuf_mock_fence *arg);
void mock_fence_signal(struct mock_object *obj);
bool mock_fence_is_background(struct dma_fence *fence);
long mock_fences_wait(struct dma_resv *resv, u32 ms);

/* ---- mock_hold.c -------------------------------------------------------------- */

int mock_hold_create(struct mock_file *file, struct p2pbuf_mock_hold *arg);
void mock_hold_let_go(struct mock_object *obj);
int mock_hold_wait(struct mock_object *obj,
		   struct p2pbuf_mock_hold_wait *arg);

/* ---- mock_plug.c -------------------------------------------------------------- */

int mock_plug_uring_cmd(struct io_uring_cmd *ioucmd, unsigned int issue_flags);
int mock_plug_call(struct p2pbuf_mock_plug *arg);

/* ---- mock_raw.c, mock_core.c ---------------------------------------------------- */

int mock_raw_create(struct mock_file *file, struct p2pbuf_mock_import *arg);
int mock_raw_call(struct mock_object *obj, unsigned int cmd);
int mock_raw_info(struct mock_object *obj,
		  struct p2pbuf_mock_import_info *arg);

int mock_core_create(struct mock_file *file, struct p2pbuf_mock_import *arg);
int mock_core_call(struct mock_object *obj, unsigned int cmd);
int mock_core_put(struct mock_object *obj, struct p2pbuf_mock_put *arg);
int mock_core_io(struct mock_object *obj, struct p2pbuf_mock_io *arg);
int mock_core_fill(struct mock_object *obj, struct p2pbuf_mock_fill *arg);
int mock_core_info(struct mock_object *obj,
		   struct p2pbuf_mock_import_info *arg);
u32 mock_core_active(struct dma_buf *dmabuf,
		     struct dma_buf_attachment *attach);

void mock_core_device_leaves(struct device *dev);

int mock_file_add(struct mock_file *file, struct mock_object *obj, u32 *id);

extern const struct file_operations mock_fops;

#endif /* P2PBUF_MOCK_PRIVATE_H */
