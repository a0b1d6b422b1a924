// SPDX-License-Identifier: GPL-2.0
/*
 * Core importer: an importer on p2pbuf_core whose device does nothing but
 * write 8 bytes now and then.
 *
 * What it believes of the buffer, its table, is written by fill() and read
 * with an active reference held, as for a real device. The table says where
 * the buffer was when it was mapped, so the write of an I/O that outlives its
 * mapping lands in a place the buffer has left, where it is found.
 *
 * Writes happen, and references are dropped, in a timer interrupt: nothing
 * that sleeps, allocates or depends on user space stands between an I/O and
 * its end.
 */
#include <linux/delay.h>
#include <linux/hrtimer.h>
#include <linux/scatterlist.h>
#include <linux/slab.h>

#include "mock.h"

/**
 * struct mock_table - what fill() saw
 * @place: where a mock buffer was, with a reference; NULL for other buffers
 * @generation: counts calls of fill()
 * @bytes: sum of all segments
 * @segments: their number
 */
struct mock_table {
	struct mock_place *place;
	u64 generation;
	u64 bytes;
	u32 segments;
};

/**
 * struct mock_core - an importer
 * @obj: the importer as an object
 * @att: the attachment
 * @dmabuf: likewise
 * @node: on mock_importers
 * @table: under the mapping's active reference, or the resv in fill()
 * @fill_err: errno of fill()
 * @fill_times: how often, 0 for always
 * @fill_ms: how long fill() takes, and revoked()
 * @lock: @held and @idle; taken in interrupts
 * @held: references of GET, oldest first
 * @idle: those and I/O that have ended, to be freed
 * @active: references held
 * @pending: I/O and timed references on their way
 * @settled: when @pending becomes 0
 * @io_done: I/O that has ended
 * @torn: I/O whose table changed under it
 * @fills: calls of fill()
 * @fill_active: of which with references held
 * @revoked: calls of revoked()
 * @revoked_active: of which with references held
 */
struct mock_core {
	struct mock_object obj;
	struct p2pbuf_attachment *att;
	struct dma_buf *dmabuf;
	struct list_head node;

	struct mock_table table;
	u32 fill_err;
	u32 fill_times;
	u32 fill_ms;

	spinlock_t lock;			/* held, idle */
	struct list_head held;
	struct list_head idle;
	atomic_t active;
	atomic_t pending;
	wait_queue_head_t settled;

	atomic64_t io_done;
	atomic_t torn;
	atomic_t fills;
	atomic_t fill_active;
	atomic_t revoked;
	atomic_t revoked_active;
};

/**
 * struct mock_ref - an active reference
 * @core: whose
 * @mapping: to which mapping
 * @node: on core->held or core->idle
 * @timer: drops it
 * @io: it is an I/O: write, then drop
 * @place: where to; @table as it was when the reference was taken
 * @generation: likewise
 * @offset: in the buffer
 * @value: what
 */
struct mock_ref {
	struct mock_core *core;
	struct p2pbuf_mapping *mapping;
	struct list_head node;
	struct hrtimer timer;
	bool io;
	struct mock_place *place;
	u64 generation;
	u64 offset;
	u64 value;
};

static LIST_HEAD(mock_importers);

/* Not of one importer: it may be closed, and gone, when somebody asks. */
static atomic_t mock_late;
static DEFINE_MUTEX(mock_importers_lock);

/**
 * mock_core_active - who is using a buffer right now?
 * @dmabuf: the buffer
 * @attach: only the importer behind this attachment; NULL for all
 *
 * Return: active references held. Each was counted before it could be missed
 * and is uncounted before it is dropped, so this may be too low, never too
 * high.
 */
u32 mock_core_active(struct dma_buf *dmabuf, struct dma_buf_attachment *attach)
{
	struct mock_core *core;
	u32 active = 0;

	mutex_lock(&mock_importers_lock);
	list_for_each_entry(core, &mock_importers, node)
		if (core->dmabuf == dmabuf &&
		    (!attach || core->att->attach == attach))
			active += atomic_read(&core->active);
	mutex_unlock(&mock_importers_lock);
	return active;
}

/**
 * mock_core_device_leaves - the driver of a device lets go of it
 * @dev: the device
 *
 * Whatever is mapped for it was to be gone by now.
 */
