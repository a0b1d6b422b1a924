// SPDX-License-Identifier: GPL-2.0
/*
 * Buffer: the exporter's side of a mock dma-buf.
 *
 * It keeps the exporter's half of the contract unless it is told not to: it
 * moves and revokes under the resv, after telling importers and waiting for
 * their fences, and it counts what importers do. What it checks by itself:
 *
 *	- no I/O of a mock importer is active when a wait for fences ends
 *	- none is active on a mapping that is unmapped
 *	- the poison of places it has left stays as it is
 */
#include <linux/fs.h>
#include <linux/ktime.h>
#include <linux/slab.h>
#include <linux/uaccess.h>

#include "mock.h"

/* Places kept to be looked at again. */
#define MOCK_GRAVES	8
/* How often the removal of a device says what it waits for. */
#define MOCK_LEAVE_REPORT	10000

static LIST_HEAD(mock_buffers);
static DEFINE_MUTEX(mock_buffers_lock);

/* One removal at a time, so that each sees every buffer once. */
static DEFINE_MUTEX(mock_leave_lock);
static u64 mock_pass;

static u64 mock_us_since(ktime_t start)
{
	return ktime_us_delta(ktime_get(), start);
}

/* ---- dma_buf_ops ------------------------------------------------------------- */

static int mock_op_attach(struct dma_buf *dmabuf,
			  struct dma_buf_attachment *attach)
{
	struct mock_buffer *buf = dmabuf->priv;
	int ret;

	ret = mock_rules_apply(buf, P2PBUF_MOCK_OP_ATTACH);
	if (ret)
		return ret;
	atomic_inc(&buf->attaches);
	if (!attach->importer_ops)
		atomic_inc(&buf->static_attaches);
	if (!dma_buf_attach_revocable(attach))
		atomic_inc(&buf->deaf_attaches);
	return 0;
}

static void mock_op_detach(struct dma_buf *dmabuf,
			   struct dma_buf_attachment *attach)
{
	struct mock_buffer *buf = dmabuf->priv;

	mock_rules_apply(buf, P2PBUF_MOCK_OP_DETACH);
	atomic_inc(&buf->detaches);
}

static int mock_op_pin(struct dma_buf_attachment *attach)
{
	struct mock_buffer *buf = attach->dmabuf->priv;
	int ret;

	dma_resv_assert_held(attach->dmabuf->resv);

	ret = mock_rules_apply(buf, P2PBUF_MOCK_OP_PIN);
	if (!ret)
		buf->info.pins++;
	return ret;
}

static void mock_op_unpin(struct dma_buf_attachment *attach)
{
	struct mock_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	buf->info.unpins++;
}

static void mock_count_stale(struct mock_buffer *buf)
{
	struct mock_map *map;
	u64 oldest = buf->epoch;
	u32 stale = 0;

	dma_resv_assert_held(buf->dmabuf->resv);

	list_for_each_entry(map, &buf->maps, node) {
		stale += buf->err || map->place != buf->place;
		oldest = min(oldest, map->epoch);
	}
	WRITE_ONCE(buf->nr_stale, stale);
	WRITE_ONCE(buf->oldest, oldest);
	wake_up_all(&buf->wait);
}

static struct mock_map *mock_map_locked(struct mock_buffer *buf,
					struct dma_buf_attachment *attach)
{
	struct mock_map *map;

	if (buf->err)
		return ERR_PTR(buf->err);
	if (buf->place->mdev && !attach->peer2peer)
		return ERR_PTR(-EOPNOTSUPP);
	if (buf->place->mdev && READ_ONCE(buf->place->mdev->leaving))
		return ERR_PTR(-ENOLINK);
	map = mock_map_create(buf, attach->dev);
	if (!IS_ERR(map)) {
		map->epoch = buf->epoch;
		list_add_tail(&map->node, &buf->maps);
	}
	return map;
}

static struct sg_table *mock_op_map(struct dma_buf_attachment *attach,
				    enum dma_data_direction dir)
{
	struct mock_buffer *buf = attach->dmabuf->priv;
	struct mock_map *map;
	int ret;

