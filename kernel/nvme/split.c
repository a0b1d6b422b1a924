// SPDX-License-Identifier: GPL-2.0
/*
 * Split: a command longer than the device takes, in parts, completed once.
 *
 * Each part is a request with its own active reference. The parts of a
 * command issued without blocking all have their requests before the first
 * is executed, so that -EAGAIN can only mean that nothing was begun. From a
 * worker parts are executed one by one and each may wait; the mapping may
 * change between two of them, never under one, and no part is issued twice.
 *
 * The first error is what the command reports; parts not yet issued then are
 * dropped, those in flight finish first. Always completed by interrupt and
 * task work: a polled ring could not tell which part's queue to poll.
 */
#include <linux/slab.h>
#include "nvme.h"

/* Tags one command may take without waiting. */
#define SPLIT_NOWAIT_MAX	32

struct p2pbuf_nvme_split;

/**
 * struct p2pbuf_nvme_part - one request of a split command
 * @split: what it is part of
 * @mapping: whose active reference it holds
 * @length: bytes
 */
struct p2pbuf_nvme_part {
	struct p2pbuf_nvme_split *split;
	struct p2pbuf_mapping *mapping;
	u32 length;
};

/**
 * struct p2pbuf_nvme_split - a command in parts
 * @rcu: for freeing in any context
 * @ioucmd: the command
 * @b: its binding, held by the command
 * @io: the whole of it
 * @left: parts in flight, and one for the submitter
 * @err: the first error
 * @nr: parts
 * @parts: one each, in order
 */
struct p2pbuf_nvme_split {
	struct rcu_head rcu;
	struct io_uring_cmd *ioucmd;
	struct p2pbuf_nvme_binding *b;
	struct p2pbuf_nvme_io io;
	atomic_t left;
	int err;
	u32 nr;
	struct p2pbuf_nvme_part parts[] __counted_by(nr);
};

static struct p2pbuf_nvme_split *
split_create(struct io_uring_cmd *ioucmd, struct p2pbuf_nvme_binding *b,
	     const struct p2pbuf_nvme_io *io)
{
	struct p2pbuf_nvme_pdu *pdu =
		io_uring_cmd_to_pdu(ioucmd, struct p2pbuf_nvme_pdu);
	u32 nr = DIV_ROUND_UP(io->length, b->ns.max_io);
	struct p2pbuf_nvme_split *split;

	split = kvzalloc(struct_size(split, parts, nr), GFP_KERNEL_ACCOUNT);
	if (!split)
		return NULL;
	split->nr = nr;
	split->ioucmd = ioucmd;
	split->b = b;
	split->io = *io;
	/* The submitter's: keeps @split until all parts are on their way. */
	atomic_set(&split->left, 1);
	pdu->queue = BLK_QC_T_NONE;
	return split;
}

static void split_put(struct p2pbuf_nvme_split *split)
{
	if (!atomic_dec_and_test(&split->left))
		return;
	p2pbuf_nvme_io_complete(split->ioucmd, split->b, split->io.dev_offset,
				split->io.length,
				split->err ?: (s32)split->io.length,
				split->io.write);
	/* Perhaps with a spinlock of the driver held, and too large for slab. */
	kvfree_rcu(split, rcu);
}

static void split_fail(struct p2pbuf_nvme_split *split, int err)
{
	cmpxchg(&split->err, 0, err);
}

static enum rq_end_io_ret split_end(struct request *req, blk_status_t err,
				    const struct io_comp_batch *iob)
{
	struct p2pbuf_nvme_part *part = req->end_io_data;
	struct p2pbuf_nvme_split *split = part->split;
	int ret = p2pbuf_nvme_request_errno(req, err);

	if (unlikely(ret))
		split_fail(split, ret);
	if (split->io.flags & P2PBUF_NVME_FLUSH)
		p2pbuf_mapping_flush(part->mapping);
	p2pbuf_nvme_io_account(split->b->counters, part->mapping,
			       split->io.write, ret, part->length);
	p2pbuf_mapping_put(part->mapping);
	split_put(split);
	return RQ_END_IO_FREE;
}

