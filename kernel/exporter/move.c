// SPDX-License-Identifier: GPL-2.0
/*
 * Changing places.
 *
 * A move is one sequence under the object's resv, whoever asks for it: the
 * user (GEM_MOVE), somebody who needs the VRAM, an importer that cannot reach
 * the BAR, or the unplug of the device.
 *
 *	1. refuse: pinned or vmapped (EBUSY), a far importer is attached and
 *	   the target is VRAM (EXDEV), nowhere to go (EOPNOTSUPP)
 *	2. get the destination, evicting others for it (ENOSPC, ENOMEM,
 *	   EDQUOT); nothing has changed yet
 *	3. zap the CPU's page tables; faults wait for the resv
 *	4. tell importers; they publish a fence for the I/O they have in flight
 *	   and forget the addresses
 *	5. wait for every fence, BOOKKEEP included (ERESTARTSYS, or EBUSY when
 *	   it takes too long); on error importers simply map the old place
 *	   again
 *	6. of a paged object, wait for I/O by address (EBUSY), see paged.c
 *	7. copy, flush, switch the resource, free the old range
 *
 * 2 and 3 and the rest of 7 are TTM's; 4 and 5 are p2pbuf_move_quiesce(),
 * called from TTM's move callback. Steps up to 6 can fail and leave the object
 * where it is; after that nothing can fail.
 *
 * An importer may still map the old place when the move is over, if only for
 * reads that it throws away, until it unmaps in its own time. That is
 * harmless for a move, but not for an unplug: p2pbuf_object_unplug() waits
 * for the unmap too, also of what has left VRAM before.
 */
#include <linux/delay.h>
#include <linux/dma-resv.h>
#include <linux/jiffies.h>
#include <linux/sched/signal.h>

#include <drm/drm_drv.h>
#include <drm/drm_print.h>

#include "exporter.h"

/* A fence that has not signalled by then belongs to a stuck device. */
#define P2PBUF_FENCE_TIMEOUT	(15 * HZ)
/* So often VRAM is asked for while others leave it and come back. */
#define P2PBUF_VRAM_TRIES	64
/* So long I/O by address may keep an object from moving. */
#define P2PBUF_PAGES_TIMEOUT	(15 * HZ)

/**
 * p2pbuf_move_quiesce() - nobody uses the present place any more
 * @obj: the object
 * @ctx: how long to wait
 *
 * Return: 0; -EBUSY when a fence did not signal in time (or at all, with
 * @ctx->nowait); -ERESTARTSYS on a signal.
 */
int p2pbuf_move_quiesce(struct p2pbuf_object *obj,
			const struct p2pbuf_move_ctx *ctx)
{
	struct dma_resv *resv = obj->tbo.base.resv;
	struct dma_buf *dmabuf;
	long left;

	dma_resv_assert_held(resv);

	/* It is not released before the resv is; see p2pbuf_dmabuf_export(). */
	dmabuf = smp_load_acquire(&obj->dmabuf);
	if (dmabuf)
		dma_buf_invalidate_mappings(dmabuf);

	if (ctx->nowait) {
		if (dma_resv_test_signaled(resv, DMA_RESV_USAGE_BOOKKEEP))
			return 0;
		left = 0;
	} else {
		left = dma_resv_wait_timeout(resv, DMA_RESV_USAGE_BOOKKEEP,
					     ctx->interruptible,
					     P2PBUF_FENCE_TIMEOUT);
	}

	if (!left)
		return p2pbuf_refuse(p2pbuf_object_region(obj),
				     P2PBUF_REFUSED_BUSY, -EBUSY);
	return left < 0 ? left : 0;
}

/**
 * p2pbuf_move_done() - bookkeeping of a change of place
 * @obj: the object
 * @placement: where it is now
 *
 * The account is charged before VRAM is entered, see
 * p2pbuf_object_to_vram().
 */
void p2pbuf_move_done(struct p2pbuf_object *obj, u32 placement)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	dma_resv_assert_held(obj->tbo.base.resv);

	WRITE_ONCE(obj->placement, placement);
	if (placement == P2PBUF_PLACEMENT_SYSTEM) {
		p2pbuf_account_uncharge(obj);
		atomic64_inc(&region->departures);
	}

	/* Being created: this is its first place, not a change. */
	if (!obj->generation)
		return;

	obj->generation++;
	atomic64_inc(&region->moves);
	if (!obj->asked) {
		obj->evictions++;
		atomic64_inc(&region->evictions);
	}
}