void mock_core_device_leaves(struct device *dev)
{
	struct mock_core *core;

	mutex_lock(&mock_importers_lock);
	list_for_each_entry(core, &mock_importers, node)
		if (core->att->dev == dev && !atomic_read(&core->revoked))
			atomic_inc(&mock_late);
	mutex_unlock(&mock_importers_lock);
}

/* ---- the importer's callbacks --------------------------------------------------- */

static int mock_fill_fails(struct mock_core *core)
{
	int err = READ_ONCE(core->fill_err);

	if (core->fill_ms)
		msleep(core->fill_ms);
	if (err && core->fill_times && !--core->fill_times)
		core->fill_err = 0;
	return -err;
}

static int mock_fill(void *priv, struct sg_table *sgt)
{
	struct mock_core *core = priv;
	struct mock_buffer *buf = mock_buffer_of(core->dmabuf);
	struct mock_table *table = &core->table;
	struct mock_place *old = table->place;
	struct scatterlist *sg;
	int i, ret;

	dma_resv_assert_held(core->dmabuf->resv);

	atomic_inc(&core->fills);
	if (atomic_read(&core->active))
		atomic_inc(&core->fill_active);
	ret = mock_fill_fails(core);
	if (ret)
		return ret;
	WRITE_ONCE(table->generation, table->generation + 1);
	table->bytes = 0;
	table->segments = 0;
	for_each_sgtable_dma_sg(sgt, sg, i) {
		table->bytes += sg_dma_len(sg);
		table->segments++;
	}
	table->place = NULL;
	if (buf) {
		mock_place_get(buf->place);
		table->place = buf->place;
	}
	mock_place_put(old);
	return 0;
}

static void mock_revoked(void *priv)
{
	struct mock_core *core = priv;

	if (core->fill_ms)
		msleep(core->fill_ms);
	if (atomic_read(&core->active))
		atomic_inc(&core->revoked_active);
	WRITE_ONCE(core->table.generation, core->table.generation + 1);
	mock_place_put(core->table.place);
	core->table.place = NULL;
	/* Last: until then the device's driver has to stay. */
	atomic_inc(&core->revoked);
}

static const struct p2pbuf_importer_ops mock_importer_ops = {
	.name = "mock",
	.fill = mock_fill,
	.revoked = mock_revoked,
};

/* ---- references and I/O ------------------------------------------------------------ */

/* Any context. The reference is counted as idle until somebody frees it. */
static void mock_ref_drop(struct mock_ref *ref)
{
	struct mock_core *core = ref->core;

	if (ref->io) {
		if (READ_ONCE(core->table.generation) != ref->generation)
			atomic_inc(&core->torn);
		mock_place_access(ref->place, ref->offset, &ref->value,
				  sizeof(ref->value), true);
		atomic64_inc(&core->io_done);
	}
	atomic_dec(&core->active);
	p2pbuf_mapping_put(ref->mapping);
}

static enum hrtimer_restart mock_ref_timer(struct hrtimer *timer)
{
	struct mock_ref *ref = container_of(timer, struct mock_ref, timer);
	struct mock_core *core = ref->core;
	unsigned long flags;

	mock_ref_drop(ref);
	/* The core is waited for until this is the last thing that touches it. */
	spin_lock_irqsave(&core->lock, flags);
	list_add_tail(&ref->node, &core->idle);
	if (atomic_dec_and_test(&core->pending))
		wake_up_all(&core->settled);
	spin_unlock_irqrestore(&core->lock, flags);
	return HRTIMER_NORESTART;
}

static void mock_ref_free(struct mock_ref *ref)
{
	/* Its function may be returning from just where it let go of it. */
	hrtimer_cancel(&ref->timer);
	mock_place_put(ref->place);
	kfree(ref);
}

static void mock_refs_free(struct mock_core *core)
{
	struct mock_ref *ref, *next;
	LIST_HEAD(idle);

	spin_lock_irq(&core->lock);
	list_splice_init(&core->idle, &idle);
	spin_unlock_irq(&core->lock);
	list_for_each_entry_safe(ref, next, &idle, node)
		mock_ref_free(ref);
}

static struct mock_ref *mock_ref_alloc(struct mock_core *core)
{
	struct mock_ref *ref;

	mock_refs_free(core);
	ref = kzalloc_obj(*ref);
	if (!ref)
		return NULL;
	ref->core = core;
	hrtimer_setup(&ref->timer, mock_ref_timer, CLOCK_MONOTONIC,
		      HRTIMER_MODE_REL);
	return ref;
}

