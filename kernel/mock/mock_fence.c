// SPDX-License-Identifier: GPL-2.0
/*
 * Fences: on any dma-buf, signalled after a time or on command, at the latest
 * when the file that asked for it is closed.
 */
#include <linux/slab.h>

#include "mock.h"

/*
 * In the flags of a dma_fence that the mock itself does not wait for, because
 * it is there to be ignored, or because it needs the resv: an exporter does not
 * wait for such a fence of its own with the resv held.
 */
#define MOCK_FENCE_BACKGROUND	DMA_FENCE_FLAG_USER_BITS

static const char *mock_fence_name(struct dma_fence *fence)
{
	return KBUILD_MODNAME;
}

/* No release and no wait: a fence that has signalled outlives this module. */
static const struct dma_fence_ops mock_fence_ops = {
	.get_driver_name = mock_fence_name,
	.get_timeline_name = mock_fence_name,
};

static u64 mock_context_base;
static atomic64_t mock_contexts;

#define MOCK_CONTEXTS	BIT(31)

/* Each fence is a timeline of its own: none may replace another. */
void mock_fences_init(void)
{
	mock_context_base = dma_fence_context_alloc(MOCK_CONTEXTS);
}

/**
 * mock_fence_alloc - a fence that somebody will signal
 * @background: the mock does not wait for it
 *
 * Return: the fence or NULL.
 */
struct dma_fence *mock_fence_alloc(bool background)
{
	struct dma_fence *fence;

	fence = kzalloc_obj(*fence);
	if (!fence)
		return NULL;
	dma_fence_init(fence, &mock_fence_ops, NULL, mock_context_base +
		       atomic64_inc_return(&mock_contexts) % MOCK_CONTEXTS, 1);
	if (background)
		set_bit(MOCK_FENCE_BACKGROUND, &fence->flags);
	return fence;
}

bool mock_fence_is_background(struct dma_fence *fence)
{
	/* A fence that has signalled has no ops any more, and no waiters. */
	return rcu_access_pointer(fence->ops) == &mock_fence_ops &&
	       test_bit(MOCK_FENCE_BACKGROUND, &fence->flags);
}

/**
 * mock_fences_wait - wait for everybody, with the resv held
 * @resv: held
 * @ms: at most
 *
 * Return: 0 when the time is up, else something positive.
 */
long mock_fences_wait(struct dma_resv *resv, u32 ms)
{
	long left = max(msecs_to_jiffies(ms), 1);
	struct dma_resv_iter cursor;
	struct dma_fence *fence;

	dma_resv_assert_held(resv);

	dma_resv_for_each_fence(&cursor, resv, DMA_RESV_USAGE_BOOKKEEP, fence) {
		if (mock_fence_is_background(fence))
			continue;
		left = dma_fence_wait_timeout(fence, false, left);
		if (!left)
			break;
	}
	return left;
}

static void mock_fence_work(struct work_struct *work)
{
	struct mock_fence *mf = container_of(to_delayed_work(work),
					     struct mock_fence, work);

	if (mf->needs_resv)
		dma_resv_lock(mf->dmabuf->resv, NULL);
	dma_fence_signal(mf->fence);
	if (mf->needs_resv)
		dma_resv_unlock(mf->dmabuf->resv);
	mock_object_put(&mf->obj);
}

/* The work holds a reference for as long as it is queued. */
static void mock_fence_arm(struct mock_fence *mf, u32 ms)
{
	mock_object_get(&mf->obj);
	if (mod_delayed_work(mock_wq, &mf->work, msecs_to_jiffies(ms)))
		mock_object_put(&mf->obj);
}

static void mock_fence_close(struct mock_object *obj)
{
	struct mock_fence *mf = container_of(obj, struct mock_fence, obj);

	if (cancel_delayed_work(&mf->work))
		mock_object_put(&mf->obj);
}

static void mock_fence_release(struct mock_object *obj)
{
	struct mock_fence *mf = container_of(obj, struct mock_fence, obj);

	/* A fence must signal, whatever becomes of its maker. */
	dma_fence_signal(mf->fence);
	dma_fence_put(mf->fence);
	dma_buf_put(mf->dmabuf);
	kfree(mf);
}

/**
 * mock_fence_add_locked - add a fence to a dma-buf
 * @dmabuf: its resv is held; takes a reference of its own
 * @usage: P2PBUF_MOCK_KERNEL, ...
 * @ms: signal after that; 0: when told
 * @flags: P2PBUF_MOCK_NEEDS_RESV, P2PBUF_MOCK_BACKGROUND
 *
 * Return: with a reference for the caller, or ERR_PTR(-ENOMEM).
 */
struct mock_fence *mock_fence_add_locked(struct dma_buf *dmabuf, u32 usage,
					 u32 ms, u32 flags)
{
	struct mock_fence *mf;

	dma_resv_assert_held(dmabuf->resv);

	mf = kzalloc_obj(*mf);
	if (!mf)
		return ERR_PTR(-ENOMEM);
	mf->fence = mock_fence_alloc(flags);
	if (!mf->fence || dma_resv_reserve_fences(dmabuf->resv, 1))
		goto free_fence;
	mock_object_init(&mf->obj, MOCK_FENCE, mock_fence_close,
			 mock_fence_release);
	INIT_DELAYED_WORK(&mf->work, mock_fence_work);
	mf->needs_resv = flags & P2PBUF_MOCK_NEEDS_RESV;
	get_dma_buf(dmabuf);
	mf->dmabuf = dmabuf;
	dma_resv_add_fence(dmabuf->resv, mf->fence,
			   (enum dma_resv_usage)usage);
	if (ms)
		mock_fence_arm(mf, ms);
	return mf;

free_fence:
	kfree(mf->fence);
	kfree(mf);
	return ERR_PTR(-ENOMEM);
}

int mock_fence_create(struct mock_file *file, struct p2pbuf_mock_fence *arg)
{
	struct dma_buf *dmabuf;
	struct mock_fence *mf;
	int ret;

	BUILD_BUG_ON(P2PBUF_MOCK_KERNEL != DMA_RESV_USAGE_KERNEL);
	BUILD_BUG_ON(P2PBUF_MOCK_BOOKKEEP != DMA_RESV_USAGE_BOOKKEEP);

	if (arg->usage > P2PBUF_MOCK_BOOKKEEP || arg->pad ||
	    arg->flags & ~(P2PBUF_MOCK_NEEDS_RESV | P2PBUF_MOCK_BACKGROUND))
		return -EINVAL;
	dmabuf = dma_buf_get(arg->fd);
	if (IS_ERR(dmabuf))
		return PTR_ERR(dmabuf);
	ret = mock_resv_lock(dmabuf->resv);
	if (ret)
		goto put_buffer;
	mf = mock_fence_add_locked(dmabuf, arg->usage, arg->ms, arg->flags);
	dma_resv_unlock(dmabuf->resv);
	ret = IS_ERR(mf) ? PTR_ERR(mf) : mock_file_add(file, &mf->obj,
						       &arg->id);
put_buffer:
	dma_buf_put(dmabuf);
	return ret;
}

void mock_fence_signal(struct mock_object *obj)
{
	mock_fence_arm(container_of(obj, struct mock_fence, obj), 0);
}