	/* An exporter without pin() may be called without it as well. */
	dma_resv_assert_held(attach->dmabuf->resv);

	ret = mock_rules_apply(buf, P2PBUF_MOCK_OP_MAP);
	map = ret ? ERR_PTR(ret) : mock_map_locked(buf, attach);
	if (IS_ERR_OR_NULL(map) || ret == MOCK_RETURN_NULL) {
		buf->info.map_failures++;
		return ret == MOCK_RETURN_NULL ? NULL : ERR_CAST(map);
	}
	buf->info.maps++;
	return &map->sgt;
}

static void mock_op_unmap(struct dma_buf_attachment *attach,
			  struct sg_table *sgt, enum dma_data_direction dir)
{
	struct mock_map *map = container_of(sgt, struct mock_map, sgt);
	struct mock_buffer *buf = attach->dmabuf->priv;

	dma_resv_assert_held(attach->dmabuf->resv);

	mock_rules_apply(buf, P2PBUF_MOCK_OP_UNMAP);
	if (mock_core_active(attach->dmabuf, attach))
		buf->info.unmapped_active++;
	buf->info.unmaps++;
	list_del(&map->node);
	mock_map_destroy(map, attach->dev);
	mock_count_stale(buf);
}

static int mock_op_begin_cpu(struct dma_buf *dmabuf,
			     enum dma_data_direction dir)
{
	return mock_rules_apply(dmabuf->priv, P2PBUF_MOCK_OP_BEGIN_CPU);
}

static int mock_op_end_cpu(struct dma_buf *dmabuf, enum dma_data_direction dir)
{
	return mock_rules_apply(dmabuf->priv, P2PBUF_MOCK_OP_END_CPU);
}

static void mock_buffer_free(struct mock_buffer *buf)
{
	struct mock_place *place, *next;

	mock_rules_clear(buf);
	list_for_each_entry_safe(place, next, &buf->graves, node)
		mock_place_put(place);
	mock_place_put(buf->place);
	kfree(buf);
}

static void mock_op_release(struct dma_buf *dmabuf)
{
	struct mock_buffer *buf = dmabuf->priv;

	mutex_lock(&mock_buffers_lock);
	list_del(&buf->node);
	mutex_unlock(&mock_buffers_lock);
	WARN_ON(!list_empty(&buf->maps));
	mock_buffer_free(buf);
}

static const struct dma_buf_ops mock_ops = {
	.attach = mock_op_attach,
	.detach = mock_op_detach,
	.pin = mock_op_pin,
	.unpin = mock_op_unpin,
	.map_dma_buf = mock_op_map,
	.unmap_dma_buf = mock_op_unmap,
	.begin_cpu_access = mock_op_begin_cpu,
	.end_cpu_access = mock_op_end_cpu,
	.release = mock_op_release,
};

static const struct dma_buf_ops mock_ops_static = {
	.attach = mock_op_attach,
	.detach = mock_op_detach,
	.map_dma_buf = mock_op_map,
	.unmap_dma_buf = mock_op_unmap,
	.begin_cpu_access = mock_op_begin_cpu,
	.end_cpu_access = mock_op_end_cpu,
	.release = mock_op_release,
};

/* The buffer behind a dma-buf, or NULL when that is not one of ours. */
struct mock_buffer *mock_buffer_of(struct dma_buf *dmabuf)
{
	return dmabuf->ops == &mock_ops || dmabuf->ops == &mock_ops_static ?
	       dmabuf->priv : NULL;
}

/* The mock dma-buf of an fd, with a reference, or -EBADF, -EBADFD. */
struct dma_buf *mock_buffer_get(int fd)
{
	struct dma_buf *dmabuf = dma_buf_get(fd);

	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf) == -EBADF ? dmabuf : ERR_PTR(-EBADFD);
	if (mock_buffer_of(dmabuf))
		return dmabuf;
	dma_buf_put(dmabuf);
	return ERR_PTR(-EBADFD);
}

