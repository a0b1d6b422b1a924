// SPDX-License-Identifier: GPL-2.0
/*
 * Mapping: one generation of DMA addresses, from map to unmap.
 *
 * Model
 * -----
 * A mapping owns its addresses. I/O reads them only while it holds the
 * mapping's active reference, a percpu_ref. The exporter ends a mapping by
 * p2pbuf_mapping_invalidate(), the attachment by p2pbuf_mapping_kill(); both
 * unpublish it, add its fence to the resv and kill the reference. When the
 * last I/O drops its reference the fence signals and the unmap is queued. Life:
 *
 *	alloc -> publish -> (invalidate | kill) -> drained -> unmapped -> reaped
 *
 * alloc and reap are done by the attachment's mapper, which holds att->lock;
 * publish, invalidate and kill under the resv; drained in whatever context
 * drops the last reference, interrupts included; unmapped in p2pbuf_wq.
 *
 * Who holds what
 * --------------
 * att->mapping (RCU, written under the resv) is the published mapping.
 * att->last (under att->lock) keeps the object from publish until it is
 * reaped, that is until it is unmapped; then RCU frees it, because
 * p2pbuf_mapping_get() may still be looking at it. The fence is a plain
 * dma_fence of its own: the reservation object may keep it for long.
 *
 * What may happen on the way to the signal
 * ----------------------------------------
 * Everything it needs exists before publish: the fence, the work item. So
 * between adding the fence and signalling it nothing allocates, nothing takes
 * the resv and nothing waits for user space; the sections are annotated for
 * lockdep. An exporter may therefore wait for the fence with the resv held.
 * When it signals, what the device wrote is in the exporter's memory and not on
 * its way there any more: whoever copies it away next finds it, and whoever
 * gets the place next is not written to.
 * Unmapping needs the resv and so comes after the signal, in a work item on a
 * WQ_MEM_RECLAIM queue: the bound on it is that the exporter drops the resv.
 *
 * Atomic first, percpu later
 * --------------------------
 * Killing a percpu reference costs an RCU grace period, which the exporter
 * would spend waiting. A mapping starts with an atomic counter and switches
 * to percpu only after it stayed mapped for SETTLE_MS.
 *
 * Polled I/O
 * ----------
 * I/O of a polled ring completes when user space looks for it, which may be
 * never: the thread that would look may be the one that asked for the move. So
 * an ended mapping is polled here until its I/O is over.
 */
#include <linux/delay.h>
#include <linux/dma-fence.h>
#include <linux/dma-resv.h>
#include <linux/sched/signal.h>
#include <linux/slab.h>
#include "core.h"
#include "trace.h"

#define SETTLE_MS	1000

/* Pause between looks for completions nobody else looks for. */
#define POLL_US_MIN	20UL
#define POLL_US_MAX	1000UL

/*
 * Slots for fences that an exporter may have reserved before it tells us: one
 * of TTM for its move, and those of whoever validates the buffer for a job.
 * Reserving does not add up, so ours would be one of theirs and adding theirs
 * a BUG(). Leave more free than any of them asks for.
 */
#define EXPORTER_SLOTS	16

static const char *p2pbuf_fence_driver(struct dma_fence *fence)
{
	return "p2pbuf";
}

static const char *p2pbuf_fence_timeline(struct dma_fence *fence)
{
	return "mapping";
}

/* No release and no wait callback: a signalled fence outlives this module. */
static const struct dma_fence_ops p2pbuf_fence_ops = {
	.get_driver_name = p2pbuf_fence_driver,
	.get_timeline_name = p2pbuf_fence_timeline,
};

/* The last active reference is gone. Any context, interrupts included. */
static void p2pbuf_mapping_drained(struct percpu_ref *ref)
{
	struct p2pbuf_mapping *m =
		container_of(ref, struct p2pbuf_mapping, active);
	bool cookie = dma_fence_begin_signalling();

	trace_p2pbuf_drained(m);
	/* Nobody reaps the mapping before the work that is queued below. */
	p2pbuf_mapping_flush(m);
	dma_fence_signal(m->fence);
	dma_fence_end_signalling(cookie);
	queue_work(p2pbuf_wq, &m->unmap_work);
}

