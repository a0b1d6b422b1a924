// SPDX-License-Identifier: GPL-2.0
/*
 * Batch: the commands of one submission, given to the driver together.
 *
 * The driver takes many requests for little more than one: one lock, one
 * doorbell, and the device ends them together. io_uring's plug collects
 * requests for that, but they stay in it until all that was plugged before is
 * with its drivers, and those may sleep, on user space as well. Ours hold the
 * active reference of a mapping meanwhile, and its exporter may be waiting. So
 * they are collected here.
 *
 * Model
 * -----
 * A batch belongs to one plug at a time: to that of the task that claimed it
 * for its first command, until the plug is flushed. There is one for each CPU,
 * which says where to look for a free one and no more: the task may go on
 * elsewhere. It collects in a plug too, which no requests of others get into.
 * Nothing is allocated; without a free batch, and without a plug, a command is
 * executed by itself.
 *
 * The block layer calls p2pbuf_nvme_batch_unplug() from the task's plug before
 * it gives a driver any request, when the submission is over or the task is
 * about to sleep. What comes before us are the callbacks of others, md among
 * them, and they may sleep too. Therefore:
 *
 * Whatever waits for commands to end calls p2pbuf_nvme_batch_flush(), and goes
 * on calling it: the end of a mapping by import_poll(), the end of a binding.
 *
 * Who holds what
 * --------------
 * A collected request holds what a request on its way holds. Whoever has @busy
 * may add and execute; nobody waits for it. Who may not add executes by itself;
 * who may not flush need not, because somebody is at it who finds all that was
 * added before. @file is of the claim: it keeps the module while the task's
 * plug knows us, and is put by fput(), whose last step is done when the task
 * has left this file. @unplug is the claiming task's alone.
 *
 * Nothing in here sleeps, allocates or waits.
 */
#include <linux/file.h>
#include <linux/percpu.h>
#include "nvme.h"

static DEFINE_PER_CPU(struct p2pbuf_nvme_batch, batches);

/* Somebody may be at it who does not know of what was added meanwhile. */
static void batch_execute(struct p2pbuf_nvme_batch *batch)
{
	struct blk_plug *outer;

	if (!p2pbuf_nvme_batch_trylock(batch))
		return;
	outer = p2pbuf_nvme_plug_hide();
	current->plug = &batch->plug;
	blk_finish_plug(&batch->plug);
	p2pbuf_nvme_plug_show(outer);
	/* Else it would remember for ever what it once had to be careful of. */
	batch->plug.multiple_queues = false;
	batch->plug.has_elevator = false;
	p2pbuf_nvme_batch_unlock(batch);
}

/* What the plug knows us by; by the claiming task, which may be in schedule(). */
void p2pbuf_nvme_batch_unplug(struct blk_plug_cb *cb, bool from_schedule)
{
	struct p2pbuf_nvme_batch *batch =
		container_of(cb, struct p2pbuf_nvme_batch, unplug);
	struct file *file = batch->file;

	batch_execute(batch);
	/* Free to be claimed by others. */
	smp_store_release(&batch->file, NULL);
	fput(file);
}

static struct p2pbuf_nvme_batch *batch_claim(struct blk_plug *plug,
					     struct file *file)
{
	struct p2pbuf_nvme_batch *batch = raw_cpu_ptr(&batches);

	if (READ_ONCE(batch->file) || cmpxchg(&batch->file, NULL, file))
		return NULL;
	get_file(file);
	list_add(&batch->unplug.list, &plug->cb_list);
	return batch;
}

/* The batch of @plug, or NULL. */
static struct p2pbuf_nvme_batch *batch_get(struct blk_plug *plug,
					   struct file *file)
{
	struct blk_plug_cb *cb;

	list_for_each_entry(cb, &plug->cb_list, list)
		if (cb->callback == p2pbuf_nvme_batch_unplug)
			return container_of(cb, struct p2pbuf_nvme_batch,
					    unplug);
	return batch_claim(plug, file);
}

/**
 * p2pbuf_nvme_batch_begin - execute a request, the first of its plug perhaps
 * @plug: of the task
 * @file: of the command; whoever calls holds it
 * @req: prepared; may be over on return
 */
void p2pbuf_nvme_batch_begin(struct blk_plug *plug, struct file *file,
			     struct request *req)
{
	struct p2pbuf_nvme_batch *batch = batch_get(plug, file);

	if (!batch || !p2pbuf_nvme_batch_put_in(batch, plug, req))
		p2pbuf_nvme_request_execute(req);
}

/**
 * p2pbuf_nvme_batch_flush - execute all that is collected, whoever did
 *
 * To be called again and again by who waits for a command: its submitter may
 * be about to add it.
 *
 * Context: a task; does not sleep. May be in a fence signalling section.
 */
void p2pbuf_nvme_batch_flush(void)
{
	struct p2pbuf_nvme_batch *batch;
	int cpu;

	for_each_possible_cpu(cpu) {
		batch = per_cpu_ptr(&batches, cpu);
		if (READ_ONCE(batch->plug.rq_count))
			batch_execute(batch);
	}
}

void __init p2pbuf_nvme_batch_init(void)
{
	struct blk_plug *outer = p2pbuf_nvme_plug_hide();
	struct p2pbuf_nvme_batch *batch;
	int cpu;

	for_each_possible_cpu(cpu) {
		batch = per_cpu_ptr(&batches, cpu);
		batch->unplug.callback = p2pbuf_nvme_batch_unplug;
		/* Never ended, only flushed. */
		blk_start_plug(&batch->plug);
		current->plug = NULL;
	}
	p2pbuf_nvme_plug_show(outer);
}