/* ---- create -------------------------------------------------------------------- */

static struct mock_buffer *mock_buffer_alloc(struct p2pbuf_mock_create *arg)
{
	struct mock_buffer *buf;
	u64 offset;

	buf = kzalloc_obj(*buf);
	if (!buf)
		return ERR_PTR(-ENOMEM);
	buf->nr = arg->size >> PAGE_SHIFT;
	buf->flags = arg->flags;
	buf->info.generation = 1;
	INIT_LIST_HEAD(&buf->graves);
	INIT_LIST_HEAD(&buf->maps);
	INIT_LIST_HEAD(&buf->rules);
	spin_lock_init(&buf->rules_lock);
	init_waitqueue_head(&buf->wait);
	buf->place = mock_place_create(buf->nr, arg->placement, arg->device,
				       arg->flags & P2PBUF_MOCK_SHUFFLE,
				       arg->seed);
	if (IS_ERR(buf->place)) {
		int ret = PTR_ERR(buf->place);

		kfree(buf);
		return ERR_PTR(ret);
	}
	/* System pages are zero already. */
	for (offset = 0; buf->place->mdev && offset < arg->size;
	     offset += PAGE_SIZE)
		mock_place_access(buf->place, offset,
				  page_address(ZERO_PAGE(0)), PAGE_SIZE, true);
	return buf;
}

int mock_buffer_create(struct p2pbuf_mock_create *arg)
{
	DEFINE_DMA_BUF_EXPORT_INFO(exp);
	struct mock_buffer *buf;
	int ret;

	if (arg->flags & ~(P2PBUF_MOCK_SHUFFLE | P2PBUF_MOCK_STATIC) ||
	    arg->pad || !arg->size || !PAGE_ALIGNED(arg->size) ||
	    arg->size >> PAGE_SHIFT > S32_MAX / 2 - 1)
		return -EINVAL;
	buf = mock_buffer_alloc(arg);
	if (IS_ERR(buf))
		return PTR_ERR(buf);
	exp.ops = arg->flags & P2PBUF_MOCK_STATIC ? &mock_ops_static :
						     &mock_ops;
	exp.size = arg->size;
	exp.flags = O_RDWR | O_CLOEXEC;
	exp.priv = buf;
	buf->dmabuf = dma_buf_export(&exp);
	if (IS_ERR(buf->dmabuf)) {
		ret = PTR_ERR(buf->dmabuf);
		mock_buffer_free(buf);
		return ret;
	}
	/* @buf belongs to the dma-buf from here. */
	mutex_lock(&mock_buffers_lock);
	list_add_tail(&buf->node, &mock_buffers);
	mutex_unlock(&mock_buffers_lock);

	ret = dma_buf_fd(buf->dmabuf, O_CLOEXEC);
	if (ret < 0) {
		dma_buf_put(buf->dmabuf);
		return ret;
	}
	arg->fd = ret;
	return 0;
}

/* ---- move and revoke -------------------------------------------------------------- */

void mock_buffer_invalidate_locked(struct mock_buffer *buf)
{
	dma_resv_assert_held(buf->dmabuf->resv);

	buf->info.invalidations++;
	dma_buf_invalidate_mappings(buf->dmabuf);
	mock_count_stale(buf);
}

/* Nobody uses the place any more: 0, or -ETIME. */
static int mock_quiesce_locked(struct mock_buffer *buf, u32 wait_ms, u64 *us)
{
	ktime_t start = ktime_get();
	long left;

	mock_buffer_invalidate_locked(buf);
	left = mock_fences_wait(buf->dmabuf->resv, wait_ms);
	*us = mock_us_since(start);
	if (!left)
		return -ETIME;
	if (mock_core_active(buf->dmabuf, NULL))
		buf->info.moved_active++;
	return 0;
}