/* Until the I/O of an ended mapping is over; see @poll of the importer. */
static void p2pbuf_mapping_poll_work(struct work_struct *work)
{
	struct p2pbuf_mapping *m =
		container_of(work, struct p2pbuf_mapping, poll_work);
	unsigned long us = POLL_US_MIN;
	bool cookie;

	while (!dma_fence_is_signaled(m->fence)) {
		cookie = dma_fence_begin_signalling();
		m->att->ops->poll(m->att->priv);
		dma_fence_end_signalling(cookie);
		usleep_range(us, 2 * us);
		us = min(2 * us, POLL_US_MAX);
	}
}

static void p2pbuf_mapping_unmap_work(struct work_struct *work)
{
	struct p2pbuf_mapping *m =
		container_of(work, struct p2pbuf_mapping, unmap_work);
	struct dma_resv *resv = m->att->dmabuf->resv;

	dma_resv_lock(resv, NULL);
	dma_buf_unmap_attachment(m->att->attach, m->sgt, DMA_BIDIRECTIONAL);
	dma_resv_unlock(resv);
	trace_p2pbuf_unmapped(m);
	/* From here the mapper or the revoker may free @m. */
	complete_all(&m->unmapped);
}

static void p2pbuf_mapping_settle_work(struct work_struct *work)
{
	struct p2pbuf_mapping *m = container_of(to_delayed_work(work),
						struct p2pbuf_mapping,
						settle_work);

	/* On a killed reference this does nothing. */
	percpu_ref_switch_to_percpu(&m->active);
}

/* att->lock held; may sleep. The result is private until it is published. */
struct p2pbuf_mapping *p2pbuf_mapping_alloc(struct p2pbuf_attachment *att)
{
	struct p2pbuf_mapping *m;

	lockdep_assert_held(&att->lock);

	m = kzalloc_obj(*m);
	if (!m)
		return NULL;
	m->fence = kzalloc_obj(*m->fence);
	if (!m->fence)
		goto free_mapping;
	if (percpu_ref_init(&m->active, p2pbuf_mapping_drained,
			    PERCPU_REF_INIT_ATOMIC, GFP_KERNEL))
		goto free_fence;
	m->att = att;
	INIT_WORK(&m->poll_work, p2pbuf_mapping_poll_work);
	INIT_WORK(&m->unmap_work, p2pbuf_mapping_unmap_work);
	INIT_DELAYED_WORK(&m->settle_work, p2pbuf_mapping_settle_work);
	init_completion(&m->unmapped);
	return m;

free_fence:
	kfree(m->fence);
free_mapping:
	kfree(m);
	return NULL;
}

/* Free a mapping that was never published. */
void p2pbuf_mapping_discard(struct p2pbuf_mapping *m)
{
	percpu_ref_exit(&m->active);
	kfree(m->fence);
	kfree(m);
}

/*
 * The resv and att->lock are held, the importer's tables are filled: from the
 * store on, I/O may begin. Ownership of @m passes to att->last.
 */
void p2pbuf_mapping_publish(struct p2pbuf_mapping *m, struct sg_table *sgt)
{
	struct p2pbuf_attachment *att = m->att;

	dma_resv_assert_held(att->dmabuf->resv);
	lockdep_assert_held(&att->lock);
	WARN_ON_ONCE(att->last);

	m->sgt = sgt;
	m->system = att->path.path == P2PBUF_PATH_SYSTEM;
	m->posted = p2pbuf_flush_needed(&att->path);
	/* Generations of one attachment drain in order: one fence context. */
	dma_fence_init(m->fence, &p2pbuf_fence_ops, NULL, att->fence_context,
		       att->path.generation);
	att->last = m;
	att->stats.mappings++;
	rcu_assign_pointer(att->mapping, m);
	queue_delayed_work(p2pbuf_wq, &m->settle_work,
			   msecs_to_jiffies(SETTLE_MS));
}

static struct p2pbuf_mapping *
p2pbuf_mapping_unpublish(struct p2pbuf_attachment *att)
{
	struct p2pbuf_mapping *m;

	dma_resv_assert_held(att->dmabuf->resv);

	m = rcu_dereference_protected(att->mapping,
				      dma_resv_held(att->dmabuf->resv));
	RCU_INIT_POINTER(att->mapping, NULL);
	return m;
}

/*
 * End @m, which is unpublished. Does not wait for I/O: an exporter that wants
 * the memory, now or before the I/O is over, finds our fence among the
 * BOOKKEEP fences and waits for that. Only where no slot can be had is the
 * wait done here; it needs nothing but the device to finish.
 */