/* Who can come again is told so; for everybody else it is over. */
static int p2pbuf_move_error(struct p2pbuf_object *obj,
			     const struct p2pbuf_move_ctx *ctx, int error)
{
	if (error == -ETXTBSY && !ctx->patience)
		return p2pbuf_refuse(p2pbuf_object_region(obj),
				     P2PBUF_REFUSED_PAGES, -EBUSY);
	return error;
}

/**
 * p2pbuf_object_to_system() - make importers able to map system pages
 * @obj: the object
 * @ctx: how patient to be
 *
 * Also for an object that is in system memory already: it may be swapped out,
 * or in the domain that must not be mapped.
 *
 * Return: 0, -EBUSY, -ENODEV, -ENOMEM, -EOPNOTSUPP or -ERESTARTSYS; with
 * @ctx->patience also -ETXTBSY.
 */
int p2pbuf_object_to_system(struct p2pbuf_object *obj,
			    const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	int ret;

	dma_resv_assert_held(obj->tbo.base.resv);

	if (obj->gone)
		return p2pbuf_refuse(region, P2PBUF_REFUSED_GONE, -ENODEV);
	if (!p2pbuf_object_is_movable(obj))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_NO_SYSTEM,
				     -EOPNOTSUPP);
	if (obj->placement == P2PBUF_PLACEMENT_VRAM &&
	    p2pbuf_object_is_fixed(obj))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_FIXED, -EBUSY);

	ret = p2pbuf_ttm_to_system(obj, ctx);
	return p2pbuf_move_error(obj, ctx, ret);
}

/*
 * Into VRAM, with eviction. -ENOSPC and -EAGAIN are worth another try with a
 * ww ticket: some victim was locked for the moment. -ETXTBSY as above.
 */
static int p2pbuf_object_to_vram(struct p2pbuf_object *obj,
				 const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	int ret;

	dma_resv_assert_held(obj->tbo.base.resv);

	if (obj->gone)
		return p2pbuf_refuse(region, P2PBUF_REFUSED_GONE, -ENODEV);
	if (obj->placement == P2PBUF_PLACEMENT_VRAM)
		return 0;
	if (p2pbuf_object_is_fixed(obj))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_FIXED, -EBUSY);
	if (obj->far_attachments)
		return p2pbuf_refuse(region, P2PBUF_REFUSED_FAR_ATTACHED,
				     -EXDEV);

	ret = p2pbuf_account_charge(obj, ctx);
	if (ret)
		return ret;

	ret = p2pbuf_ttm_to_vram(obj, ctx);
	if (ret)
		p2pbuf_account_uncharge(obj);
	return p2pbuf_move_error(obj, ctx, ret);
}

static int p2pbuf_move_to_vram_once(struct p2pbuf_object *obj,
				    const struct p2pbuf_move_ctx *ctx,
				    struct ww_acquire_ctx *ticket)
{
	struct dma_resv *resv = obj->tbo.base.resv;
	int ret;

	ret = dma_resv_lock_interruptible(resv, ticket);
	if (ret)
		return ret;

	if (!ticket)
		obj->drove = 0;
	obj->asked = true;
	ret = p2pbuf_object_to_vram(obj, ctx);
	obj->asked = false;

	dma_resv_unlock(resv);
	return ret;
}

/* Whose turn it is to wait for victims, and that may take long. */
static int p2pbuf_alloc_lock(struct p2pbuf_region *region,
			     const struct p2pbuf_move_ctx *ctx)
{
	if (!ctx->nowait)
		return mutex_lock_interruptible(&region->alloc_lock);
	if (!mutex_trylock(&region->alloc_lock))
		return p2pbuf_refuse(region, P2PBUF_REFUSED_BUSY, -EBUSY);
	return 0;
}

/*
 * Victims are only tried, not waited for, while another resv is held without
 * a ticket. So the first try can miss VRAM that is there. Later ones wait, one
 * task at a time so that two cannot deadlock on each other's victims. Having
 * waited, TTM may find that the victim has left by itself, and say that there
 * is no space: hence one more try, and more as long as somebody leaves, but not
 * for ever: what can never fit drives others out itself, who may come back.
 * Each try is a ww transaction of its own. One that met -EDEADLK may only go on
 * with the resv that it met, and TTM, which makes -ENOSPC of it, does not say
 * which.
 */