/* Takes over a reference on @place, which has been poisoned. */
static void mock_bury_locked(struct mock_buffer *buf, struct mock_place *place)
{
	struct mock_place *oldest;

	dma_resv_assert_held(buf->dmabuf->resv);

	list_add_tail(&place->node, &buf->graves);
	if (++buf->nr_graves <= MOCK_GRAVES)
		return;
	oldest = list_first_entry(&buf->graves, struct mock_place, node);
	list_del(&oldest->node);
	buf->nr_graves--;
	buf->info.late_words += mock_place_late_words(oldest);
	mock_place_put(oldest);
}

/* The bytes are at @place from now on. */
static struct mock_place *mock_settle_locked(struct mock_buffer *buf,
					     struct mock_place *place)
{
	struct mock_place *old = buf->place;

	dma_resv_assert_held(buf->dmabuf->resv);

	buf->place = place;
	buf->info.generation++;
	buf->epoch++;
	mock_count_stale(buf);
	return old;
}

/* A pin is a promise not to move. */
static bool mock_pinned(struct mock_buffer *buf)
{
	dma_resv_assert_held(buf->dmabuf->resv);

	return buf->info.pins != buf->info.unpins;
}

static int mock_move_locked(struct mock_buffer *buf, struct mock_place *place,
			    u32 wait_ms, u64 *us)
{
	int ret;

	if (mock_pinned(buf))
		return -EBUSY;
	ret = mock_quiesce_locked(buf, wait_ms, us);
	if (!ret)
		ret = mock_place_copy(place, buf->place);
	if (ret)
		return ret;
	mock_place_poison(buf->place);
	mock_bury_locked(buf, mock_settle_locked(buf, place));
	return 0;
}

/**
 * mock_buffer_relocate_locked - move to other pages, inside of map
 * @buf: the buffer; its resv is held
 * @wait_ms: for importers' fences
 *
 * Return: 0, -ETIME, -ENOMEM.
 */
int mock_buffer_relocate_locked(struct mock_buffer *buf, u32 wait_ms)
{
	struct mock_place *place;
	u64 us;
	int ret;

	place = mock_place_create(buf->nr, P2PBUF_MOCK_PAGES, 0,
				  buf->flags & P2PBUF_MOCK_SHUFFLE,
				  (u32)buf->info.generation);
	if (IS_ERR(place))
		return PTR_ERR(place);
	ret = mock_move_locked(buf, place, wait_ms, &us);
	if (ret)
		mock_place_put(place);
	return ret;
}

/* Takes over @place, like all ways to move. @epoch begins with it. */
static int mock_move_waiting(struct mock_buffer *buf, struct mock_place *place,
			     struct p2pbuf_mock_move *arg, u64 *epoch)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	struct dma_fence *fence;
	int ret = -ENOMEM;

	fence = mock_fence_alloc(false);
	if (!fence)
		goto put_place;
	dma_resv_lock(resv, NULL);
	ret = dma_resv_reserve_fences(resv, 1);
	if (!ret)
		ret = mock_move_locked(buf, place, arg->wait_ms,
				       &arg->fence_us);
	/* The slot is ours, whatever importers did meanwhile. */
	if (!ret && arg->flags & P2PBUF_MOCK_RESERVE_FIRST)
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_KERNEL);
	*epoch = buf->epoch;
	dma_resv_unlock(resv);
	dma_fence_signal(fence);
	dma_fence_put(fence);
put_place:
	if (ret)
		mock_place_put(place);
	return ret;
}

static long mock_fence_list_wait(struct dma_fence **fences, unsigned int nr,
				 u32 ms)
{
	long left = max(msecs_to_jiffies(ms), 1);
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (left && !mock_fence_is_background(fences[i]))
			left = dma_fence_wait_timeout(fences[i], false, left);
		dma_fence_put(fences[i]);
	}
	kfree(fences);
	return left;
}

/*
 * The second half of a pipelined move: nothing is locked, and the buffer is at
 * @place already, with or without its bytes. Takes over @old and @fences, and
 * signals @fence before it takes any lock: others wait for it with the resv.
 */