static void p2pbuf_mapping_end(struct p2pbuf_mapping *m)
{
	struct dma_resv *resv = m->att->dmabuf->resv;
	/* @m may drain, be unmapped and be freed as soon as it is killed. */
	struct dma_fence *fence = dma_fence_get(m->fence);
	bool cookie;
	int ret;

	dma_resv_assert_held(resv);

	if (m->att->ops->poll)
		queue_work(p2pbuf_poll_wq, &m->poll_work);
	ret = dma_resv_reserve_fences(resv, 1 + EXPORTER_SLOTS);
	cookie = dma_fence_begin_signalling();
	if (ret)
		m->att->stats.inline_waits++;
	else
		dma_resv_add_fence(resv, fence, DMA_RESV_USAGE_BOOKKEEP);
	percpu_ref_kill(&m->active);
	dma_fence_end_signalling(cookie);
	if (ret)
		dma_fence_wait(fence, false);
	dma_fence_put(fence);
}

/*
 * End the published mapping, if there is one, for the attachment itself, which
 * waits for it in p2pbuf_mapping_reap(). The exporter may move the memory
 * before that, so it must find the fence here too.
 */
void p2pbuf_mapping_kill(struct p2pbuf_attachment *att)
{
	struct p2pbuf_mapping *m = p2pbuf_mapping_unpublish(att);

	if (m)
		p2pbuf_mapping_end(m);
}

/*
 * The exporter is about to move or revoke the memory.
 *
 * Can run inside our own dma_buf_map_attachment(); nothing is published then.
 */
void p2pbuf_mapping_invalidate(struct p2pbuf_attachment *att)
{
	struct p2pbuf_mapping *m = p2pbuf_mapping_unpublish(att);

	if (!m)
		return;
	att->stats.invalidations++;
	trace_p2pbuf_invalidate(m);
	p2pbuf_mapping_end(m);
}

static void p2pbuf_mapping_free_rcu(struct rcu_head *rcu)
{
	struct p2pbuf_mapping *m =
		container_of(rcu, struct p2pbuf_mapping, rcu);

	percpu_ref_exit(&m->active);
	kfree(m);
}

/*
 * Should a wait on behalf of user space be given up?
 *
 * A task in a system call gives up for any signal, it will be restarted. An
 * io_uring worker must not: its command would fail for no reason the user can
 * see when the process is stopped or the machine suspends, which make a
 * signal pending too. A worker gives up when it is killed or when io_uring
 * cancels its work, which it says by TIF_NOTIFY_SIGNAL.
 */
bool p2pbuf_interrupted(void)
{
	if (fatal_signal_pending(current))
		return true;
	if (current->flags & PF_IO_WORKER)
		return test_thread_flag(TIF_NOTIFY_SIGNAL);
	return signal_pending(current);
}

/*
 * Somebody whom we called gave up for a signal that is no reason to, see
 * p2pbuf_interrupted(). Before it is called again: a stop that is over leaves
 * only a flag behind, which a worker may drop, for there is no system call that
 * it would return from; one that is not over stays pending for as long as we
 * are here, so do not spin.
 */
void p2pbuf_ignore_signal(void)
{
	if (current->flags & PF_IO_WORKER)
		recalc_sigpending();
	schedule_timeout_uninterruptible(P2PBUF_WAIT_SLICE);
}

/*
 * Wait until the previous, already killed mapping is unmapped, and let go of
 * it. att->lock held, the resv not. Returns 0, or -ERESTARTSYS with the
 * mapping still to be reaped.
 */
int p2pbuf_mapping_reap(struct p2pbuf_attachment *att, bool interruptible)
{
	struct p2pbuf_mapping *m = att->last;

	lockdep_assert_held(&att->lock);

	if (!m)
		return 0;
	while (!wait_for_completion_timeout(&m->unmapped, P2PBUF_WAIT_SLICE))
		if (interruptible && p2pbuf_interrupted())
			return -ERESTARTSYS;
	att->last = NULL;
	cancel_delayed_work_sync(&m->settle_work);
	cancel_work_sync(&m->poll_work);
	dma_fence_put(m->fence);
	call_rcu(&m->rcu, p2pbuf_mapping_free_rcu);
	return 0;
}