/* The i-th part as a command of its own. */
static struct p2pbuf_nvme_io split_part(const struct p2pbuf_nvme_split *split,
					u32 i)
{
	struct p2pbuf_nvme_io io = split->io;
	u32 done = i * split->b->ns.max_io;

	io.offset += done;
	io.dev_offset += done;
	io.length = min(io.length - done, split->b->ns.max_io);
	return io;
}

/* Takes over @req and the active reference of @m. */
static void split_execute(struct p2pbuf_nvme_split *split, u32 i,
			  struct request *req, struct p2pbuf_mapping *m)
{
	struct p2pbuf_nvme_io io = split_part(split, i);
	struct p2pbuf_nvme_part *part = &split->parts[i];

	part->split = split;
	part->mapping = m;
	part->length = io.length;
	atomic_inc(&split->left);
	p2pbuf_nvme_io_prepare(split->b, &io, req);
	req->end_io_data = part;
	req->end_io = split_end;
	p2pbuf_nvme_batch_add(split->ioucmd->file, req);
}

static void split_free_requests(struct rq_list *list)
{
	struct request *req;

	while ((req = rq_list_pop(list)))
		blk_mq_free_request(req);
}

/* All requests or none. */
static int split_alloc_requests(struct p2pbuf_nvme_split *split,
				struct rq_list *list)
{
	struct request *req;
	u32 i;

	for (i = 0; i < split->nr; i++) {
		req = p2pbuf_nvme_io_alloc(split->b, &split->io,
					   IO_URING_F_NONBLOCK);
		if (IS_ERR(req)) {
			split_free_requests(list);
			return PTR_ERR(req);
		}
		rq_list_add_tail(list, req);
	}
	return 0;
}

static int split_issue_nowait(struct p2pbuf_nvme_split *split)
{
	struct rq_list list = {};
	struct p2pbuf_mapping *m;
	u32 i;
	int ret;

	if (split->nr > SPLIT_NOWAIT_MAX)
		return -EAGAIN;
	ret = split_alloc_requests(split, &list);
	if (ret)
		return ret;
	m = p2pbuf_nvme_mapping_get(split->b);
	if (IS_ERR(m)) {
		split_free_requests(&list);
		return PTR_ERR(m);
	}
	for (i = 0; i < split->nr; i++) {
		/* One for each part; ours covers them meanwhile. */
		percpu_ref_get(&m->active);
		split_execute(split, i, rq_list_pop(&list), m);
	}
	p2pbuf_mapping_put(m);
	return 0;
}

/* Parts have been given to the device: nothing may say that none were. */
static int split_late_errno(int err)
{
	return err == -EINTR || err == -ENOMEM || err == -EBUSY ? -EIO : err;
}

static int split_issue_wait(struct p2pbuf_nvme_split *split)
{
	struct p2pbuf_mapping *m;
	struct request *req;
	int ret;
	u32 i;

	for (i = 0; i < split->nr && !READ_ONCE(split->err); i++) {
		ret = p2pbuf_nvme_io_wait(split->b, &split->io, &req, &m);
		if (ret) {
			/* Nothing begun: the caller reports it. */
			if (!i)
				return ret;
			split_fail(split, split_late_errno(ret));
			break;
		}
		split_execute(split, i, req, m);
	}
	return 0;
}

/**
 * p2pbuf_nvme_split_submit - issue a command in parts
 * @ioucmd: the command
 * @b: its binding; the hold is the split's on success
 * @io: checked
 * @issue_flags: as io_uring gives them
 *
 * Return: -EIOCBQUEUED, or an errno with nothing begun.
 */
int p2pbuf_nvme_split_submit(struct io_uring_cmd *ioucmd,
			     struct p2pbuf_nvme_binding *b,
			     const struct p2pbuf_nvme_io *io,
			     unsigned int issue_flags)
{
	struct p2pbuf_nvme_split *split = split_create(ioucmd, b, io);
	int ret;

	if (!split)
		return -ENOMEM;
	if (issue_flags & IO_URING_F_NONBLOCK)
		ret = split_issue_nowait(split);
	else
		ret = split_issue_wait(split);
	if (ret) {
		kvfree(split);
		return ret;
	}
	split_put(split);
	return -EIOCBQUEUED;
}