static int mock_move_finish(struct mock_buffer *buf, struct mock_place *old,
			    struct mock_place *place, struct dma_fence **fences,
			    unsigned int nr, struct dma_fence *fence,
			    struct p2pbuf_mock_move *arg)
{
	ktime_t start = ktime_get();
	bool late, active;
	int ret;

	late = !mock_fence_list_wait(fences, nr, arg->wait_ms);
	active = !late && mock_core_active(buf->dmabuf, NULL);
	arg->fence_us = mock_us_since(start);
	ret = mock_place_copy(place, old);
	mock_place_poison(old);
	dma_fence_signal(fence);

	dma_resv_lock(buf->dmabuf->resv, NULL);
	buf->info.moved_active += active;
	mock_bury_locked(buf, old);
	dma_resv_unlock(buf->dmabuf->resv);
	return ret ?: late ? -ETIME : 0;
}

static int mock_move_pipelined(struct mock_buffer *buf,
			       struct mock_place *place,
			       struct p2pbuf_mock_move *arg, u64 *epoch)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	struct dma_fence *fence, **fences;
	struct mock_place *old;
	unsigned int nr;
	int ret = -ENOMEM;

	fence = mock_fence_alloc(false);
	if (!fence)
		goto put_place;
	dma_resv_lock(resv, NULL);
	ret = mock_pinned(buf) ? -EBUSY : dma_resv_reserve_fences(resv, 1);
	if (ret)
		goto unlock;
	mock_buffer_invalidate_locked(buf);
	ret = dma_resv_get_fences(resv, DMA_RESV_USAGE_BOOKKEEP, &nr, &fences);
	if (ret)
		goto unlock;
	/* Whoever maps from here on waits for @fence before using @place. */
	dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_KERNEL);
	mock_place_get(place);
	old = mock_settle_locked(buf, place);
	*epoch = buf->epoch;
	dma_resv_unlock(resv);

	ret = mock_move_finish(buf, old, place, fences, nr, fence, arg);
	goto put_fence;

unlock:
	dma_resv_unlock(resv);
	dma_fence_signal(fence);
put_fence:
	dma_fence_put(fence);
put_place:
	mock_place_put(place);
	return ret;
}

/* Without the resv: wait until what was mapped before @epoch is unmapped. */
static bool mock_wait_epoch(struct mock_buffer *buf, u64 epoch, u32 ms)
{
	return wait_event_timeout(buf->wait, READ_ONCE(buf->oldest) >= epoch,
				  msecs_to_jiffies(ms));
}

/* After a move or revoke that began @epoch. */
static void mock_wait_unmapped(struct mock_buffer *buf, u64 epoch,
			       struct p2pbuf_mock_move *arg)
{
	ktime_t start = ktime_get();

	arg->stale = 0;
	if (!mock_wait_epoch(buf, epoch, arg->unmap_ms))
		arg->stale = max(READ_ONCE(buf->nr_stale), 1);
	arg->unmap_us = mock_us_since(start);
}

int mock_buffer_move(struct p2pbuf_mock_move *arg)
{
	struct mock_buffer *buf;
	struct dma_buf *dmabuf;
	struct mock_place *place;
	u64 epoch;
	int ret;

	if (arg->flags & ~(P2PBUF_MOCK_RESERVE_FIRST | P2PBUF_MOCK_PIPELINED) ||
	    arg->err || arg->pad)
		return -EINVAL;
	dmabuf = mock_buffer_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = dmabuf->priv;
	place = mock_place_create(buf->nr, arg->placement, arg->device,
				  buf->flags & P2PBUF_MOCK_SHUFFLE, arg->seed);
	if (IS_ERR(place)) {
		ret = PTR_ERR(place);
		goto put_buffer;
	}
	if (arg->flags & P2PBUF_MOCK_PIPELINED)
		ret = mock_move_pipelined(buf, place, arg, &epoch);
	else
		ret = mock_move_waiting(buf, place, arg, &epoch);
	if (!ret)
		mock_wait_unmapped(buf, epoch, arg);
put_buffer:
	dma_buf_put(dmabuf);
	return ret;
}