static int p2pbuf_move_to_vram(struct p2pbuf_object *obj,
			       const struct p2pbuf_move_ctx *ctx)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);
	struct ww_acquire_ctx ticket;
	unsigned int tries;
	s64 departures;
	int ret;

	ret = p2pbuf_move_to_vram_once(obj, ctx, NULL);
	if (ret != -ENOSPC && ret != -EAGAIN)
		return ret;

	ret = p2pbuf_alloc_lock(region, ctx);
	if (ret)
		return ret;
	for (tries = 1;; tries++) {
		departures = atomic64_read(&region->departures);
		ww_acquire_init(&ticket, &reservation_ww_class);
		ret = p2pbuf_move_to_vram_once(obj, ctx, &ticket);
		ww_acquire_fini(&ticket);
		if (ret != -ENOSPC && ret != -EAGAIN)
			break;
		if (tries == P2PBUF_VRAM_TRIES ||
		    (tries > 1 &&
		     departures == atomic64_read(&region->departures))) {
			ret = p2pbuf_refuse(region, P2PBUF_REFUSED_NO_SPACE,
					    -ENOSPC);
			break;
		}
		if (signal_pending(current)) {
			ret = -ERESTARTSYS;
			break;
		}
	}
	mutex_unlock(&region->alloc_lock);
	return ret;
}

static int p2pbuf_move_to_system(struct p2pbuf_object *obj,
				 const struct p2pbuf_move_ctx *ctx)
{
	struct dma_resv *resv = obj->tbo.base.resv;
	int ret;

	ret = dma_resv_lock_interruptible(resv, NULL);
	if (ret)
		return ret;

	obj->asked = true;
	ret = p2pbuf_object_to_system(obj, ctx);
	obj->asked = false;

	dma_resv_unlock(resv);
	return ret;
}

static int p2pbuf_object_move_once(struct p2pbuf_object *obj, u32 placement,
				   const struct p2pbuf_move_ctx *ctx)
{
	int idx, ret;

	if (!drm_dev_enter(obj->tbo.base.dev, &idx))
		return -ENODEV;

	if (placement == P2PBUF_PLACEMENT_VRAM)
		ret = p2pbuf_object_is_window(obj) ? 0 :
		      p2pbuf_move_to_vram(obj, ctx);
	else
		ret = p2pbuf_move_to_system(obj, ctx);

	drm_dev_exit(idx);
	return ret;
}

/**
 * p2pbuf_object_move() - put an object where the user wants it
 * @obj: the object; its resv is not held
 * @placement: one P2PBUF_PLACEMENT_* bit
 * @nowait: do not wait for I/O
 *
 * Return: 0, or an error as in p2pbuf_drm.h.
 */
int p2pbuf_object_move(struct p2pbuf_object *obj, u32 placement, bool nowait)
{
	struct p2pbuf_move_ctx ctx = {
		.interruptible = true,
		.nowait = nowait,
		.patience = P2PBUF_PAGES_SHORT,
	};
	unsigned long end = jiffies + P2PBUF_PAGES_TIMEOUT;
	int ret;

	/*
	 * In between everybody who waits for the resv to fault in a page gets
	 * his turn. The more patient the next try, for I/O that is slow.
	 */
	while ((ret = p2pbuf_object_move_once(obj, placement, &ctx)) ==
	       -ETXTBSY) {
		if (nowait || time_after(jiffies, end)) {
			ctx.patience = 0;
			return p2pbuf_move_error(obj, &ctx, ret);
		}
		if (msleep_interruptible(5))
			return -ERESTARTSYS;
		ctx.patience = min_t(unsigned long, 2 * ctx.patience, 2 * HZ);
	}
	return ret;
}

/**
 * p2pbuf_object_suspend() - keep an object's bytes while the device sleeps
 * @obj: the object
 *
 * Windows show what others keep, or registers that nobody can keep.
 *
 * Return: 0, or -EBUSY when it cannot leave VRAM, -ENOMEM.
 */
int p2pbuf_object_suspend(struct p2pbuf_object *obj)
{
	static const struct p2pbuf_move_ctx ctx = {};
	int ret = 0;

	if (p2pbuf_object_is_window(obj))
		return 0;

	dma_resv_lock(obj->tbo.base.resv, NULL);
	if (obj->placement == P2PBUF_PLACEMENT_VRAM && !obj->gone) {
		ret = p2pbuf_object_to_system(obj, &ctx);
		obj->suspended = !ret;
	}
	dma_resv_unlock(obj->tbo.base.resv);

	return ret == -EOPNOTSUPP ? -EBUSY : ret;
}

/**
 * p2pbuf_object_resume() - back to where p2pbuf_object_suspend() found it
 * @obj: the object
 *
 * Return: 0, or why it stays in system memory.
 */
