// SPDX-License-Identifier: GPL-2.0
/*
 * Hold: somebody who holds the resv of a dma-buf, in a kernel thread, as
 * evictions and restores of GPU drivers do.
 *
 * An importer that does its part always lets a hold end. One that does not is
 * found out by the clock: the wait for its fence ends with -ETIME, which the
 * hold reports, and everything is undone as if it had come.
 */
#include <linux/slab.h>
#include <linux/wait.h>

#include "mock.h"

/**
 * struct mock_hold - one hold
 * @obj: the work holds a reference until it is done
 * @dmabuf: whose resv
 * @mode: why
 * @ms: longest for each step
 * @work: runs it
 * @wait: for @state and @let_go
 * @state: how far it is
 * @let_go: do not wait for the time to pass
 * @result: 0 or -ETIME, -ENOMEM
 */
struct mock_hold {
	struct mock_object obj;
	struct dma_buf *dmabuf;
	enum p2pbuf_mock_hold_mode mode;
	u32 ms;
	struct work_struct work;
	wait_queue_head_t wait;
	enum p2pbuf_mock_hold_state state;
	bool let_go;
	int result;
};

static void mock_hold_reached(struct mock_hold *hold,
			      enum p2pbuf_mock_hold_state state)
{
	WRITE_ONCE(hold->state, state);
	wake_up_all(&hold->wait);
}

static void mock_hold_pause(struct mock_hold *hold)
{
	wait_event_timeout(hold->wait, READ_ONCE(hold->let_go),
			   msecs_to_jiffies(hold->ms));
}

static void mock_hold_plain(struct mock_hold *hold)
{
	struct dma_resv *resv = hold->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	mock_hold_reached(hold, P2PBUF_MOCK_HOLD_HELD);
	mock_hold_pause(hold);
	dma_resv_unlock(resv);
}

/* Tell importers and wait for all of their fences. */
static void mock_hold_evict_locked(struct mock_hold *hold)
{
	struct dma_resv *resv = hold->dmabuf->resv;

	dma_resv_assert_held(resv);

	dma_buf_invalidate_mappings(hold->dmabuf);
	mock_hold_reached(hold, P2PBUF_MOCK_HOLD_HELD);
	if (!mock_fences_wait(resv, hold->ms))
		hold->result = -ETIME;
}

static void mock_hold_wait_mode(struct mock_hold *hold)
{
	struct dma_resv *resv = hold->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	mock_hold_evict_locked(hold);
	dma_resv_unlock(resv);
}

static void mock_hold_kfd(struct mock_hold *hold, struct dma_fence *fence)
{
	struct dma_resv *resv = hold->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	mock_hold_evict_locked(hold);
	if (dma_resv_reserve_fences(resv, 1))
		hold->result = -ENOMEM;
	else
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_KERNEL);
	dma_resv_unlock(resv);
	mock_hold_reached(hold, P2PBUF_MOCK_HOLD_FENCED);
	mock_hold_pause(hold);

	/* The fence cannot signal before this got the resv. */
	dma_resv_lock(resv, NULL);
	mock_hold_evict_locked(hold);
	dma_fence_signal(fence);
	dma_resv_unlock(resv);
}

static void mock_hold_chain(struct mock_hold *hold, struct dma_fence *fence)
{
	struct dma_resv *resv = hold->dmabuf->resv;
	struct dma_fence **fences;
	unsigned int nr = 0, i;
	long left = max(msecs_to_jiffies(hold->ms), 1);

	dma_resv_lock(resv, NULL);
	dma_buf_invalidate_mappings(hold->dmabuf);
	if (dma_resv_get_fences(resv, DMA_RESV_USAGE_BOOKKEEP, &nr, &fences) ||
	    dma_resv_reserve_fences(resv, 1))
		hold->result = -ENOMEM;
	else
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_KERNEL);
	dma_resv_unlock(resv);
	mock_hold_reached(hold, P2PBUF_MOCK_HOLD_FENCED);

	for (i = 0; i < nr; i++) {
		if (left && !mock_fence_is_background(fences[i]))
			left = dma_fence_wait_timeout(fences[i], false, left);
		dma_fence_put(fences[i]);
	}
	if (nr)
		kfree(fences);
	if (!left)
		hold->result = -ETIME;
}