/**
 * mock_buffer_take_back_locked - mapping fails from now on
 * @buf: the buffer; its resv is held
 * @err: -errno to fail with, or 0 to allow it again
 *
 * Importers are still to be told.
 */
void mock_buffer_take_back_locked(struct mock_buffer *buf, int err)
{
	dma_resv_assert_held(buf->dmabuf->resv);

	buf->err = err;
	/* Who is allowed again has nothing to wait for. */
	if (err)
		buf->epoch++;
	mock_count_stale(buf);
}

int mock_buffer_revoke(struct p2pbuf_mock_move *arg)
{
	struct mock_buffer *buf;
	struct dma_buf *dmabuf;
	u64 epoch;
	int ret = 0;

	if (arg->flags || arg->err > MAX_ERRNO || arg->pad)
		return -EINVAL;
	dmabuf = mock_buffer_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = dmabuf->priv;
	dma_resv_lock(dmabuf->resv, NULL);
	mock_buffer_take_back_locked(buf, -(int)arg->err);
	if (arg->err)
		ret = mock_quiesce_locked(buf, arg->wait_ms, &arg->fence_us);
	epoch = buf->epoch;
	dma_resv_unlock(dmabuf->resv);
	if (!ret)
		mock_wait_unmapped(buf, epoch, arg);
	dma_buf_put(dmabuf);
	return ret;
}

/* ---- the device goes ----------------------------------------------------------------- */

/* The next buffer this pass has not seen, with a reference on its dma-buf. */
static struct mock_buffer *mock_buffers_next(void)
{
	struct mock_buffer *buf, *found = NULL;

	mutex_lock(&mock_buffers_lock);
	list_for_each_entry(buf, &mock_buffers, node) {
		if (buf->pass == mock_pass)
			continue;
		buf->pass = mock_pass;
		/* One that is being released needs nothing any more. */
		if (!file_ref_get(&buf->dmabuf->file->f_ref))
			continue;
		found = buf;
		break;
	}
	mutex_unlock(&mock_buffers_lock);
	return found;
}

static void mock_buffer_leave(struct mock_buffer *buf, struct mock_device *mdev)
{
	struct dma_resv *resv = buf->dmabuf->resv;
	u64 us, epoch;

	dma_resv_lock(resv, NULL);
	if (buf->place->mdev == mdev) {
		mock_buffer_take_back_locked(buf, -ENODEV);
		while (mock_quiesce_locked(buf, MOCK_LEAVE_REPORT, &us))
			pci_notice(mdev->pdev, "waiting for importers' fences\n");
	}
	/* Also for mappings of a place there that the buffer has left. */
	epoch = buf->epoch;
	dma_resv_unlock(resv);
	while (!mock_wait_epoch(buf, epoch, MOCK_LEAVE_REPORT))
		pci_notice(mdev->pdev, "waiting for an importer to unmap\n");
}

/**
 * mock_buffers_leave - the device is being removed
 * @mdev: the device; no new buffer goes there
 *
 * Afterwards nothing is mapped to its BAR, and nothing will be.
 */
void mock_buffers_leave(struct mock_device *mdev)
{
	struct mock_buffer *buf;

	mutex_lock(&mock_leave_lock);
	mock_pass++;
	while ((buf = mock_buffers_next())) {
		struct dma_buf *dmabuf = buf->dmabuf;

		mock_buffer_leave(buf, mdev);
		dma_buf_put(dmabuf);
	}
	mutex_unlock(&mock_leave_lock);
}

/* ---- looking at it ----------------------------------------------------------------------- */

static u32 mock_count_fences(struct dma_resv *resv, enum dma_resv_usage usage)
{
	struct dma_resv_iter cursor;
	struct dma_fence *fence;
	u32 count = 0;

	dma_resv_iter_begin(&cursor, resv, usage);
	dma_resv_for_each_fence_unlocked(&cursor, fence) {
		if (dma_resv_iter_is_restarted(&cursor))
			count = 0;
		count += !dma_fence_is_signaled(fence);
	}
	dma_resv_iter_end(&cursor);
	return count;
}