int p2pbuf_object_resume(struct p2pbuf_object *obj)
{
	static const struct p2pbuf_move_ctx ctx = {};
	int idx, ret = 0;

	if (!drm_dev_enter(obj->tbo.base.dev, &idx))
		return -ENODEV;

	dma_resv_lock(obj->tbo.base.resv, NULL);
	if (obj->suspended)
		ret = p2pbuf_object_to_vram(obj, &ctx);
	obj->suspended = false;
	dma_resv_unlock(obj->tbo.base.resv);

	drm_dev_exit(idx);
	return ret;
}

/*
 * Wait, without the resv, until what @count counts has ended. It takes as long
 * as it takes: idle is no hung task.
 */
static void p2pbuf_unplug_wait(struct p2pbuf_object *obj,
			       const unsigned int *count, const char *what)
{
	struct p2pbuf_region *region = p2pbuf_object_region(obj);

	dma_resv_unlock(obj->tbo.base.resv);
	while (!wait_event_idle_timeout(region->settled, !READ_ONCE(*count),
					P2PBUF_UNPLUG_REPORT))
		drm_notice(&region->drm, "unplug waits for %s\n", what);
	dma_resv_lock(obj->tbo.base.resv, NULL);
}

/*
 * The same for I/O by address, which does not tell when it ends. Nobody gets
 * new pages: the page tables are zapped for good.
 */
static int p2pbuf_unplug_pages(struct p2pbuf_object *obj,
			       unsigned long *report)
{
	const struct p2pbuf_move_ctx ctx = { .patience = P2PBUF_PAGES_SHORT };
	int ret;

	ret = p2pbuf_paged_wait(obj, &ctx);
	if (!ret)
		return 0;

	dma_resv_unlock(obj->tbo.base.resv);
	if (time_after(jiffies, *report)) {
		drm_notice(&p2pbuf_object_region(obj)->drm,
			   "unplug waits for I/O by address\n");
		*report = jiffies + P2PBUF_UNPLUG_REPORT;
	}
	schedule_timeout_idle(1);
	dma_resv_lock(obj->tbo.base.resv, NULL);
	return ret;
}

/**
 * p2pbuf_object_unplug() - the device goes: get an object off the BAR
 * @obj: the object
 *
 * To system memory where it may live there, else its place is gone. Pins of
 * importers do not help: those that can be revoked let go, and others, which
 * only an unrevocable region lets in, are waited for until they have unmapped,
 * like fixed buffers and kernel mappings. After
 * this nobody reaches the BAR through the object. Called after
 * drm_dev_unplug(), so nothing new reaches it either. Idempotent.
 *
 * Return: 0, always; p2pbuf_region_for_each() wants one.
 */
int p2pbuf_object_unplug(struct p2pbuf_object *obj)
{
	const struct p2pbuf_move_ctx ctx = { .insist = true };
	unsigned long report = jiffies + P2PBUF_UNPLUG_REPORT;
	int ret;

	dma_resv_lock(obj->tbo.base.resv, NULL);

	while (obj->placement == P2PBUF_PLACEMENT_VRAM && !obj->gone) {
		if (obj->vmaps) {
			p2pbuf_unplug_wait(obj, &obj->vmaps,
					   "a kernel mapping to end");
			continue;
		}

		if (obj->registrations) {
			p2pbuf_unplug_wait(obj, &obj->registrations,
					   "registered io_uring buffers");
			continue;
		}

		if (p2pbuf_move_quiesce(obj, &ctx)) {
			drm_notice(&p2pbuf_object_region(obj)->drm,
				   "unplug waits for importers' fences\n");
			continue;
		}

		if (obj->vram_mappings) {
			p2pbuf_unplug_wait(obj, &obj->vram_mappings,
					   "an importer to unmap");
			continue;
		}

		if (p2pbuf_unplug_pages(obj, &report))
			continue;

		p2pbuf_object_unhold(obj);
		ret = -EOPNOTSUPP;
		if (p2pbuf_object_is_movable(obj))
			ret = p2pbuf_ttm_to_system(obj, &ctx);
		/* Nobody can have got its pages since; if so, once more. */
		if (ret && ret != -ETXTBSY)
			p2pbuf_object_lose(obj, ret);
	}

	/* Of a place that was left before; a new one there is none. */
	if (obj->vram_mappings)
		p2pbuf_unplug_wait(obj, &obj->vram_mappings,
				   "an importer to unmap");

	dma_resv_unlock(obj->tbo.base.resv);
	return 0;
}