/* Everything that allocates is done. 0, -ENXIO or -ENODEV. */
static int mock_ref_take(struct mock_ref *ref)
{
	struct mock_core *core = ref->core;

	ref->mapping = p2pbuf_mapping_get(core->att);
	if (!ref->mapping)
		return p2pbuf_attachment_is_revoked(core->att) ? -ENODEV :
								-ENXIO;
	atomic_inc(&core->active);
	ref->generation = core->table.generation;
	ref->place = core->table.place;
	if (ref->place)
		mock_place_get(ref->place);
	return 0;
}

static void mock_ref_start(struct mock_ref *ref, u32 us)
{
	atomic_inc(&ref->core->pending);
	hrtimer_start(&ref->timer, us_to_ktime(us), HRTIMER_MODE_REL);
}

static int mock_core_take(struct mock_core *core)
{
	struct mock_ref *ref = mock_ref_alloc(core);
	int ret;

	if (!ref)
		return -ENOMEM;
	ret = mock_ref_take(ref);
	if (ret) {
		mock_ref_free(ref);
		return ret;
	}
	spin_lock_irq(&core->lock);
	list_add_tail(&ref->node, &core->held);
	spin_unlock_irq(&core->lock);
	return 0;
}

static struct mock_ref *mock_core_oldest(struct mock_core *core)
{
	struct mock_ref *ref;

	spin_lock_irq(&core->lock);
	ref = list_first_entry_or_null(&core->held, struct mock_ref, node);
	if (ref)
		list_del(&ref->node);
	spin_unlock_irq(&core->lock);
	return ref;
}

int mock_core_put(struct mock_object *obj, struct p2pbuf_mock_put *arg)
{
	struct mock_core *core = container_of(obj, struct mock_core, obj);
	struct mock_ref *ref;

	if (arg->context >= P2PBUF_MOCK_CONTEXTS || arg->pad)
		return -EINVAL;
	ref = mock_core_oldest(core);
	if (!ref)
		return -ENXIO;
	if (arg->context == P2PBUF_MOCK_HARDIRQ) {
		mock_ref_start(ref, arg->us);
	} else {
		mock_ref_drop(ref);
		mock_ref_free(ref);
	}
	return 0;
}

int mock_core_io(struct mock_object *obj, struct p2pbuf_mock_io *arg)
{
	struct mock_core *core = container_of(obj, struct mock_core, obj);
	struct mock_ref *ref;
	int ret;

	if (!mock_buffer_of(core->dmabuf) || arg->offset & 7 ||
	    arg->offset >= core->dmabuf->size)
		return -EINVAL;
	ref = mock_ref_alloc(core);
	if (!ref)
		return -ENOMEM;
	ref->io = true;
	ref->offset = arg->offset;
	ref->value = arg->value;
	for (;;) {
		ret = mock_ref_take(ref);
		if (ret != -ENXIO)
			break;
		ret = p2pbuf_attachment_map(core->att);
		if (ret)
			break;
	}
	if (ret)
		mock_ref_free(ref);
	else
		mock_ref_start(ref, arg->us);
	return ret;
}

/* ---- life ---------------------------------------------------------------------------- */

/* No reference may be left when the attachment is destroyed. */
static void mock_core_drain(struct mock_core *core)
{
	struct mock_ref *ref;

	while ((ref = mock_core_oldest(core))) {
		mock_ref_drop(ref);
		mock_ref_free(ref);
	}
	wait_event(core->settled, !atomic_read(&core->pending));
	/* The last timer woke us with the lock held. */
	spin_lock_irq(&core->lock);
	spin_unlock_irq(&core->lock);
	mock_refs_free(core);
}

static void mock_core_close(struct mock_object *obj)
{
	mock_core_drain(container_of(obj, struct mock_core, obj));
}

static void mock_core_release(struct mock_object *obj)
{
	struct mock_core *core = container_of(obj, struct mock_core, obj);
	struct device *dev = core->att->dev;

	/* A caller that came in while it was closed may have left some. */
	mock_core_drain(core);
	/* On the list meanwhile: mock_core_device_leaves() must see it. */
	p2pbuf_attachment_revoke(core->att);
	mutex_lock(&mock_importers_lock);
	list_del(&core->node);
	mutex_unlock(&mock_importers_lock);
	p2pbuf_attachment_destroy(core->att);
	put_device(dev);
	dma_buf_put(core->dmabuf);
	kfree(core);
}

static struct mock_core *mock_core_alloc(void)
{
	struct mock_core *core;