static void mock_info_locked(struct mock_buffer *buf,
			     struct p2pbuf_mock_buffer_info *arg)
{
	struct mock_place *place;
	s32 fd = arg->fd;

	*arg = buf->info;
	arg->fd = fd;
	arg->placement = buf->place->mdev ? P2PBUF_MOCK_BAR : P2PBUF_MOCK_PAGES;
	arg->live = list_count_nodes(&buf->maps);
	arg->stale = buf->nr_stale;
	list_for_each_entry(place, &buf->graves, node)
		arg->late_words += mock_place_late_words(place);
}

/* While somebody holds the resv, only what needs no lock is filled. */
int mock_buffer_info(struct p2pbuf_mock_buffer_info *arg)
{
	struct mock_buffer *buf;
	struct dma_buf *dmabuf;

	dmabuf = mock_buffer_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	buf = dmabuf->priv;
	if (dma_resv_trylock(dmabuf->resv)) {
		mock_info_locked(buf, arg);
		dma_resv_unlock(dmabuf->resv);
		arg->locked = 0;
	} else {
		*arg = (struct p2pbuf_mock_buffer_info){
			.fd = arg->fd,
			.locked = 1,
			.stale = READ_ONCE(buf->nr_stale),
		};
	}
	arg->attaches = atomic_read(&buf->attaches);
	arg->detaches = atomic_read(&buf->detaches);
	arg->static_attaches = atomic_read(&buf->static_attaches);
	arg->deaf_attaches = atomic_read(&buf->deaf_attaches);
	arg->kernel_fences = mock_count_fences(dmabuf->resv,
					       DMA_RESV_USAGE_KERNEL);
	arg->fences = mock_count_fences(dmabuf->resv, DMA_RESV_USAGE_BOOKKEEP);
	dma_buf_put(dmabuf);
	return 0;
}

/* The resv, with all KERNEL fences signalled; waits without it. */
static int mock_lock_settled(struct dma_resv *resv)
{
	long left;
	int ret;

	for (;;) {
		left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_KERNEL, true,
					     MAX_SCHEDULE_TIMEOUT);
		if (left < 0)
			return left;
		ret = mock_resv_lock(resv);
		if (ret || dma_resv_test_signaled(resv, DMA_RESV_USAGE_KERNEL))
			return ret;
		dma_resv_unlock(resv);
	}
}

/* One page at most, by way of @page: user memory is not touched with the resv. */
static int mock_data_page(struct mock_buffer *buf,
			  const struct p2pbuf_mock_data *arg, u64 done,
			  void *page, size_t len)
{
	void __user *user = u64_to_user_ptr(arg->data + done);
	int ret;

	if (arg->write && copy_from_user(page, user, len))
		return -EFAULT;
	ret = mock_lock_settled(buf->dmabuf->resv);
	if (ret)
		return ret;
	ret = mock_place_access(buf->place, arg->offset + done, page, len,
				arg->write);
	dma_resv_unlock(buf->dmabuf->resv);
	if (!ret && !arg->write && copy_to_user(user, page, len))
		ret = -EFAULT;
	return ret;
}

int mock_buffer_data(struct p2pbuf_mock_data *arg)
{
	struct dma_buf *dmabuf;
	void *page;
	u64 done;
	int ret = 0;

	if (arg->write > 1)
		return -EINVAL;
	dmabuf = mock_buffer_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	page = kmalloc(PAGE_SIZE, GFP_KERNEL);
	if (!page)
		ret = -ENOMEM;
	else if (arg->offset > dmabuf->size ||
		 arg->len > dmabuf->size - arg->offset)
		ret = -EINVAL;
	for (done = 0; !ret && done < arg->len; done += PAGE_SIZE)
		ret = mock_data_page(dmabuf->priv, arg, done, page,
				     min(arg->len - done, PAGE_SIZE));
	kfree(page);
	dma_buf_put(dmabuf);
	return ret;
}