static void mock_hold_work(struct work_struct *work)
{
	struct mock_hold *hold = container_of(work, struct mock_hold, work);
	/* That of a restore needs the resv. */
	struct dma_fence *fence =
		mock_fence_alloc(hold->mode == P2PBUF_MOCK_HOLD_KFD);

	if (!fence)
		hold->result = -ENOMEM;
	else if (hold->mode == P2PBUF_MOCK_HOLD_PLAIN)
		mock_hold_plain(hold);
	else if (hold->mode == P2PBUF_MOCK_HOLD_WAIT)
		mock_hold_wait_mode(hold);
	else if (hold->mode == P2PBUF_MOCK_HOLD_KFD)
		mock_hold_kfd(hold, fence);
	else
		mock_hold_chain(hold, fence);
	if (fence) {
		/* In case it has not yet. */
		dma_fence_signal(fence);
		dma_fence_put(fence);
	}
	mock_hold_reached(hold, P2PBUF_MOCK_HOLD_DONE);
	mock_object_put(&hold->obj);
}

void mock_hold_let_go(struct mock_object *obj)
{
	struct mock_hold *hold = container_of(obj, struct mock_hold, obj);

	WRITE_ONCE(hold->let_go, true);
	wake_up_all(&hold->wait);
}

static void mock_hold_close(struct mock_object *obj)
{
	struct mock_hold *hold = container_of(obj, struct mock_hold, obj);

	mock_hold_let_go(obj);
	flush_work(&hold->work);
}

static void mock_hold_release(struct mock_object *obj)
{
	struct mock_hold *hold = container_of(obj, struct mock_hold, obj);

	dma_buf_put(hold->dmabuf);
	kfree(hold);
}

int mock_hold_create(struct mock_file *file, struct p2pbuf_mock_hold *arg)
{
	struct mock_hold *hold;
	int ret;

	if (arg->mode >= P2PBUF_MOCK_HOLD_MODES || !arg->ms)
		return -EINVAL;
	hold = kzalloc_obj(*hold);
	if (!hold)
		return -ENOMEM;
	mock_object_init(&hold->obj, MOCK_HOLD, mock_hold_close,
			 mock_hold_release);
	hold->mode = arg->mode;
	hold->ms = arg->ms;
	INIT_WORK(&hold->work, mock_hold_work);
	init_waitqueue_head(&hold->wait);
	/* Telling importers is the exporter's alone. */
	hold->dmabuf = arg->mode == P2PBUF_MOCK_HOLD_PLAIN ?
		       dma_buf_get(arg->fd) : mock_buffer_get(arg->fd);
	if (IS_ERR(hold->dmabuf)) {
		ret = PTR_ERR(hold->dmabuf);
		kfree(hold);
		return ret;
	}
	/* The caller's reference is the table's, or gone when this fails. */
	mock_object_get(&hold->obj);
	ret = mock_file_add(file, &hold->obj, &arg->id);
	if (ret)
		mock_object_put(&hold->obj);
	else
		queue_work(mock_wq, &hold->work);
	return ret;
}

int mock_hold_wait(struct mock_object *obj, struct p2pbuf_mock_hold_wait *arg)
{
	struct mock_hold *hold = container_of(obj, struct mock_hold, obj);
	long left;

	left = wait_event_interruptible_timeout(hold->wait,
						READ_ONCE(hold->state) >=
						arg->state,
						msecs_to_jiffies(arg->ms));
	arg->state = READ_ONCE(hold->state);
	arg->result = hold->result;
	if (left < 0)
		return left;
	return left ? 0 : -ETIME;
}