	core = kzalloc_obj(*core);
	if (!core)
		return NULL;
	mock_object_init(&core->obj, MOCK_CORE, mock_core_close,
			 mock_core_release);
	spin_lock_init(&core->lock);
	INIT_LIST_HEAD(&core->held);
	INIT_LIST_HEAD(&core->idle);
	init_waitqueue_head(&core->settled);
	return core;
}

/* As the contract has it: the driver cannot be unbound meanwhile. */
static int mock_core_attach(struct mock_core *core, struct device *dev)
{
	int ret = 0;

	device_lock(dev);
	if (dev_is_pci(dev) && !dev->driver)
		ret = -ENODEV;
	if (!ret) {
		core->att = p2pbuf_attachment_create(core->dmabuf, dev,
						     &mock_importer_ops, core);
		ret = PTR_ERR_OR_ZERO(core->att);
	}
	device_unlock(dev);
	return ret;
}

int mock_core_create(struct mock_file *file, struct p2pbuf_mock_import *arg)
{
	struct mock_core *core;
	struct device *dev;
	int ret;

	core = mock_core_alloc();
	if (!core)
		return -ENOMEM;
	core->dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(core->dmabuf)) {
		ret = PTR_ERR(core->dmabuf);
		goto free_core;
	}
	ret = -ENODEV;
	dev = mock_device_get_importer(arg->device);
	if (!dev)
		goto put_buffer;
	ret = mock_device_set_bits(dev, arg->dma_bits);
	if (!ret)
		ret = mock_core_attach(core, dev);
	if (ret)
		goto put_device;
	mutex_lock(&mock_importers_lock);
	list_add_tail(&core->node, &mock_importers);
	mutex_unlock(&mock_importers_lock);
	return mock_file_add(file, &core->obj, &arg->id);

put_device:
	put_device(dev);
put_buffer:
	dma_buf_put(core->dmabuf);
free_core:
	kfree(core);
	return ret;
}

int mock_core_call(struct mock_object *obj, unsigned int cmd)
{
	struct mock_core *core = container_of(obj, struct mock_core, obj);

	switch (cmd) {
	case P2PBUF_MOCK_MAP:
		return p2pbuf_attachment_map(core->att);
	case P2PBUF_MOCK_REMAP:
		return p2pbuf_attachment_remap(core->att);
	case P2PBUF_MOCK_DETACH:
		p2pbuf_attachment_revoke(core->att);
		return 0;
	case P2PBUF_MOCK_GET:
		return mock_core_take(core);
	default:
		return -EINVAL;
	}
}

int mock_core_fill(struct mock_object *obj, struct p2pbuf_mock_fill *arg)
{
	struct mock_core *core = container_of(obj, struct mock_core, obj);
	int ret;

	if (arg->err > MAX_ERRNO)
		return -EINVAL;
	ret = mock_resv_lock(core->dmabuf->resv);
	if (ret)
		return ret;
	core->fill_err = arg->err;
	core->fill_times = arg->times;
	core->fill_ms = arg->ms;
	dma_resv_unlock(core->dmabuf->resv);
	return 0;
}

/* What is under the resv is left out while somebody holds that for long. */
int mock_core_info(struct mock_object *obj, struct p2pbuf_mock_import_info *arg)
{
	struct mock_core *core = container_of(obj, struct mock_core, obj);
	struct p2pbuf_attachment_stats stats = {};

	arg->mapped = !!rcu_access_pointer(core->att->mapping);
	arg->active = atomic_read(&core->active);
	arg->io_done = atomic64_read(&core->io_done);
	arg->fills = atomic_read(&core->fills);
	arg->fill_active = atomic_read(&core->fill_active);
	arg->torn = atomic_read(&core->torn);
	arg->revoked = atomic_read(&core->revoked);
	arg->revoked_active = atomic_read(&core->revoked_active);
	arg->late = atomic_read(&mock_late);
	arg->dead = p2pbuf_attachment_is_revoked(core->att);
	arg->locked = dma_resv_is_locked(core->dmabuf->resv);
	if (arg->locked)
		return 0;
	p2pbuf_attachment_path(core->att, &arg->path);
	p2pbuf_attachment_stats(core->att, &stats);
	arg->mappings = stats.mappings;
	arg->core_invalidations = stats.invalidations;
	arg->inline_waits = stats.inline_waits;
	arg->fill_bytes = core->table.bytes;
	arg->fill_segments = core->table.segments;
	return 0;
}
